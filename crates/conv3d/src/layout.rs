//! Between (N, C, D, H, W) and blocks: (N, C/16, D, H, W, 16).

use rayon::prelude::*;

use crate::channels::Channels;
use crate::kernels::disjoint::Disjoint;
use crate::line::{LANES, Line};
use crate::memory::Buffer;

/// Voxels that one task turns round.
const CHUNK: usize = 4096;

/// Blocks of `values` (N, C, voxels): N · B · voxels lines. Lanes without a channel are zero.
///
/// # Panics
/// If the values are not those of whole samples.
///
/// ```
/// use organseg_conv3d::blocked::{Channels, from_blocks, to_blocks};
/// let channels = Channels::new(&[2]);
/// let blocks = to_blocks(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &channels, 3);
/// assert_eq!((blocks[1].0[0], blocks[1].0[1], blocks[1].0[2]), (2.0, 20.0, 0.0));
/// assert_eq!(from_blocks(&blocks, &channels, 3), [1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
/// ```
#[must_use]
pub fn to_blocks(values: &[f32], channels: &Channels, voxels: usize) -> Buffer {
    let sample = channels.count() * voxels;
    let batch = samples(values.len(), sample);
    let mut lines = Buffer::new(batch * channels.blocks() * voxels);
    let tasks = lines.par_chunks_mut(voxels.max(1)).enumerate();
    tasks.for_each(|(task, lines)| {
        let (n, block) = (task / channels.blocks(), channels.block(task % channels.blocks()));
        let values = &values[n * sample + block.start * voxels..][..block.count * voxels];
        lines.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, lines)| {
            lines.fill(Line::ZERO);
            // Sixteen voxels at a time: a row of each channel and a square of the result stay in the cache.
            for (square, lines) in lines.chunks_mut(LANES).enumerate() {
                let from = chunk * CHUNK + square * LANES;
                for lane in 0..block.count {
                    let row = &values[lane * voxels + from..][..lines.len()];
                    for (line, &value) in lines.iter_mut().zip(row) {
                        line.0[lane] = value;
                    }
                }
            }
        });
    });
    lines
}

/// The values (N, C, voxels) of blocks; the reverse of [`to_blocks`].
///
/// # Panics
/// If the lines are not those of whole samples.
#[must_use]
pub fn from_blocks(lines: &[Line], channels: &Channels, voxels: usize) -> Vec<f32> {
    let batch = samples(lines.len(), channels.blocks() * voxels);
    let sample = channels.count() * voxels;
    let mut values = vec![0.0; batch * sample];
    let shared = Disjoint::new(&mut values);
    let chunks = voxels.div_ceil(CHUNK);
    (0..batch * channels.blocks() * chunks).into_par_iter().for_each(|task| {
        let (block, chunk) = (task / chunks, task % chunks);
        let (n, channel) = (block / channels.blocks(), channels.block(block % channels.blocks()));
        let lines = &lines[block * voxels..][..voxels];
        let end = voxels.min((chunk + 1) * CHUNK);
        for from in (chunk * CHUNK..end).step_by(LANES) {
            let lines = &lines[from..end.min(from + LANES)];
            for lane in 0..channel.count {
                let at = n * sample + (channel.start + lane) * voxels + from;
                // SAFETY: these voxels of this channel are of this task alone.
                let row = unsafe { shared.part(at, lines.len()) };
                for (value, line) in row.iter_mut().zip(lines) {
                    *value = line.0[lane];
                }
            }
        }
    });
    values
}

/// How many samples of `sample` values `total` values are.
fn samples(total: usize, sample: usize) -> usize {
    let batch = total.checked_div(sample).unwrap_or(0);
    assert_eq!(batch * sample, total, "there are whole samples of {sample} values");
    batch
}
