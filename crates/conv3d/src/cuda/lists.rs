//! Many tensors at once: a rule for each number of a list of tensors, and the sum of all their squares.
//!
//! A network has some sixty parameters, most of them a handful of numbers: one launch for each would take longer than
//! what it does.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, LaunchConfig};
use candle_core::{DType, Device, Result, Storage, Tensor, bail};

use super::kernels::{THREADS, kernel, kernel_of_rule, launch};
use super::number::CudaNumber;
use super::{room, values};

/// Numbers at one place of tensors that a rule knows, at most: a, b, c and d.
pub const MOST_TENSORS: usize = 4;

/// Constants that a rule has at most.
pub const MOST_CONSTANTS: usize = 10;

/// Entries of a list that one launch takes: their addresses are among its arguments.
const SLOTS: usize = 48;

/// Numbers that a block takes.
const CHUNK: usize = 1 << 14;

/// `List` of kernels/lists.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct List {
    at: [[u64; SLOTS]; MOST_TENSORS],
    count: [i64; SLOTS],
    /// The first block of each entry, and the number of blocks behind the last.
    first_block: [i32; SLOTS + 1],
}

/// `Constants` of the kernel that a rule becomes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Constants([f64; MOST_CONSTANTS]);

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for List {}
// SAFETY: as above.
unsafe impl DeviceRepr for Constants {}

/// What becomes of the numbers at one place of the tensors of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Statements in CUDA C++ of the numbers `a`, `b`, `c`, `d` and the constants `s[0]`, `s[1]`…
    pub statements: &'static str,
    /// How many tensors an entry has.
    pub tensors: usize,
    /// How many of them, from the first on, the statements change.
    pub changes: usize,
}

/// Changes the numbers of each entry of `entries` by `rule`: contiguous tensors of one size, one type (`f32` or `f64`) and
/// one device of [`device`](super::device()). No tensor that is changed is among those of another entry. The statements of
/// a rule are compiled and run as they are: they are to be the program's own.
///
/// # Errors
/// If tensors are not so; what the device and its compiler say.
pub fn change_all(entries: &[&[Tensor]], rule: Rule, constants: &[f64]) -> Result<()> {
    let Some((device, number)) = kind(entries)? else { return Ok(()) };
    if constants.len() > MOST_CONSTANTS || rule.tensors > MOST_TENSORS || rule.changes > rule.tensors {
        bail!("a rule of {} tensors and {} constants", rule.tensors, constants.len());
    }
    if entries.iter().any(|entry| entry.len() != rule.tensors) {
        bail!("a rule of {} tensors, and an entry of another number", rule.tensors);
    }
    let mut all = Constants([0.0; MOST_CONSTANTS]);
    all.0[..constants.len()].copy_from_slice(constants);
    for entries in entries.chunks(SLOTS) {
        match number {
            DType::F32 => change::<f32>(&device, entries, rule, &all)?,
            _ => change::<f64>(&device, entries, rule, &all)?,
        }
    }
    Ok(())
}

/// Σ x² over all numbers of contiguous tensors of one type (`f32` or `f64`) on one GPU, added in `f64` in a fixed order.
///
/// # Errors
/// If tensors are not so; what the device says.
pub fn sum_of_squares(tensors: &[Tensor]) -> Result<f64> {
    let entries: Vec<&[Tensor]> = tensors.chunks(1).collect();
    let Some((device, number)) = kind(&entries)? else { return Ok(0.0) };
    match number {
        DType::F32 => squares::<f32>(&device, &entries),
        _ => squares::<f64>(&device, &entries),
    }
}

/// Device and type of the tensors; nothing if there are none.
fn kind(entries: &[&[Tensor]]) -> Result<Option<(CudaDevice, DType)>> {
    let Some(first) = entries.iter().find_map(|entry| entry.first()) else { return Ok(None) };
    let (Device::Cuda(device), number) = (first.device(), first.dtype()) else {
        bail!("a list of tensors that are not on a GPU")
    };
    if device.is_event_tracking() {
        bail!("a list of tensors of a device with several streams, expected one of `cuda::device`");
    }
    if !matches!(number, DType::F32 | DType::F64) {
        bail!("a list of tensors of type {number:?}, expected F32 or F64");
    }
    for entry in entries {
        for tensor in *entry {
            let alike = tensor.dtype() == number && tensor.device().same_device(first.device());
            if !alike || !tensor.is_contiguous() || tensor.elem_count() != entry[0].elem_count() {
                bail!(
                    "a list of tensors of type {number:?} has one {:?} of type {:?}, or one that is not contiguous",
                    tensor.dims(),
                    tensor.dtype()
                );
            }
        }
    }
    Ok(Some((device.clone(), number)))
}

impl List {
    fn new<T: CudaNumber>(entries: &[&[Tensor]], device: &CudaDevice) -> Result<Self> {
        let mut list =
            Self { at: [[0; SLOTS]; MOST_TENSORS], count: [0; SLOTS], first_block: [0; SLOTS + 1] };
        let stream = device.cuda_stream();
        for (slot, entry) in entries.iter().enumerate() {
            for (tensor, at) in entry.iter().zip(&mut list.at) {
                let (storage, layout) = tensor.storage_and_layout();
                let Storage::Cuda(storage) = &*storage else {
                    bail!("a list of tensors that are not on a GPU")
                };
                at[slot] = values::<T>((storage, layout))?.device_ptr(&stream).0;
            }
            let count = entry[0].elem_count();
            list.count[slot] = count as i64;
            list.first_block[slot + 1] = list.first_block[slot] + count.div_ceil(CHUNK) as i32;
        }
        let blocks = list.first_block[entries.len()];
        list.first_block[entries.len()..].fill(blocks);
        Ok(list)
    }

    fn config(&self) -> LaunchConfig {
        LaunchConfig {
            grid_dim: (self.blocks() as u32, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        }
    }

    fn blocks(&self) -> usize {
        self.first_block[SLOTS] as usize
    }
}

fn change<T: CudaNumber>(
    device: &CudaDevice,
    entries: &[&[Tensor]],
    rule: Rule,
    constants: &Constants,
) -> Result<()> {
    let list = List::new::<T>(entries, device)?;
    if list.blocks() == 0 {
        return Ok(());
    }
    // SAFETY: each address is that of as many numbers as the list says, checked to be alike; they live until the launch
    // is asked for, and all that is done with them before and after, freeing included, is in the order of the device's
    // one stream. No host memory is concerned. The arguments are those of the kernel, in its order.
    unsafe { launch!(kernel_of_rule::<T>(device, &rule)?, list.config(), [&list, constants]) }
}

fn squares<T: CudaNumber>(device: &CudaDevice, entries: &[&[Tensor]]) -> Result<f64> {
    let lists = entries.chunks(SLOTS).map(|entries| List::new::<T>(entries, device));
    let lists = lists.collect::<Result<Vec<_>>>()?;
    let blocks: usize = lists.iter().map(List::blocks).sum();
    if blocks == 0 {
        return Ok(0.0);
    }
    // The kernels write all of it.
    let mut sums: CudaSlice<f64> = room(device, blocks)?;
    let mut out: CudaSlice<f64> = room(device, 1)?;
    let mut start = 0;
    for list in lists.iter().filter(|list| list.blocks() > 0) {
        let mut part = sums.slice_mut(start..start + list.blocks());
        // SAFETY: as above; there is room for a number of each block.
        unsafe { launch!(kernel::<T>(device, "squares_of_all")?, list.config(), [list, &mut part]) }?;
        start += list.blocks();
    }
    let (config, count) = (
        LaunchConfig { grid_dim: (1, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 },
        blocks as i64,
    );
    // SAFETY: there are `count` sums; the arguments are those of the kernel, in its order.
    unsafe { launch!(kernel::<T>(device, "sum_in_order")?, config, [&sums, &count, &mut out]) }?;
    Ok(device.clone_dtoh(&out)?[0])
}

/// Adds to each number of `sum` that of `more` at the same place; there are as many of both.
#[cfg(feature = "cudnn")]
pub(super) fn add<T: CudaNumber>(
    device: &CudaDevice,
    sum: &mut CudaSlice<T>,
    more: &CudaSlice<T>,
) -> Result<()> {
    let count = sum.len().min(more.len());
    let (config, numbers) = (super::kernels::for_each(count), count as i64);
    // SAFETY: both have `count` numbers; the arguments are those of the kernel, in its order.
    unsafe { launch!(kernel::<T>(device, "add_to_each")?, config, [sum, more, &numbers]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::self_test::devices;

    #[test]
    fn all_tensors_of_a_list_are_changed_and_summed_up() {
        for device in devices().into_iter().filter(Device::is_cuda) {
            // More than a launch takes, and one of several blocks.
            let sizes: Vec<usize> = (1..61).map(|i| if i == 7 { 40_000 } else { i }).collect();
            let make = |value: f32, n: usize| Tensor::full(value, n, &device).unwrap();
            let entries: Vec<Vec<Tensor>> =
                sizes.iter().map(|&n| vec![make(2.0, n), make(n as f32, n)]).collect();
            let rule = Rule { statements: "a = s[0] * a + b;", tensors: 2, changes: 1 };
            let lists: Vec<&[Tensor]> = entries.iter().map(Vec::as_slice).collect();
            change_all(&lists, rule, &[3.0]).unwrap();
            for (entry, &n) in entries.iter().zip(&sizes) {
                assert_eq!(entry[0].to_vec1::<f32>().unwrap(), vec![6.0 + n as f32; n]);
            }
            let seconds: Vec<Tensor> = entries.iter().map(|entry| entry[1].clone()).collect();
            let expected: f64 = sizes.iter().map(|&n| (n * n * n) as f64).sum();
            assert_eq!(sum_of_squares(&seconds).unwrap(), expected);
        }
    }
}
