//! Sums over slices that losses of scores are made of, and the gradient that follows.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, LaunchConfig};
use candle_core::{CudaStorage, Layout, Result, bail};

use super::kernels::{THREADS, for_each, kernel, launch};
use super::{room, values, zeros};

/// Sums of each class and slice: p, y, y p, ω y, −ω y log p, −y (1 − p)^γ log p, u p, v p, u y, v y.
pub const SUMS: usize = 10;

/// Threads of a block that sums over a slice, at most: what the kernel has registers for.
const MOST_THREADS: u32 = 512;

/// `Slices` of kernels/losses.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Slices {
    batch: i64,
    classes: i64,
    size: [i64; 3],
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Slices {}

/// One-hot truth (N, `classes`, …) in `f32` of the labels of N samples of `voxels` voxels each; none for the label `ignored`.
///
/// # Errors
/// If there is not a label for each voxel; what the device gives.
pub fn one_hot(
    labels: &[u8],
    [samples, voxels, classes]: [usize; 3],
    ignored: Option<u8>,
    device: &CudaDevice,
) -> Result<CudaStorage> {
    let count = samples * voxels;
    if labels.len() != count {
        bail!("{} labels for {samples} samples of {voxels} voxels", labels.len());
    }
    // The kernel writes all of it.
    let mut out = room::<f32>(device, count * classes)?;
    if count * classes > 0 {
        let labels = device.clone_htod(labels)?;
        let (config, ignored) = (for_each(count), ignored.map_or(-1, i32::from));
        let (count, voxels, classes) = (count as i64, voxels as i64, classes as i64);
        // SAFETY: labels and result have the sizes above; the arguments are those of the kernel, in its order.
        unsafe {
            let kernel = kernel::<f32>(device, "one_hot")?;
            launch!(kernel, config, [&labels, &mut out, &count, &voxels, &classes, &ignored])?;
        }
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// Scores and truth (N, K, D, H, W) in `f32`, and what the losses are to know of them.
pub struct Scores<'a> {
    /// Logits.
    pub scores: (&'a CudaStorage, &'a Layout),
    /// One-hot; a voxel without a class does not count.
    pub truth: (&'a CudaStorage, &'a Layout),
    /// ω of each voxel of each sample, or 1.
    pub weights: Option<&'a [f32]>,
    /// γ of the focal loss, if there is one.
    pub focus: Option<f64>,
    /// The least 1 − p that is raised to a power.
    pub least_doubt: f64,
}

/// What the gradient is made of.
pub struct Slopes<'a> {
    /// a, b, c, d of ∂L/∂p = a + b y + c u + d v: (N, D, K, 4).
    pub terms: &'a [f32],
    /// Weight of each class.
    pub class_weights: &'a [f32],
    /// What the sums of the cross-entropy and of the focal loss are multiplied by.
    pub entropy: f64,
    /// As `entropy`.
    pub focal: f64,
}

impl Scores<'_> {
    fn slices(&self) -> Result<(Slices, usize)> {
        let (&[n, k, d, h, w], true) = (self.scores.1.dims(), self.scores.1.dims() == self.truth.1.dims())
        else {
            bail!("losses: scores {:?}, truth {:?}", self.scores.1.dims(), self.truth.1.dims())
        };
        let voxels = n * d * h * w;
        if k == 0 || self.weights.is_some_and(|weights| weights.len() != voxels) {
            bail!("losses: {k} classes, and not a weight for each of {voxels} voxels");
        }
        let size = [d, h, w].map(|n| n as i64);
        Ok((Slices { batch: n as i64, classes: k as i64, size }, voxels))
    }

    /// The weights of voxels on the card; one number that nobody reads if there are none.
    fn weights(&self, device: &CudaDevice) -> Result<CudaSlice<f32>> {
        device.clone_htod(self.weights.unwrap_or(&[1.0]))
    }

    /// The sums (N, D, K, [`SUMS`]), brought to the CPU.
    ///
    /// # Errors
    /// If shapes do not fit each other; what the device gives.
    pub fn sums(&self) -> Result<Vec<f64>> {
        let (slices, voxels) = self.slices()?;
        let device = self.scores.0.device.clone();
        let blocks = (slices.batch * slices.size[0]) as usize;
        let count = blocks * slices.classes as usize * SUMS;
        if voxels == 0 {
            return Ok(vec![0.0; count]);
        }
        let (z, y) = (values::<f32>(self.scores)?, values::<f32>(self.truth)?);
        let near = self.weights(&device)?;
        // The kernel writes all of it.
        let mut sums = room::<f64>(&device, count)?;
        let (has_near, has_focus) = (i32::from(self.weights.is_some()), i32::from(self.focus.is_some()));
        let focus = self.focus.unwrap_or(0.0);
        // Few slices for a card: each has as many threads as there may be.
        let threads = if voxels / blocks < 2 * MOST_THREADS as usize { THREADS } else { MOST_THREADS };
        let config =
            LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: scores, truth and weights have the voxels of `slices`, as was checked; the arguments are those of the
        // kernel, in its order.
        unsafe {
            launch!(
                kernel::<f32>(&device, "loss_sums")?,
                config,
                [&z, &y, &near, &has_near, &mut sums, &slices, &has_focus, &focus, &self.least_doubt]
            )?;
        }
        device.clone_dtoh(&sums)
    }

    /// The gradient for the scores.
    ///
    /// # Errors
    /// As [`Scores::sums`].
    pub fn gradient(&self, slopes: &Slopes<'_>) -> Result<CudaStorage> {
        let (slices, voxels) = self.slices()?;
        let device = self.scores.0.device.clone();
        let classes = slices.classes as usize;
        let expected = (slices.batch * slices.size[0]) as usize * classes * 4;
        if slopes.terms.len() != expected || slopes.class_weights.len() != classes {
            bail!(
                "losses: {} terms and {} weights of classes",
                slopes.terms.len(),
                slopes.class_weights.len()
            );
        }
        if voxels == 0 {
            return Ok(CudaStorage::wrap_cuda_slice(zeros::<f32>(&device, 0)?, device));
        }
        let (z, y) = (values::<f32>(self.scores)?, values::<f32>(self.truth)?);
        let near = self.weights(&device)?;
        let (terms, weights) = (device.clone_htod(slopes.terms)?, device.clone_htod(slopes.class_weights)?);
        // The kernel writes all of it.
        let mut out = room::<f32>(&device, voxels * classes)?;
        let (has_near, has_focus) = (i32::from(self.weights.is_some()), i32::from(self.focus.is_some()));
        let focus = self.focus.unwrap_or(0.0);
        // SAFETY: as for the sums; terms and weights have the sizes that were checked.
        unsafe {
            launch!(
                kernel::<f32>(&device, "loss_gradient")?,
                for_each(voxels),
                [
                    &z,
                    &y,
                    &near,
                    &has_near,
                    &terms,
                    &weights,
                    &mut out,
                    &slices,
                    &slopes.entropy,
                    &slopes.focal,
                    &has_focus,
                    &focus,
                    &self.least_doubt
                ]
            )?;
        }
        Ok(CudaStorage::wrap_cuda_slice(out, device))
    }
}
