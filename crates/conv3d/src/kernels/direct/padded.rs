//! Copies of volumes within a frame of zeros, in memory that is used again.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// Most buffers kept for later; a network needs two at a time, and several may run side by side.
const KEPT: usize = 8;

/// Buffers that nobody uses at the moment. A fresh one costs more to touch for the first time than a
/// layer costs to compute.
static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Channels of D×H×W voxels, each within zeros.
pub(super) struct Padded {
    values: Vec<f32>,
    /// Size of a channel with its frame, along (D, H, W).
    pub(super) size: [usize; 3],
}

impl Padded {
    /// Copies `channels` volumes of `size`, with `before` zeros on the near side of each axis and enough
    /// on the far side to make `padded`.
    pub(super) fn new(values: &[f32], size: [usize; 3], before: [usize; 3], padded: [usize; 3]) -> Self {
        let (volume, frame) = (size.iter().product::<usize>(), padded.iter().product::<usize>());
        let channels = values.len() / volume.max(1);
        let mut copy = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        copy.resize(channels * frame, 0.0);
        let [_, h, w] = size;
        let [_, ph, pw] = padded;
        copy.par_chunks_mut(ph * pw).enumerate().for_each(|(plane, out)| {
            let (channel, z) = (plane / padded[0], plane % padded[0]);
            let z = z.wrapping_sub(before[0]);
            if z >= size[0] {
                out.fill(0.0);
                return;
            }
            let plane = &values[channel * volume + z * h * w..][..h * w];
            for (y, row) in out.chunks_mut(pw).enumerate() {
                match plane.chunks(w).nth(y.wrapping_sub(before[1])) {
                    Some(line) => {
                        row[..before[2]].fill(0.0);
                        row[before[2]..before[2] + w].copy_from_slice(line);
                        row[before[2] + w..].fill(0.0);
                    }
                    None => row.fill(0.0),
                }
            }
        });
        Self { values: copy, size: padded }
    }

    /// All values, channel by channel.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Numbers of a channel.
    pub(super) fn channel(&self) -> usize {
        self.size.iter().product()
    }
}

impl Drop for Padded {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.values));
        }
    }
}
