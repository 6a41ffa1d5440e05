//! A network over a whole volume, in one go or tile by tile.
//!
//! In one go wherever memory allows it, or in tiles of the training patch's size where there was one.

use std::slice::from_ref;

use candle_core::Device;
use organseg_conv3d::blocked::release_memory;
use organseg_train::to_tensor;
use organseg_unet::{Blocks, Unet3d, UnetConfig};
use organseg_volume::{LabelVolume, Volume};

use crate::PipelineError;
use crate::mask::Mask;
use crate::out_of_memory::with_tiles_that_fit;
use crate::scores::Scores;
use crate::tiles::{Probabilities, Tiling, most_probable_in_tiles, probabilities_in_tiles};

/// Memory that a prediction may take beside the image and the labels, going by [`bytes_per_voxel`]. With a scan
/// of 512×512×1000 voxels, 1.05 GB, its labels, 0.26 GB, and two networks ready to run that stays below 4 GB.
const BUDGET_BYTES: usize = 2_200_000_000;

/// Most voxels in one go, however small the network: larger volumes have hardly any use for so wide a view.
const MAX_VOXELS_AT_ONCE: usize = 8 << 20;

/// Side of the tiles of a larger one, in voxels.
const TILE: usize = 160;

/// Tiles become flatter in these steps where their sums would not fit, down to the last.
const TILE_STEP: usize = 16;
const FLATTEST_TILE: usize = 32;

/// From so many bytes on, a prediction starts with the memory of those before given back: buffers are of
/// the image's size, and those of another size would only lie about. Touching fresh pages costs some
/// hundredths of such a prediction's time.
pub(crate) const LARGE_BYTES: usize = 512 << 20;

/// Label of the most probable class of each voxel of `image`, which is already preprocessed.
///
/// With `patch`, the size (x, y, z) of the patches that the network was trained on, the volume is seen
/// in tiles of that size, padded with its smallest value where it is smaller; without, in one go if it
/// is not too large.
///
/// # Memory
/// For 16 channels at full resolution some 240 bytes a voxel in one go and 300 in tiles, and in tiles 4 bytes a
/// class for each voxel in as many planes as a tile has; together not more than 2.2 GB where no patch is set.
///
/// # Errors
/// [`PipelineError::Candle`] if the network cannot take the image.
pub fn predict(
    net: &Unet3d,
    image: &Volume<f32>,
    patch: Option<[usize; 3]>,
    device: &Device,
) -> Result<LabelVolume, PipelineError> {
    Ok(View { patch, flips: [false; 3], with_leads: false, device }.mask(from_ref(net), image)?.labels)
}

/// How a network is shown a volume, or several whose mean probability counts: at least one, all of the same classes.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// As in [`predict`].
    pub(crate) patch: Option<[usize; 3]>,
    /// Axes (x, y, z) along which it is also shown mirrored; its answer is the mean of the probabilities.
    pub(crate) flips: [bool; 3],
    /// Whether its masks say by how much their labels lead: a byte a voxel.
    pub(crate) with_leads: bool,
    pub(crate) device: &'a Device,
}

/// Several networks give back what they prepared once they have looked: ten of five levels, those of a cross-validation in
/// two stages, hold 1.7 GB of it by their number of weights. Each scan prepares it again.
fn forget_prepared(nets: &[Unet3d]) {
    if nets.len() > 1 {
        nets.iter().for_each(Unet3d::forget_prepared);
    }
}

impl View<'_> {
    /// Label of the most probable class of each voxel of `image`.
    pub(crate) fn mask(&self, nets: &[Unet3d], image: &Volume<f32>) -> Result<Mask, PipelineError> {
        let tiling = self.tiling(nets, image);
        let size = image.size();
        let found = with_tiles_that_fit(tiling.tile, self.device, |tile| {
            if let ([net], true) = (nets, size == tile && tiling.flips == [false; 3]) {
                let input = to_tensor(image, self.device)?;
                let scores = Scores::of(net, &input)?;
                return match self.with_leads {
                    true => scores.most_probable_with_leads().map(|(labels, leads)| (labels, Some(leads))),
                    false => Ok((scores.most_probable()?, None)),
                };
            }
            most_probable_in_tiles(nets, image, Tiling { tile, ..tiling }, self.device, self.with_leads)
        })?;
        forget_prepared(nets);
        Ok(Mask::from_vecs(*image.grid(), found)?)
    }

    /// Class probabilities of each voxel of `image`: 4 bytes a class and voxel beside what labels take.
    pub(crate) fn probabilities(
        &self,
        nets: &[Unet3d],
        image: &Volume<f32>,
    ) -> Result<Probabilities, PipelineError> {
        let tiling = self.tiling(nets, image);
        let found = with_tiles_that_fit(tiling.tile, self.device, |tile| {
            probabilities_in_tiles(nets, image, Tiling { tile, ..tiling }, self.device)
        })?;
        forget_prepared(nets);
        Ok(found)
    }

    /// The tiles in which `image` is seen; makes room for large ones.
    fn tiling(&self, nets: &[Unet3d], image: &Volume<f32>) -> Tiling {
        let budget = BUDGET_BYTES.min(free_bytes(self.device).unwrap_or(usize::MAX) / 2);
        // They run one after the other, so that the largest decides.
        let largest = nets.iter().map(Unet3d::config).max_by_key(|config| bytes_per_voxel(config));
        let largest = largest.expect("a stage has a network");
        let passes = if nets.len() == 1 && self.flips == [false; 3] { Passes::One } else { Passes::Several };
        let tile = self.patch.unwrap_or_else(|| tile_within_budget(image.size(), largest, passes, budget));
        if tile.iter().product::<usize>() * bytes_per_voxel(largest) > LARGE_BYTES {
            release_memory();
        }
        Tiling { tile, flips: self.flips }
    }
}

/// What a prediction takes for each voxel that goes through at once: at full resolution three values at a
/// time (what came across, what came from below, and their convolution) of 64 bytes for 16 channels, a fifth of
/// that for all else in the network, the scores and the image. Measured with the default network.
fn bytes_per_voxel(network: &UnetConfig) -> usize {
    let value = 64 * network.channels.first().map_or(1, |channels| channels.div_ceil(16));
    // A residual level keeps what it adds at its end.
    let values = if network.blocks == Blocks::Residual { 4 } else { 3 };
    values * value * 6 / 5 + 4 * network.classes + 4
}

/// Free memory of a GPU, if `device` is one that says so.
fn free_bytes(device: &Device) -> Option<usize> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return organseg_conv3d::cuda::free_memory_bytes(device).ok();
    }
    let _ = device;
    None
}

/// How often a place is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passes {
    One,
    /// Mirrored, or by several networks: the probabilities are added up, and one pass leaves its buffers to the next.
    Several,
}

/// The whole volume if `budget` bytes are enough for it, else the largest tile for which they are.
fn tile_within_budget(size: [usize; 3], network: &UnetConfig, passes: Passes, budget: usize) -> [usize; 3] {
    let each = bytes_per_voxel(network);
    let at_once = match passes {
        Passes::One => each,
        // Beside what a pass takes and leaves: sums, and the image as it is seen.
        Passes::Several => each * 5 / 4 + 4 * network.classes + 4,
    };
    let voxels = size.iter().product::<usize>();
    if voxels <= MAX_VOXELS_AT_ONCE && voxels * at_once <= budget {
        return size;
    }
    let mut tile = size.map(|n| n.min(TILE));
    // Of a plane: its sums in the whole volume, and the tile, with what one tile after the other leaves
    // in the pool of buffers.
    let plane = 4 * network.classes * size[0] * size[1] + tile[0] * tile[1] * each * 5 / 4;
    while tile[2] * plane > budget && tile[2] > FLATTEST_TILE {
        tile[2] = (tile[2] - 1) / TILE_STEP * TILE_STEP;
    }
    tile
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use candle_nn::{VarBuilder, VarMap};
    use organseg_unet::{Norm, UnetConfig, initialize};
    use organseg_volume::{Grid, Spacing};

    #[test]
    fn tiles_are_cubes_of_160_voxels_and_flatter_where_many_classes_need_the_memory() {
        let long = [512, 512, 1000];
        assert_eq!(tile_within_budget(long, &UnetConfig::new(1, 2), Passes::One, BUDGET_BYTES), [160; 3]);
        assert_eq!(tile_within_budget(long, &UnetConfig::new(1, 4), Passes::One, BUDGET_BYTES), [160; 3]);
        assert_eq!(
            tile_within_budget(long, &UnetConfig::new(1, 15), Passes::One, BUDGET_BYTES),
            [160, 160, 80]
        );
        assert_eq!(
            tile_within_budget(long, &UnetConfig::new(1, 256), Passes::One, BUDGET_BYTES),
            [160, 160, 32],
            "never flatter"
        );
        assert!(tile_within_budget(long, &UnetConfig::new(1, 2), Passes::One, BUDGET_BYTES / 2)[2] < 160);
    }

    #[test]
    fn up_to_8_mi_voxels_go_through_the_default_network_in_one_go() {
        for classes in 2..=7 {
            let network = UnetConfig::new(1, classes);
            assert_eq!(
                tile_within_budget([256, 256, 128], &network, Passes::One, BUDGET_BYTES),
                [256, 256, 128]
            );
            assert_eq!(
                tile_within_budget([256, 256, 129], &network, Passes::One, BUDGET_BYTES),
                [160, 160, 129]
            );
        }
        // Twice the channels, twice the memory.
        let wide = UnetConfig::new(1, 2).with_channels(vec![32, 64]);
        assert_eq!(tile_within_budget([256, 256, 128], &wide, Passes::One, BUDGET_BYTES), [160, 160, 128]);
        assert_eq!(tile_within_budget([160, 160, 112], &wide, Passes::One, BUDGET_BYTES), [160, 160, 112]);
    }

    #[test]
    fn what_is_seen_several_times_has_room_for_its_sums() {
        let network = UnetConfig::new(1, 2);
        let several = |size| tile_within_budget(size, &network, Passes::Several, BUDGET_BYTES);
        assert_eq!(several([192, 192, 190]), [192, 192, 190], "7.0 million voxels");
        assert_eq!(several([192, 192, 191]), [160, 160, 160]);
    }

    /// Without a norm and with one level, a voxel's score depends on its 5×5×5 neighbourhood alone, so
    /// that tiles must agree with one go but for the borders of tiles, which weigh little.
    #[test]
    fn tiles_agree_with_one_go() {
        let config = UnetConfig::new(1, 2).with_channels(vec![4]).with_norm(Norm::None);
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let net = Unet3d::new(&config, vb).unwrap();
        initialize(&variables, 5).unwrap();
        let grid = Grid::with_spacing([30, 24, 20], Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |[x, y, z]| ((x * 7 + y * 13 + z * 29) % 17) as f32 / 17.0 - 0.4);
        let whole = predict(&net, &image, None, &Device::Cpu).unwrap();
        let tiled = predict(&net, &image, Some([16, 16, 16]), &Device::Cpu).unwrap();
        let differing = whole.voxels().iter().zip(tiled.voxels()).filter(|(a, b)| a != b).count();
        let share = differing as f64 / whole.voxels().len() as f64;
        assert!(share < 0.05, "{share} of the voxels differ");
    }
}
