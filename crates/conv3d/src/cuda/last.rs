//! The operations on (N, D, H, W, C).

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr, LaunchConfig};
use candle_core::cuda_backend::{CudaDType, CudaDevice};
use candle_core::{CudaStorage, Layout, Result, bail};

use super::kernels::{MOST_BLOCKS_DOWN, THREADS, for_each, kernel, launch};
use super::number::CudaNumber;
use super::{Stored, room, values, zeros};
use crate::channels_last::Voxels;

/// Channels that a thread has at most.
const WIDE: usize = 8;

/// Blocks along the voxels of a sample, at most: some for each multiprocessor of a large card.
const MOST_BLOCKS: usize = 1024;

/// Entries of a sample that are joined at the end, at most.
const MOST_PIECES: usize = 128;

/// `Halving` of kernels/channels_last.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Halving {
    size: [i64; 3],
    pooled: [i64; 3],
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Halving {}

/// How a kernel walks over tensors of the same voxels and channels.
struct Walk {
    wide: bool,
    config: LaunchConfig,
}

impl Walk {
    /// Over `volume` voxels a sample of `all` tensors, the first of which says how many channels and samples there are.
    ///
    /// # Errors
    /// If there are more samples than a launch may have along its second axis.
    fn new(all: &[&Voxels], volume: usize, most_blocks: usize) -> Result<Self> {
        if all[0].batch > MOST_BLOCKS_DOWN {
            bail!("{} samples with channels last, at most {MOST_BLOCKS_DOWN} on a GPU", all[0].batch);
        }
        let wide = all.iter().all(|v| [v.channels, v.step, v.start].iter().all(|n| n % WIDE == 0));
        let groups = all[0].channels.div_ceil(if wide { WIDE } else { 1 }).max(1);
        let across = groups.min(THREADS as usize);
        let down = THREADS as usize / across;
        let blocks = volume.div_ceil(down * 4).clamp(1, most_blocks);
        let config = LaunchConfig {
            grid_dim: (blocks as u32, all[0].batch as u32, 1),
            block_dim: (across as u32, down as u32, 1),
            shared_mem_bytes: 0,
        };
        Ok(Self { wide, config })
    }

    fn name(&self, kernel: &str) -> String {
        format!("last_{kernel}_{}", if self.wide { WIDE } else { 1 })
    }
}

/// The numbers of `storage` from the first of `voxels` on.
fn from<'a, T: CudaNumber>(storage: &'a CudaStorage, voxels: &Voxels) -> Result<CudaView<'a, T>> {
    Ok(T::as_cuda_slice(storage)?.slice(voxels.start..))
}

fn is_empty(voxels: &Voxels) -> bool {
    voxels.count() * voxels.channels == 0
}

/// Sums of pairs over the voxels of each sample and channel, in pieces: (N, pieces, C, 2).
pub(crate) struct Partials {
    pub(crate) sums: CudaSlice<f64>,
    pub(crate) pieces: usize,
}

/// Room for a sum over the voxels for each channel: zeros where there are no voxels, and else what a kernel writes all of.
fn to_sum<T: CudaNumber>(device: &CudaDevice, voxels: &Voxels) -> Result<CudaSlice<T::Wide>> {
    if is_empty(voxels) { zeros(device, voxels.channels) } else { room(device, voxels.channels) }
}

/// Joins the pairs of sums that the blocks of a sample left, for one sample after the other or `beside` each other.
fn join(voxels: &Voxels, beside: usize) -> LaunchConfig {
    let blocks = voxels.channels.div_ceil(32).max(1) as u32;
    LaunchConfig { grid_dim: (blocks, beside as u32, 1), block_dim: (32, 8, 1), shared_mem_bytes: 0 }
}

/// Room for a pair of sums for each block, sample and channel.
fn pairs(device: &CudaDevice, walk: &Walk, voxels: &Voxels) -> Result<CudaSlice<f64>> {
    let pieces = walk.config.grid_dim.0 as usize;
    // The kernels write all of it before it is read.
    room::<f64>(device, 2 * pieces * voxels.batch * voxels.channels)
}

/// Scale and shift (C) of a norm, and what is added to the variance.
pub(crate) struct Norm<'a> {
    pub(crate) gamma: Stored<'a>,
    pub(crate) beta: Stored<'a>,
    pub(crate) epsilon: f64,
}

/// The terms (4, N, C) of a norm of y.
pub(crate) fn norm_terms<T: CudaNumber>(y: &CudaStorage, v: &Voxels, norm: &Norm<'_>) -> Result<CudaStorage> {
    let device = y.device.clone();
    let walk = Walk::new(&[v], v.volume(), MOST_PIECES)?;
    let mut sums = pairs(&device, &walk, v)?;
    if !is_empty(v) {
        let y = from::<T>(y, v)?;
        let (step, volume, channels) = (v.step as i64, v.volume() as i64, v.channels as i64);
        // SAFETY: `Voxels` has checked that the voxels lie within y; the sums have the size above; the arguments are
        // those of the kernel, in its order.
        unsafe {
            let kernel_of = kernel::<T>(&device, &walk.name("moments"))?;
            launch!(kernel_of, walk.config, [&y, &step, &mut sums, &volume, &channels])?;
        }
    }
    terms_of_sums::<T>(y, v, &sums.as_view(), walk.config.grid_dim.0 as usize, norm, true)
}

/// The same from Σ y and Σ y² (N, pieces, C, 2).
pub(crate) fn norm_terms_of<T: CudaNumber>(
    y: &CudaStorage,
    v: &Voxels,
    sums: Stored<'_>,
    norm: &Norm<'_>,
) -> Result<CudaStorage> {
    let pieces = sums.1.dims()[1];
    terms_of_sums::<T>(y, v, &values::<f64>(sums)?, pieces, norm, false)
}

/// From sums over pieces, of values less the first of their channel if they are `about` it.
fn terms_of_sums<T: CudaNumber>(
    y: &CudaStorage,
    v: &Voxels,
    sums: &CudaView<'_, f64>,
    pieces: usize,
    norm: &Norm<'_>,
    about: bool,
) -> Result<CudaStorage> {
    let device = y.device.clone();
    let mut out = room::<f64>(&device, 4 * v.batch * v.channels)?;
    if !is_empty(v) {
        let y = from::<T>(y, v)?;
        let (gamma, beta) = (values::<T::Wide>(norm.gamma)?, values::<T::Wide>(norm.beta)?);
        let (step, volume, channels) = (v.step as i64, v.volume() as i64, v.channels as i64);
        let (pieces, about) = (pieces as i64, i32::from(about));
        // SAFETY: as above; scale and shift have a number for each channel and there are as many sums as pieces, as the
        // caller checked.
        unsafe {
            let kernel_of = kernel::<T>(&device, "last_norm_terms")?;
            launch!(
                kernel_of,
                join(v, v.batch),
                [
                    &y,
                    &step,
                    &about,
                    sums,
                    &gamma,
                    &beta,
                    &norm.epsilon,
                    &mut out,
                    &volume,
                    &channels,
                    &pieces
                ]
            )?;
        }
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device))
}

/// The terms (4, N, C) of a bias (C) for `batch` samples.
pub(crate) fn bias_terms<T: CudaNumber>(bias: Stored<'_>, batch: usize) -> Result<CudaStorage> {
    let device = bias.0.device.clone();
    let bias = values::<T::Wide>(bias)?;
    let channels = bias.len();
    let mut out = room::<f64>(&device, 4 * batch * channels)?;
    if batch * channels > 0 {
        let (config, batch, channels) = (for_each(batch * channels), batch as i64, channels as i64);
        // SAFETY: sizes are those above; the arguments are those of the kernel, in its order.
        unsafe {
            let kernel = kernel::<T>(&device, "last_bias_terms")?;
            launch!(kernel, config, [&bias, &mut out, &batch, &channels])?;
        }
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device))
}

/// dy, dense, and the gradients (C) of scale and shift of a norm.
pub(crate) fn through_norm<T: CudaNumber>(
    slope: f64,
    g: &CudaStorage,
    y: &CudaStorage,
    [terms, gamma]: [Stored<'_>; 2],
    [vg, vy]: &[Voxels; 2],
) -> Result<[CudaStorage; 3]> {
    let device = y.device.clone();
    let (batch, channels) = (vy.batch, vy.channels);
    let mut all = room::<f64>(&device, 7 * batch * channels)?;
    let [mut for_gamma, mut for_beta] = [to_sum::<T>(&device, vy)?, to_sum::<T>(&device, vy)?];
    let rows = Layout::contiguous((7, batch, channels));
    if !is_empty(vy) {
        let sums = gradient_sums::<T>(slope, g, y, terms, [vg, vy])?;
        let (terms, gamma) = (values::<f64>(terms)?, values::<T::Wide>(gamma)?);
        let (batch, channels) = (batch as i64, channels as i64);
        let (volume, pieces) = (vy.volume() as i64, sums.pieces as i64);
        // SAFETY: scale and terms have the sizes that the caller checked, sums and results those above; the arguments
        // are those of the kernel, in its order.
        unsafe {
            let kernel = kernel::<T>(&device, "last_norm_gradients")?;
            launch!(
                kernel,
                join(vy, 1),
                [
                    &sums.sums,
                    &terms,
                    &gamma,
                    &mut all,
                    &mut for_gamma,
                    &mut for_beta,
                    &batch,
                    &volume,
                    &channels,
                    &pieces
                ]
            )?;
        }
    }
    let all = CudaStorage::wrap_cuda_slice(all, device.clone());
    let dy = gradient::<T>(slope, g, y, (&all, &rows), &[*vg, *vy])?;
    Ok([dy, T::Wide::wrap_cuda_slice(for_gamma, device.clone()), T::Wide::wrap_cuda_slice(for_beta, device)])
}

/// Σ g over samples and voxels (C).
pub(crate) fn totals<T: CudaNumber>(g: &CudaStorage, v: &Voxels) -> Result<CudaStorage> {
    let device = g.device.clone();
    let mut out = to_sum::<T>(&device, v)?;
    if !is_empty(v) {
        let walk = Walk::new(&[v], v.volume(), MOST_PIECES)?;
        let mut sums = pairs(&device, &walk, v)?;
        let g = from::<T>(g, v)?;
        let (step, volume, channels) = (v.step as i64, v.volume() as i64, v.channels as i64);
        let (pieces, batch) = (i64::from(walk.config.grid_dim.0), v.batch as i64);
        // SAFETY: as for the terms of a norm.
        unsafe {
            let kernel_of = kernel::<T>(&device, &walk.name("totals"))?;
            launch!(kernel_of, walk.config, [&g, &step, &mut sums, &volume, &channels])?;
            let kernel_of = kernel::<T>(&device, "last_totals_join")?;
            launch!(kernel_of, join(v, 1), [&sums, &mut out, &batch, &channels, &pieces])?;
        }
    }
    Ok(T::Wide::wrap_cuda_slice(out, device))
}

/// The pieces of Σ g′ and Σ g′ x̂.
fn gradient_sums<T: CudaNumber>(
    slope: f64,
    g: &CudaStorage,
    y: &CudaStorage,
    terms: Stored<'_>,
    [vg, vy]: [&Voxels; 2],
) -> Result<Partials> {
    let device = y.device.clone();
    let walk = Walk::new(&[vy, vg], vy.volume(), MOST_PIECES)?;
    let mut sums = pairs(&device, &walk, vy)?;
    let (g, y, terms) = (from::<T>(g, vg)?, from::<T>(y, vy)?, values::<f64>(terms)?);
    let (g_step, y_step) = (vg.step as i64, vy.step as i64);
    let (volume, channels) = (vy.volume() as i64, vy.channels as i64);
    // SAFETY: `Voxels` has checked that the voxels lie within g and y, and the caller that they fit each other and the
    // terms; the arguments are those of the kernel, in its order.
    unsafe {
        let kernel = kernel::<T>(&device, &walk.name("sums"))?;
        launch!(
            kernel,
            walk.config,
            [&g, &g_step, &y, &y_step, &terms, &mut sums, &volume, &channels, &slope]
        )?;
    }
    Ok(Partials { sums, pieces: walk.config.grid_dim.0 as usize })
}

/// Σ g′ of each channel over samples and voxels (C).
pub(crate) fn sums<T: CudaNumber>(
    slope: f64,
    g: &CudaStorage,
    y: &CudaStorage,
    terms: Stored<'_>,
    [vg, vy]: &[Voxels; 2],
) -> Result<CudaStorage> {
    let device = y.device.clone();
    let mut out = to_sum::<T>(&device, vy)?;
    if !is_empty(vy) {
        let sums = gradient_sums::<T>(slope, g, y, terms, [vg, vy])?;
        let (batch, channels, pieces) = (vy.batch as i64, vy.channels as i64, sums.pieces as i64);
        // SAFETY: as for the totals.
        unsafe {
            let kernel = kernel::<T>(&device, "last_totals_join")?;
            launch!(kernel, join(vy, 1), [&sums.sums, &mut out, &batch, &channels, &pieces])?;
        }
    }
    Ok(T::Wide::wrap_cuda_slice(out, device))
}

/// dy, dense.
pub(crate) fn gradient<T: CudaNumber>(
    slope: f64,
    g: &CudaStorage,
    y: &CudaStorage,
    terms: Stored<'_>,
    [vg, vy]: &[Voxels; 2],
) -> Result<CudaStorage> {
    let device = y.device.clone();
    // The kernel writes all of it.
    let mut out = room::<T>(&device, vy.count() * vy.channels)?;
    if !is_empty(vy) {
        let walk = Walk::new(&[vy, vg], vy.volume(), MOST_BLOCKS)?;
        let (g, y, terms) = (from::<T>(g, vg)?, from::<T>(y, vy)?, values::<f64>(terms)?);
        let (g_step, y_step) = (vg.step as i64, vy.step as i64);
        let (volume, channels) = (vy.volume() as i64, vy.channels as i64);
        // SAFETY: as above; the terms have seven rows.
        unsafe {
            let kernel = kernel::<T>(&device, &walk.name("gradient"))?;
            launch!(
                kernel,
                walk.config,
                [&g, &g_step, &y, &y_step, &terms, &mut out, &volume, &channels, &slope]
            )?;
        }
    }
    Ok(T::wrap_cuda_slice(out, device))
}

/// act(scale · y + shift), to `out`.
pub(crate) fn activate<T: CudaNumber>(
    slope: f64,
    out: &mut CudaStorage,
    y: &CudaStorage,
    terms: Stored<'_>,
    [vo, vy]: &[Voxels; 2],
) -> Result<()> {
    if is_empty(vy) {
        return Ok(());
    }
    let device = y.device.clone();
    let walk = Walk::new(&[vy, vo], vy.volume(), MOST_BLOCKS)?;
    let (y, terms) = (from::<T>(y, vy)?, values::<f64>(terms)?);
    let mut out = T::as_cuda_slice_mut(out)?.slice_mut(vo.start..);
    let (y_step, out_step) = (vy.step as i64, vo.step as i64);
    let (volume, channels) = (vy.volume() as i64, vy.channels as i64);
    // SAFETY: as above; `out` has the same voxels and channels.
    unsafe {
        let kernel = kernel::<T>(&device, &walk.name("activate"))?;
        launch!(kernel, walk.config, [&y, &y_step, &terms, &mut out, &out_step, &volume, &channels, &slope])
    }
}

/// Writes `more` to `to` by the kernel `copy`, or adds it by `accumulate`.
pub(crate) fn together<T: CudaNumber>(
    kernel_name: &str,
    to: &mut CudaStorage,
    more: &CudaStorage,
    [vt, vm]: &[Voxels; 2],
) -> Result<()> {
    if is_empty(vm) {
        return Ok(());
    }
    let device = more.device.clone();
    let walk = Walk::new(&[vm, vt], vm.volume(), MOST_BLOCKS)?;
    let more = from::<T>(more, vm)?;
    let mut to = T::as_cuda_slice_mut(to)?.slice_mut(vt.start..);
    let (to_step, more_step) = (vt.step as i64, vm.step as i64);
    let (volume, channels) = (vm.volume() as i64, vm.channels as i64);
    // SAFETY: as above; both kernels have these arguments.
    unsafe {
        let kernel = kernel::<T>(&device, &walk.name(kernel_name))?;
        launch!(kernel, walk.config, [&mut to, &to_step, &more, &more_step, &volume, &channels])
    }
}

fn halving(v: &Voxels) -> (Halving, usize) {
    let pooled = v.size.map(|n| n / 2);
    let wide = |sizes: [usize; 3]| sizes.map(|n| n as i64);
    (Halving { size: wide(v.size), pooled: wide(pooled) }, pooled.iter().product())
}

/// The largest of each 2×2×2 voxels.
pub(crate) fn pool<T: CudaNumber>(
    slope: f64,
    y: &CudaStorage,
    terms: Stored<'_>,
    v: &Voxels,
) -> Result<CudaStorage> {
    let device = y.device.clone();
    let (sizes, windows) = halving(v);
    // The kernel writes all of it.
    let mut out = room::<T>(&device, v.batch * windows * v.channels)?;
    if v.batch * windows * v.channels > 0 {
        let walk = Walk::new(&[v], windows, MOST_BLOCKS)?;
        let (y, terms) = (from::<T>(y, v)?, values::<f64>(terms)?);
        let (step, channels) = (v.step as i64, v.channels as i64);
        // SAFETY: as above; windows lie within the voxels.
        unsafe {
            let kernel = kernel::<T>(&device, &walk.name("pool"))?;
            launch!(kernel, walk.config, [&y, &step, &terms, &mut out, &sizes, &channels, &slope])?;
        }
    }
    Ok(T::wrap_cuda_slice(out, device))
}

/// Adds the gradient of each window to the voxel that was largest.
pub(crate) fn unpool<T: CudaNumber>(
    slope: f64,
    sum: &mut CudaStorage,
    y: &CudaStorage,
    g: &CudaStorage,
    terms: Stored<'_>,
    [vs, vy, vg]: &[Voxels; 3],
) -> Result<()> {
    if is_empty(vg) {
        return Ok(());
    }
    let device = y.device.clone();
    let (sizes, windows) = halving(vy);
    let walk = Walk::new(&[vy, vs, vg], windows, MOST_BLOCKS)?;
    let (y, g, terms) = (from::<T>(y, vy)?, from::<T>(g, vg)?, values::<f64>(terms)?);
    let mut sum = T::as_cuda_slice_mut(sum)?.slice_mut(vs.start..);
    let (sum_step, y_step, g_step) = (vs.step as i64, vy.step as i64, vg.step as i64);
    let channels = vy.channels as i64;
    // SAFETY: as above; the caller has checked that sum, values and gradient fit each other.
    unsafe {
        let kernel = kernel::<T>(&device, &walk.name("unpool"))?;
        launch!(
            kernel,
            walk.config,
            [&mut sum, &sum_step, &y, &y_step, &terms, &g, &g_step, &sizes, &channels, &slope]
        )
    }
}
