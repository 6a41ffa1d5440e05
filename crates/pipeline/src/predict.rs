//! A network over a whole volume, in one go or tile by tile.
//!
//! Tiles overlap by half along each axis. Where they do, the class probabilities are averaged with a
//! Gaussian weight that trusts a tile's middle more than its border (σ = an eighth of the tile, as in
//! nnU-Net).

use candle_core::{Device, Tensor};
use organseg_roi::{BoundingBox, crop};
use organseg_unet::Unet3d;
use organseg_volume::{Label, LabelVolume, Volume};

use crate::PipelineError;

/// A volume of no more voxels than this goes through in one go when no patch size is set: some 4 GB of
/// activations for 16 channels at full resolution.
const MAX_VOXELS_AT_ONCE: usize = 8 << 20;

/// Side of the tiles of a larger one, in voxels.
const TILE: usize = 160;

/// The Gaussian's standard deviation as a share of the tile's side.
const GAUSSIAN_SHARE: f64 = 0.125;

/// Class scores of a box of voxels, as the network gives them: class by class, x fastest.
struct Scores {
    values: Vec<f32>,
    classes: usize,
}

/// Label of the most probable class of each voxel of `image`, which is already preprocessed.
///
/// With `patch`, the size (x, y, z) of the patches that the network was trained on, the volume is seen
/// in tiles of that size, padded with its smallest value where it is smaller; without, in one go if it
/// is not too large.
///
/// # Errors
/// [`PipelineError::Candle`] if the network cannot take the image.
pub fn predict(
    net: &Unet3d,
    image: &Volume<f32>,
    patch: Option<[usize; 3]>,
    device: &Device,
) -> Result<LabelVolume, PipelineError> {
    let size = image.size();
    let tile = match patch {
        Some(patch) => patch,
        None if image.grid().voxel_count() <= MAX_VOXELS_AT_ONCE => size,
        None => size.map(|n| n.min(TILE)),
    };
    let labels = if (0..3).all(|a| size[a] == tile[a]) {
        most_probable(&run(net, image, device)?)
    } else {
        most_probable(&run_tiles(net, image, tile, device)?)
    };
    Ok(LabelVolume::from_vec(*image.grid(), labels)?)
}

/// The network's scores of one volume.
fn run(net: &Unet3d, image: &Volume<f32>, device: &Device) -> Result<Scores, PipelineError> {
    let [x, y, z] = image.size();
    let input = Tensor::from_slice(image.voxels(), (1, 1, z, y, x), device)?;
    let scores = net.predict(&input)?;
    let classes = scores.dim(1)?;
    Ok(Scores { values: scores.flatten_all()?.to_vec1::<f32>()?, classes })
}

/// Weighted sums of the class probabilities of overlapping tiles. The weights need not be divided out:
/// every class of a voxel has the same.
fn run_tiles(
    net: &Unet3d,
    image: &Volume<f32>,
    tile: [usize; 3],
    device: &Device,
) -> Result<Scores, PipelineError> {
    let size = image.size();
    let voxels = image.grid().voxel_count();
    let fill = image.voxels().iter().copied().fold(f32::INFINITY, f32::min);
    let weights = tile.map(gaussian);
    let starts = [0, 1, 2].map(|a| tile_starts(size[a], tile[a]));
    let mut sums = Scores { values: Vec::new(), classes: 0 };
    for &z in &starts[2] {
        for &y in &starts[1] {
            for &x in &starts[0] {
                let start = [x, y, z];
                let end = [0, 1, 2].map(|a| start[a] + tile[a] as i64);
                let place = BoundingBox::new(start, end)?;
                let mut scores = run(net, &crop(image, &place, fill), device)?;
                softmax(&mut scores);
                if sums.values.is_empty() {
                    sums = Scores { values: vec![0.0; scores.classes * voxels], classes: scores.classes };
                }
                add_tile(&mut sums, size, &scores, tile, start, &weights);
            }
        }
    }
    Ok(sums)
}

/// First voxels of the tiles along an axis: half a tile apart or less, the first at the near end and the
/// last at the far end. An axis shorter than the tile gets one, centred.
fn tile_starts(size: usize, tile: usize) -> Vec<i64> {
    if size <= tile {
        return vec![-(((tile - size) / 2) as i64)];
    }
    let last = size - tile;
    let steps = last.div_ceil((tile / 2).max(1));
    (0..=steps).map(|i| (i * last / steps) as i64).collect()
}

/// Weight of each voxel along an axis of a tile; positive everywhere.
fn gaussian(tile: usize) -> Vec<f32> {
    let (middle, sigma) = ((tile as f64 - 1.0) / 2.0, tile as f64 * GAUSSIAN_SHARE);
    (0..tile).map(|i| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp() as f32).collect()
}

/// Turns scores into probabilities, voxel by voxel.
fn softmax(scores: &mut Scores) {
    let voxels = scores.values.len() / scores.classes;
    for v in 0..voxels {
        let of = |c: usize| c * voxels + v;
        let largest = (0..scores.classes).map(|c| scores.values[of(c)]).fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for c in 0..scores.classes {
            let e = (scores.values[of(c)] - largest).exp();
            scores.values[of(c)] = e;
            sum += e;
        }
        for c in 0..scores.classes {
            scores.values[of(c)] /= sum;
        }
    }
}

fn add_tile(
    sums: &mut Scores,
    size: [usize; 3],
    scores: &Scores,
    tile: [usize; 3],
    start: [i64; 3],
    weights: &[Vec<f32>; 3],
) {
    let voxels = size.iter().product::<usize>();
    let tile_voxels = tile.iter().product::<usize>();
    // Range of tile indices along each axis that lie in the volume.
    let range = [0, 1, 2].map(|a| {
        let from = (-start[a]).max(0) as usize;
        let to = (size[a] as i64 - start[a]).clamp(0, tile[a] as i64) as usize;
        from..to
    });
    let place = |a: usize, i: usize| (start[a] + i as i64) as usize;
    for c in 0..scores.classes {
        for z in range[2].clone() {
            for y in range[1].clone() {
                let weight = weights[2][z] * weights[1][y];
                let row = &scores.values[c * tile_voxels + tile[0] * (y + tile[1] * z)..][..tile[0]];
                let first = c * voxels + size[0] * (place(1, y) + size[1] * place(2, z));
                for x in range[0].clone() {
                    sums.values[first + place(0, x)] += weight * weights[0][x] * row[x];
                }
            }
        }
    }
}

/// The class with the highest score of each voxel; the lowest such class where several have it.
fn most_probable(scores: &Scores) -> Vec<Label> {
    let voxels = scores.values.len() / scores.classes;
    let mut labels = vec![0; voxels];
    let mut best = scores.values[..voxels].to_vec();
    for c in 1..scores.classes {
        for (v, &score) in scores.values[c * voxels..(c + 1) * voxels].iter().enumerate() {
            if score > best[v] {
                best[v] = score;
                labels[v] = c as Label;
            }
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use candle_nn::{VarBuilder, VarMap};
    use organseg_unet::{Norm, UnetConfig, initialize};
    use organseg_volume::{Grid, Spacing};

    /// Every voxel is covered, tiles start in order, neighbours overlap by at least half.
    #[test]
    fn tiles_cover_the_axis_and_overlap_by_half() {
        for (size, tile) in [(100, 32), (33, 32), (64, 32), (7, 8), (8, 8), (512, 160)] {
            let starts = tile_starts(size, tile);
            if size > tile {
                assert_eq!(starts[0], 0);
                assert_eq!(*starts.last().unwrap() as usize, size - tile);
                assert!(starts.windows(2).all(|p| p[1] - p[0] <= (tile / 2) as i64), "{starts:?}");
            } else {
                assert_eq!(starts.len(), 1);
            }
        }
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
