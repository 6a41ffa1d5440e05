//! A volume seen in overlapping tiles.
//!
//! Tiles overlap by half along each axis. Where they do, the class probabilities are averaged with a
//! Gaussian weight that trusts a tile's middle more than its border (σ = an eighth of the tile, as in
//! nnU-Net). The weights need not be divided out: every class of a voxel has the same.
//!
//! ```text
//! for z in starts along z:
//!     for y, x in starts along y, x:
//!         planes z .. z + tile of the sums += weight · softmax(scores of the tile)
//!     planes before the next z are done: their labels are the classes with the largest sums
//! ```
//!
//! So the sums of no more planes than a tile has are held at a time, in a ring of planes; of all planes where the
//! probabilities themselves are asked for. A tile that is also seen mirrored adds the probabilities of each way, one
//! that several networks see those of each network.

use std::ops::Range;

use candle_core::{Device, Tensor};
use organseg_roi::{BoundingBox, crop};
use organseg_unet::Unet3d;
use organseg_volume::{Label, Volume};
use rayon::prelude::*;

use crate::PipelineError;
use crate::flips::{combinations, flipped};
use crate::scores::{Rows, Scores, lead_of_sums, most_probable, most_probable_with_leads};
use crate::sums_memory::check_sums_fit;

/// The Gaussian's standard deviation as a share of the tile's side.
const GAUSSIAN_SHARE: f64 = 0.125;

/// How a network sees a volume.
#[derive(Clone, Copy)]
pub(crate) struct Tiling {
    /// Size (x, y, z) of the tiles.
    pub(crate) tile: [usize; 3],
    /// Axes (x, y, z) along which each tile is also seen mirrored.
    pub(crate) flips: [bool; 3],
}

/// Label of the most probable class of each voxel of `image`, seen in tiles, padded with the image's smallest value
/// where they reach beyond it; and, `with_leads`, by how much it leads.
pub(crate) fn most_probable_in_tiles(
    nets: &[Unet3d],
    image: &Volume<f32>,
    tiling: Tiling,
    device: &Device,
    with_leads: bool,
) -> Result<(Vec<Label>, Option<Vec<u8>>), PipelineError> {
    let mut sums = Sums::new(image.size(), tiling.tile[2], classes(nets))?;
    let mut labels = vec![0; image.grid().voxel_count()];
    let mut leads = with_leads.then(|| vec![0; labels.len()]);
    add_tiles(nets, image, tiling, device, &mut sums, |sums, done| {
        sums.finish(done, &mut labels, leads.as_deref_mut());
    })?;
    Ok((labels, leads))
}

/// Class probabilities of each voxel of `image`, seen in tiles.
pub(crate) fn probabilities_in_tiles(
    nets: &[Unet3d],
    image: &Volume<f32>,
    tiling: Tiling,
    device: &Device,
) -> Result<Probabilities, PipelineError> {
    let mut sums = Sums::new(image.size(), image.size()[2], classes(nets))?;
    add_tiles(nets, image, tiling, device, &mut sums, |_, _| {})?;
    Ok(sums.into_probabilities())
}

/// Classes of networks that see one volume together.
fn classes(nets: &[Unet3d]) -> usize {
    nets.first().expect("a stage has a network").config().classes
}

/// Adds up all tiles; `done` is told of planes that no later tile touches.
fn add_tiles(
    nets: &[Unet3d],
    image: &Volume<f32>,
    Tiling { tile, flips }: Tiling,
    device: &Device,
    sums: &mut Sums,
    mut done: impl FnMut(&mut Sums, Range<usize>),
) -> Result<(), PipelineError> {
    let size = image.size();
    let fill = image.voxels().par_iter().copied().reduce(|| f32::INFINITY, f32::min);
    let weights = tile.map(gaussian);
    let starts = [0, 1, 2].map(|a| tile_starts(size[a], tile[a]));
    for (i, &z) in starts[2].iter().enumerate() {
        for &y in &starts[1] {
            for &x in &starts[0] {
                let start = [x, y, z];
                let end = [0, 1, 2].map(|a| start[a] + tile[a] as i64);
                let part = crop(image, &BoundingBox::new(start, end)?, fill);
                for flip in combinations(flips) {
                    let seen = flipped(part.voxels(), tile, flip);
                    let input = Tensor::from_vec(seen, (1, 1, tile[2], tile[1], tile[0]), device)?;
                    for net in nets {
                        let scores = Scores::of(net, &input)?;
                        scores.read_flipped(flip, |rows| sums.add(rows, start, tile, &weights))?;
                    }
                }
            }
        }
        // No later tile touches the planes before the next one's first.
        let next = starts[2].get(i + 1).map_or(size[2], |&next| next as usize);
        done(sums, z.max(0) as usize..next);
    }
    Ok(())
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

/// A plane of labels and, where they are wanted, of leads.
type Plane<'a> = (&'a mut [Label], Option<&'a mut [u8]>);

/// Weighted sums of class probabilities in some planes of a volume.
struct Sums {
    /// Plane z is at place z modulo their number; in each class by class, x fastest.
    values: Vec<f32>,
    planes: usize,
    classes: usize,
    size: [usize; 3],
}

impl Sums {
    fn new(size: [usize; 3], planes: usize, classes: usize) -> Result<Self, PipelineError> {
        let planes = planes.min(size[2]);
        let voxels = planes * size[1] * size[0];
        check_sums_fit(classes, voxels)?;
        Ok(Self { values: vec![0.0; classes * voxels], planes, classes, size })
    }

    /// Adds the probabilities that follow from the scores of the tile that begins at `start`.
    fn add(&mut self, scores: &Rows<'_>, start: [i64; 3], tile: [usize; 3], weights: &[Vec<f32>; 3]) {
        let (planes, classes, [nx, ny, _]) = (self.planes, self.classes, self.size);
        // Tile indices along each axis that lie in the volume, and where the first of them does.
        let inside: [Range<usize>; 3] = [0, 1, 2].map(|a| {
            let from = (-start[a]).max(0) as usize;
            let to = (self.size[a] as i64 - start[a]).clamp(0, tile[a] as i64) as usize;
            from..to
        });
        let first = start.map(|s| s.max(0) as usize);
        let columns = inside[0].clone();
        self.values.par_chunks_mut(classes * ny * nx).enumerate().for_each_init(
            || vec![0.0; (classes + 2) * columns.len()],
            |room, (place, plane)| {
                // The tile's plane that goes to this place, if one does.
                let z = inside[2].start + (place + planes - first[2] % planes) % planes;
                if z >= inside[2].end {
                    return;
                }
                for (y, tile_y) in inside[1].clone().enumerate() {
                    let probabilities = softmax(scores, z, tile_y, columns.clone(), classes, room);
                    let weight = weights[2][z] * weights[1][tile_y];
                    for (class, row) in probabilities.chunks(columns.len()).enumerate() {
                        let sums = &mut plane[(class * ny + first[1] + y) * nx + first[0]..];
                        for ((sum, &along), &p) in sums.iter_mut().zip(&weights[0][columns.clone()]).zip(row)
                        {
                            *sum += weight * along * p;
                        }
                    }
                }
            },
        );
    }

    /// The sums over all classes made 1; only for sums of all planes.
    fn into_probabilities(mut self) -> Probabilities {
        let (classes, [nx, ny, _]) = (self.classes, self.size);
        self.values.par_chunks_mut(classes * ny * nx).for_each_init(Vec::new, |total, plane| {
            total.clear();
            total.resize(ny * nx, 0.0f32);
            for class in plane.chunks(ny * nx) {
                total.iter_mut().zip(class).for_each(|(total, sum)| *total += sum);
            }
            for class in plane.chunks_mut(ny * nx) {
                class.iter_mut().zip(&*total).for_each(|(sum, total)| *sum /= total);
            }
        });
        Probabilities { values: self.values, classes, size: self.size }
    }

    /// Writes the labels, and leads where they are wanted, of the planes `done` and makes room for as many others.
    fn finish(&mut self, done: Range<usize>, labels: &mut [Label], leads: Option<&mut [u8]>) {
        let (classes, [nx, ny, _]) = (self.classes, self.size);
        let mut at_place: Vec<Option<Plane>> = (0..self.planes).map(|_| None).collect();
        let mut leads = leads.map(|leads| leads.chunks_mut(nx * ny).skip(done.start));
        for (z, plane) in labels.chunks_mut(nx * ny).enumerate().take(done.end).skip(done.start) {
            at_place[z % self.planes] = Some((plane, leads.as_mut().and_then(Iterator::next)));
        }
        let planes = self.values.par_chunks_mut(classes * ny * nx).zip(at_place);
        planes.for_each_init(Vec::new, |room, (sums, plane)| {
            let Some((labels, leads)) = plane else { return };
            let rows = sums.chunks(ny * nx);
            match leads {
                Some(leads) => most_probable_with_leads(rows, lead_of_sums, room, labels, leads),
                None => most_probable(rows, room, labels),
            }
            sums.fill(0.0);
        });
    }
}

/// Class probabilities of a box of voxels.
pub(crate) struct Probabilities {
    /// Plane by plane, in each class by class, x fastest.
    values: Vec<f32>,
    classes: usize,
    size: [usize; 3],
}

impl Probabilities {
    /// The probabilities of `class` along x.
    pub(crate) fn row(&self, class: usize, z: usize, y: usize) -> &[f32] {
        let [nx, ny, _] = self.size;
        &self.values[((z * self.classes + class) * ny + y) * nx..][..nx]
    }

    /// Voxels along (x, y, z).
    pub(crate) fn size(&self) -> [usize; 3] {
        self.size
    }

    /// Classes, background included.
    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    /// The class with the highest probability of each voxel; the lowest such class where several have it.
    pub(crate) fn most_probable(&self) -> Vec<Label> {
        let [nx, ny, nz] = self.size;
        let mut labels = vec![0; nx * ny * nz];
        let planes = labels.par_chunks_mut(nx * ny).zip(self.values.par_chunks(self.classes * ny * nx));
        planes.for_each_init(Vec::new, |best, (labels, sums)| {
            most_probable(sums.chunks(ny * nx), best, labels);
        });
        labels
    }
}

/// Probabilities of the classes, one after the other, in `columns` of a row of the image: exp(s) over their
/// sum, with the largest score subtracted first. `room` holds them and two rows to work in.
fn softmax<'a>(
    scores: &Rows<'_>,
    z: usize,
    y: usize,
    columns: Range<usize>,
    classes: usize,
    room: &'a mut [f32],
) -> &'a [f32] {
    // Where rows lie the other way round, so do their columns.
    let n = scores.row(0, z, y).len();
    let columns = if scores.reversed() { n - columns.end..n - columns.start } else { columns };
    let (work, probabilities) = room.split_at_mut(2 * columns.len());
    let (largest, sums) = work.split_at_mut(columns.len());
    largest.fill(f32::NEG_INFINITY);
    sums.fill(0.0);
    for class in 0..classes {
        for (largest, &score) in largest.iter_mut().zip(&scores.row(class, z, y)[columns.clone()]) {
            *largest = largest.max(score);
        }
    }
    for (class, row) in probabilities.chunks_mut(columns.len()).enumerate() {
        let scores = &scores.row(class, z, y)[columns.clone()];
        for (((p, sum), &largest), &score) in row.iter_mut().zip(&mut *sums).zip(&*largest).zip(scores) {
            *p = (score - largest).exp();
            *sum += *p;
        }
    }
    for row in probabilities.chunks_mut(columns.len()) {
        row.iter_mut().zip(&*sums).for_each(|(p, &sum)| *p /= sum);
        if scores.reversed() {
            row.reverse();
        }
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use candle_nn::{VarBuilder, VarMap};
    use organseg_unet::{UnetConfig, initialize};
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

    /// A network for three classes with random weights.
    fn net(channels: &[usize], seed: u64) -> Unet3d {
        let config = UnetConfig::new(1, 3).with_channels(channels.to_vec());
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let net = Unet3d::new(&config, vb).unwrap();
        initialize(&variables, seed).unwrap();
        net
    }

    /// The plain way: sums of the whole volume, tile after tile, voxel by voxel.
    fn by_whole_sums(nets: &[Unet3d], image: &Volume<f32>, tile: [usize; 3]) -> Vec<Label> {
        let (size, classes) = (image.size(), classes(nets));
        let fill = image.voxels().iter().copied().fold(f32::INFINITY, f32::min);
        let weights = tile.map(gaussian);
        let starts = [0, 1, 2].map(|a| tile_starts(size[a], tile[a]));
        let mut sums = vec![vec![0.0f32; classes]; image.grid().voxel_count()];
        for &z in &starts[2] {
            for (&y, &x) in starts[1].iter().flat_map(|y| starts[0].iter().map(move |x| (y, x))) {
                let start = [x, y, z];
                let end = [0, 1, 2].map(|a| start[a] + tile[a] as i64);
                let part = crop(image, &BoundingBox::new(start, end).unwrap(), fill);
                let input =
                    Tensor::from_slice(part.voxels(), (1, 1, tile[2], tile[1], tile[0]), &Device::Cpu);
                let input = input.unwrap();
                let voxels = part.voxels().len();
                let scores = nets
                    .iter()
                    .map(|net| net.predict(&input).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
                let scores: Vec<_> = scores.collect();
                for (scores, v) in scores.iter().flat_map(|scores| (0..voxels).map(move |v| (scores, v))) {
                    let t = [v % tile[0], v / tile[0] % tile[1], v / (tile[0] * tile[1])];
                    let at = [0, 1, 2].map(|a| start[a] + t[a] as i64);
                    if !BoundingBox::of_grid(image.grid()).contains(at) {
                        continue;
                    }
                    let of = |class: usize| scores[class * voxels + v];
                    let largest = (0..classes).map(of).fold(f32::NEG_INFINITY, f32::max);
                    let total = (0..classes).map(|class| (of(class) - largest).exp()).fold(0.0, |a, b| a + b);
                    let weight = weights[2][t[2]] * weights[1][t[1]] * weights[0][t[0]];
                    let sums = &mut sums[image.grid().offset(at.map(|i| i as usize))];
                    for (class, sum) in sums.iter_mut().enumerate() {
                        *sum += weight * ((of(class) - largest).exp() / total);
                    }
                }
            }
        }
        let first_largest = |sums: &Vec<f32>| {
            let most = sums.iter().copied().fold(f32::MIN, f32::max);
            sums.iter().position(|&sum| sum == most).unwrap() as Label
        };
        sums.iter().map(first_largest).collect()
    }

    #[test]
    fn labels_plane_by_plane_are_those_of_sums_over_the_whole_volume_bit_for_bit() {
        let nets = [net(&[4, 5], 3), net(&[6], 4)];
        for (size, tile) in [
            ([20, 13, 31], [8, 6, 10]),
            ([20, 13, 31], [8, 16, 7]),
            ([5, 9, 6], [8, 8, 8]),
            ([9, 9, 40], [8, 8, 9]),
            ([9, 4, 12], [4, 4, 1]),
        ] {
            let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
            let image =
                Volume::from_fn(grid, |[x, y, z]| ((x * 7 + y * 13 + z * 29) % 17) as f32 / 17.0 - 0.4);
            let tiling = Tiling { tile, flips: [false; 3] };
            for nets in [&nets[..1], &nets] {
                let found = most_probable_in_tiles(nets, &image, tiling, &Device::Cpu, false).unwrap().0;
                let with_leads = most_probable_in_tiles(nets, &image, tiling, &Device::Cpu, true).unwrap();
                assert!(with_leads.0 == found && with_leads.1.unwrap().iter().all(|&lead| lead > 0));
                assert!(found.contains(&0) && found.iter().any(|&label| label > 0), "something to compare");
                assert_eq!(found, by_whole_sums(nets, &image, tile), "{size:?} in tiles of {tile:?}");
            }
        }
    }

    /// Probabilities with flips, each voxel against its own mean of two networks' answers.
    #[test]
    fn flipped_probabilities_are_the_mean_over_mirrored_images() {
        let nets = [net(&[4, 5], 4), net(&[3, 4], 5)];
        let size = [9, 6, 7];
        let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |[x, y, z]| ((x * 7 + y * 13 + z * 29) % 17) as f32 / 17.0 - 0.4);
        let flips = [true, false, true];
        let tiling = Tiling { tile: size, flips };
        let found = probabilities_in_tiles(&nets, &image, tiling, &Device::Cpu).unwrap();
        let mut expected = vec![0.0f32; 3 * image.voxels().len()];
        for (flip, net) in
            combinations(flips).into_iter().flat_map(|flip| nets.iter().map(move |net| (flip, net)))
        {
            let mirror =
                |at: [usize; 3]| [0, 1, 2].map(|a| if flip[a] { size[a] - 1 - at[a] } else { at[a] });
            let seen = Volume::from_fn(grid, |at| image[mirror(at)]);
            let input = Tensor::from_slice(seen.voxels(), (1, 1, size[2], size[1], size[0]), &Device::Cpu);
            let scores = net.predict(&input.unwrap()).unwrap();
            let p =
                candle_nn::ops::softmax(&scores, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (v, class) in (0..image.voxels().len()).flat_map(|v| (0..3).map(move |class| (v, class))) {
                let at = [v % size[0], v / size[0] % size[1], v / (size[0] * size[1])];
                expected[class * image.voxels().len() + v] +=
                    p[class * image.voxels().len() + grid.offset(mirror(at))] / 8.0;
            }
        }
        for (v, class) in (0..image.voxels().len()).flat_map(|v| (0..3).map(move |class| (v, class))) {
            let at = [v % size[0], v / size[0] % size[1], v / (size[0] * size[1])];
            let found = found.row(class, at[2], at[1])[at[0]];
            let expected = expected[class * image.voxels().len() + v];
            // Sums of eight rounded probabilities.
            assert!((found - expected).abs() < 1e-5, "{at:?}: {found}, expected {expected}");
        }
        let (labels, leads) = most_probable_in_tiles(&nets, &image, tiling, &Device::Cpu, true).unwrap();
        assert_eq!(found.most_probable(), labels);
        // Those of the probabilities, but for their rounding.
        for (v, lead) in leads.unwrap().into_iter().enumerate() {
            let at = [v % size[0], v / size[0] % size[1], v / (size[0] * size[1])];
            let mut p = [0, 1, 2].map(|class| found.row(class, at[2], at[1])[at[0]]);
            p.sort_by(f32::total_cmp);
            assert!(lead.abs_diff(lead_of_sums(p[2], p[1])) <= 1, "{p:?}: {lead}");
        }
    }
}
