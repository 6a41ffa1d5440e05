//! A rule for each number of a tensor, written in CUDA C++ and compiled when it is first used.

#[cfg(feature = "cudnn")]
use candle_core::cuda_backend::CudaDevice;
#[cfg(feature = "cudnn")]
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{CudaStorage, Layout, Result, bail};

use super::kernels::{for_each, kernel_of_rule, launch};
use super::number::{CudaNumber, by_cuda_type};
use super::{Stored, values};

/// Constants that a rule has at most.
pub const MOST_CONSTANTS: usize = 6;

/// `Constants` of the kernel that a rule becomes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Constants([f64; MOST_CONSTANTS]);

// SAFETY: plain numbers in the layout of C, as the kernel declares them.
unsafe impl DeviceRepr for Constants {}

/// Sets every number of the contiguous tensor `old` to `rule`, an expression of `old`, `x`, `y` (numbers at the same place
/// of three tensors of one size and type) and the constants `s[0]`, `s[1]`…
///
/// # Errors
/// If tensors are not contiguous or not of one size and type; what the device and its compiler say.
pub fn change_each(
    old: &mut CudaStorage,
    layout: &Layout,
    x: (&CudaStorage, &Layout),
    y: (&CudaStorage, &Layout),
    rule: &'static str,
    constants: &[f64],
) -> Result<()> {
    by_cuda_type!("an in-place rule", x.0, change(old, layout, x, y, rule, constants))
}

fn change<T: CudaNumber>(
    old: &mut CudaStorage,
    layout: &Layout,
    x: Stored<'_>,
    y: Stored<'_>,
    rule: &'static str,
    constants: &[f64],
) -> Result<()> {
    let device = x.0.device.clone();
    let (x, y) = (values::<T>(x)?, values::<T>(y)?);
    let Some((from, to)) = layout.contiguous_offsets() else {
        bail!("an in-place rule: a tensor that is not contiguous")
    };
    if (x.len(), y.len()) != (to - from, to - from) || constants.len() > MOST_CONSTANTS {
        bail!(
            "an in-place rule: {}, {} and {} numbers, {} constants",
            to - from,
            x.len(),
            y.len(),
            constants.len()
        );
    }
    if from == to {
        return Ok(());
    }
    let mut all = Constants([0.0; MOST_CONSTANTS]);
    all.0[..constants.len()].copy_from_slice(constants);
    let mut old = T::as_cuda_slice_mut(old)?.slice_mut(from..to);
    let count = (to - from) as i64;
    // SAFETY: all three have `count` numbers; the arguments are those of the kernel, in its order. The rule reads and
    // writes numbers at one place alone.
    unsafe {
        let kernel = kernel_of_rule::<T>(&device, rule)?;
        launch!(kernel, for_each(to - from), [&mut old, &x, &y, &count, &all])
    }
}

/// Adds to each number of `sum` that of `more` at the same place; there are as many of both.
#[cfg(feature = "cudnn")]
pub(super) fn add<T: CudaNumber>(
    device: &CudaDevice,
    sum: &mut CudaSlice<T>,
    more: &CudaSlice<T>,
) -> Result<()> {
    let (count, none) = (sum.len().min(more.len()), Constants([0.0; MOST_CONSTANTS]));
    let (config, count) = (for_each(count), count as i64);
    // SAFETY: both have `count` numbers; the arguments are those of the kernel, in its order.
    unsafe {
        let kernel = kernel_of_rule::<T>(device, "old + x")?;
        launch!(kernel, config, [sum, more, more, &count, &none])
    }
}
