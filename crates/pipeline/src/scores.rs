//! What a network says of each voxel, and the class that follows.

use candle_core::{DType, Device, Storage, Tensor};
use organseg_unet::Unet3d;
use organseg_volume::Label;
use rayon::prelude::*;

use crate::PipelineError;

/// Class scores (1, K, D, H, W) of a box of voxels, on the CPU, rows contiguous: read where the network left
/// them, without a copy.
pub(crate) struct Scores(Tensor);

/// The rows of [`Scores`].
pub(crate) struct Rows<'a> {
    values: &'a [f32],
    /// Steps in memory along K, D and H.
    steps: [usize; 3],
    /// K, D, H, W.
    shape: [usize; 4],
    /// Axes (x, y, z) along which the image was mirrored.
    flip: [bool; 3],
}

impl Scores {
    /// The scores that `net` gives an image (1, C, D, H, W). NaN would otherwise pass for background.
    pub(crate) fn of(net: &Unet3d, image: &Tensor) -> Result<Self, PipelineError> {
        let mut scores = net.predict(image)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        if scores.stride()[4] != 1 {
            scores = scores.contiguous()?;
        }
        let scores = Self(scores);
        let (values, of) = scores.read(not_finite)?;
        if values > 0 { Err(PipelineError::ScoresNotFinite { values, of }) } else { Ok(scores) }
    }

    /// What `read` makes of the rows.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Rows<'_>) -> R) -> Result<R, PipelineError> {
        self.read_flipped([false; 3], read)
    }

    /// What `read` makes of the rows of an image that was mirrored along the axes `flip` (x, y, z): planes and rows
    /// are in the order of the image as it was.
    pub(crate) fn read_flipped<R>(
        &self,
        flip: [bool; 3],
        read: impl FnOnce(&Rows<'_>) -> R,
    ) -> Result<R, PipelineError> {
        let (_, classes, d, h, w) = self.0.dims5()?;
        let (storage, layout) = self.0.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { unreachable!("the scores were brought to the CPU") };
        let values = &storage.as_slice::<f32>()?[layout.start_offset()..];
        let stride = layout.stride();
        let rows = Rows { values, steps: [stride[1], stride[2], stride[3]], shape: [classes, d, h, w], flip };
        Ok(read(&rows))
    }

    /// The class with the highest score of each voxel; the lowest such class where several have it.
    pub(crate) fn most_probable(&self) -> Result<Vec<Label>, PipelineError> {
        self.read(|rows| {
            let [classes, d, h, w] = rows.shape;
            let mut labels = vec![0; d * h * w];
            labels.par_chunks_mut(w).enumerate().for_each_init(Vec::new, |best, (row, labels)| {
                most_probable((0..classes).map(|class| rows.row(class, row / h, row % h)), best, labels);
            });
            labels
        })
    }

    /// [`Scores::most_probable`] and by how much each class leads.
    pub(crate) fn most_probable_with_leads(&self) -> Result<(Vec<Label>, Vec<u8>), PipelineError> {
        self.read(|rows| {
            let [classes, d, h, w] = rows.shape;
            let (mut labels, mut leads) = (vec![0; d * h * w], vec![0; d * h * w]);
            let both = labels.par_chunks_mut(w).zip(leads.par_chunks_mut(w)).enumerate();
            both.for_each_init(Vec::new, |room, (row, (labels, leads))| {
                let rows = (0..classes).map(|class| rows.row(class, row / h, row % h));
                most_probable_with_leads(rows, lead_of_logits, room, labels, leads);
            });
            (labels, leads)
        })
    }
}

impl Rows<'_> {
    /// Whether rows run the other way than the image's: [`Rows::row`] gives them as they lie.
    pub(crate) fn reversed(&self) -> bool {
        self.flip[0]
    }

    /// The scores of `class` along x.
    pub(crate) fn row(&self, class: usize, z: usize, y: usize) -> &[f32] {
        let [_, d, h, _] = self.shape;
        let z = if self.flip[2] { d - 1 - z } else { z };
        let y = if self.flip[1] { h - 1 - y } else { y };
        let start = class * self.steps[0] + z * self.steps[1] + y * self.steps[2];
        &self.values[start..start + self.shape[3]]
    }
}

/// How many scores are NaN or infinite, and how many there are.
fn not_finite(rows: &Rows<'_>) -> (usize, usize) {
    let [classes, d, h, w] = rows.shape;
    let in_row = |at: usize| {
        let row = rows.row(at / (d * h), at / h % d, at % h);
        // Adds up without a branch, many at a time.
        row.iter().map(|score| u32::from(!score.is_finite())).sum::<u32>() as usize
    };
    ((0..classes * d * h).into_par_iter().with_min_len(64).map(in_row).sum(), classes * d * h * w)
}

/// For each place in the rows of the classes the class with the highest value, the lowest of several.
/// `best` is room to work in.
pub(crate) fn most_probable<'a>(
    mut rows: impl Iterator<Item = &'a [f32]>,
    best: &mut Vec<f32>,
    labels: &mut [Label],
) {
    best.clear();
    best.extend_from_slice(rows.next().expect("a network has two classes at least"));
    labels.fill(0);
    for (class, row) in rows.enumerate() {
        for ((label, best), &score) in labels.iter_mut().zip(&mut *best).zip(row) {
            if score > *best {
                (*label, *best) = (class as Label + 1, score);
            }
        }
    }
}

/// By how much the most probable class leads on the next one, of their two scores: as a share (p − q) / (p + q) of their
/// probabilities, from 1 to 255.
pub(crate) type LeadOf = fn(f32, f32) -> u8;

/// [`LeadOf`] scores before softmax: p / q is the exponential of their difference.
pub(crate) fn lead_of_logits(first: f32, second: f32) -> u8 {
    lead_of_share(((first - second) / 2.0).tanh())
}

/// [`LeadOf`] probabilities, or sums of them in which all classes have as many summands. Without any, nobody doubts the
/// background.
pub(crate) fn lead_of_sums(first: f32, second: f32) -> u8 {
    if first > 0.0 { lead_of_share((first - second) / (first + second)) } else { SURE }
}

/// Of a label that nobody doubts.
pub(crate) const SURE: u8 = u8::MAX;

fn lead_of_share(share: f32) -> u8 {
    (share * f32::from(SURE)).round().max(1.0) as u8
}

/// [`most_probable`] with the leads of the classes. `room` is room to work in.
pub(crate) fn most_probable_with_leads<'a>(
    rows: impl Iterator<Item = &'a [f32]>,
    lead_of: LeadOf,
    room: &mut Vec<f32>,
    labels: &mut [Label],
    leads: &mut [u8],
) {
    let n = labels.len();
    room.clear();
    room.resize(2 * n, f32::NEG_INFINITY);
    let (best, next) = room.split_at_mut(n);
    labels.fill(0);
    for (class, row) in rows.enumerate() {
        for (((label, best), next), &score) in labels.iter_mut().zip(&mut *best).zip(&mut *next).zip(row) {
            if score > *best {
                *next = *best;
                (*label, *best) = (class as Label, score);
            } else if score > *next {
                *next = score;
            }
        }
    }
    for ((lead, &best), &next) in leads.iter_mut().zip(&*best).zip(&*next) {
        *lead = lead_of(best, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_are_the_difference_of_the_two_largest_as_a_share() {
        // Four places of three classes: clear, close, equal, nothing.
        let rows: [[f32; 4]; 3] = [[0.1, 0.3, 0.5, 0.0], [0.9, 0.4, 0.5, 0.0], [0.0, 0.3, 0.0, 0.0]];
        let (mut labels, mut leads) = ([9; 4], [0; 4]);
        let rows_of = || rows.iter().map(|row| &row[..]);
        most_probable_with_leads(rows_of(), lead_of_sums, &mut Vec::new(), &mut labels, &mut leads);
        assert_eq!((labels, leads), ([1, 1, 0, 0], [204, 36, 1, 255]));
        let mut plain = [9; 4];
        most_probable(rows_of(), &mut Vec::new(), &mut plain);
        assert_eq!(plain, labels);
        // Logits of the same probabilities have the same lead.
        for (p, q) in [(0.9f32, 0.1f32), (0.4, 0.3), (0.5, 0.5)] {
            assert_eq!(lead_of_logits(p.ln() + 3.0, q.ln() + 3.0), lead_of_sums(p, q));
        }
        assert_eq!((lead_of_logits(90.0, -90.0), lead_of_logits(0.0, f32::NEG_INFINITY)), (255, 255));
    }

    #[test]
    fn scores_that_are_no_numbers_are_counted() {
        let scores = |bad: &[f32]| {
            let values: Vec<f32> = bad.iter().copied().chain((bad.len()..24).map(|i| i as f32)).collect();
            let scores = Scores(Tensor::from_vec(values, (1, 2, 2, 3, 2), &Device::Cpu).unwrap());
            scores.read(not_finite).unwrap()
        };
        assert_eq!(scores(&[]), (0, 24));
        assert_eq!(scores(&[f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX]), (3, 24));
    }

    #[test]
    fn the_first_of_the_largest_is_taken_also_in_a_part_of_a_tensor() {
        // Three classes of 1×2×3 voxels, padded to 2×2×4.
        let all: Vec<f32> = (0..3 * 2 * 2 * 4).map(|i| ((i * 7) % 5) as f32).collect();
        let padded = Tensor::from_vec(all.clone(), (1, 3, 2, 2, 4), &Device::Cpu).unwrap();
        let cut = padded.narrow(2, 1, 1).unwrap().narrow(4, 0, 3).unwrap();
        let at = |class: usize, y: usize, x: usize| all[class * 16 + 8 + y * 4 + x];
        let mut expected = Vec::new();
        for (y, x) in (0..2).flat_map(|y| (0..3).map(move |x| (y, x))) {
            let largest = (0..3).map(|class| at(class, y, x)).fold(f32::MIN, f32::max);
            expected.push((0..3u8).find(|&class| at(usize::from(class), y, x) == largest).unwrap());
        }
        assert_eq!(Scores(cut).most_probable().unwrap(), expected);
    }
}
