//! Convolutions by cuDNN.
//!
//! Which ways it has for a shape is asked of cuDNN's heuristics once and remembered. They are tried in the order of
//! [`candidates`]: those that give the same bits each time come first. One that works
//! is taken from then on (in exact `f32`, which the heuristics do not rank, the fastest of the first few, so that another
//! process may take another); one that cuDNN refuses after all, or whose workspace finds no memory, gives way to the
//! next. Only when none works is it left to the plain kernels, and then [`without_cudnn`](super::without_cudnn())
//! says so.

mod backend;
mod candidates;
mod library;
mod parts;
mod plans;

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::cuda_backend::cudarc::cudnn::{result::CudnnError, sys};
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaView, CudaViewMut, DevicePtr, DriverError, sys as driver,
};
use candle_core::cuda_backend::{CudaDevice, CudaError};
use candle_core::{DType, Error, Result};

use self::backend::Outcome;
use self::candidates::{Candidates, Failure, Tried};
pub(super) use self::library::free_workspaces;
use self::library::{Key, Library};
use self::parts::{MOST_NUMBERS, parts};
use self::plans::{ALIGNMENT, Way, list};
use super::convolution::{Direction, Operands, Order};
use super::number::CudaNumber;
use super::{fallback, lists, room};
use crate::params::ConvShape;

/// Whether `f32` convolutions may round their factors to the ten bits of TF32.
static TF32: AtomicBool = AtomicBool::new(false);

/// Whether convolutions of `f32` on a GPU may round their factors to TF32 (ten bits), where it has units for it:
/// several times faster, with errors near 1e-3. They may not unless this says so. For all threads of the process.
pub fn allow_tf32(allowed: bool) {
    TF32.store(allowed, Ordering::Relaxed);
}

/// Bytes of workspace that an algorithm may have.
const MOST_WORKSPACE: usize = 2 << 30;

/// Ways that are timed against each other, where they are.
const MOST_RACED: usize = 3;

/// Sets `out` to a convolution by cuDNN; says whether it did. A batch whose tensors have more numbers than cuDNN counts
/// goes in parts.
pub(super) fn run<T: CudaNumber>(
    direction: Direction,
    shape: &ConvShape,
    order: Order,
    operands: &Operands<'_, T>,
    out: &mut CudaSlice<T>,
    device: &CudaDevice,
) -> Result<bool> {
    if order == Order::ChannelsLast && T::DTYPE == DType::F64 {
        // cuDNN has none in this order. Nothing to be told of: it is there for comparisons.
        return Ok(false);
    }
    let refused = |why: &str| {
        fallback::count(direction, shape, order, T::DTYPE, why);
        Ok(false)
    };
    let [x, y] = [shape.inputs * shape.input_voxels(), shape.outputs * shape.output_voxels()];
    let all = parts(shape.batch, x.max(y), MOST_NUMBERS);
    let Some(all) = all.filter(|_| shape.outputs * shape.products() <= MOST_NUMBERS) else {
        return refused("more numbers than cuDNN counts");
    };
    let library = Library::of(device)?;
    for part in all {
        let first = part.start == 0;
        let of = |sample: usize| part.start * sample..part.end * sample;
        let job =
            Job { library: &library, direction, shape: ConvShape { batch: part.len(), ..*shape }, order };
        let (a, b) = (&operands.a, &operands.b);
        let tried = match direction {
            Direction::Forward => job.run(a.slice(of(x)), b.slice(..), out.slice_mut(of(y)))?,
            Direction::InputGradient => job.run(a.slice(of(y)), b.slice(..), out.slice_mut(of(x)))?,
            Direction::WeightGradient if first => {
                job.run(a.slice(of(x)), b.slice(of(y)), out.slice_mut(..))?
            }
            // The gradient for the weights is the sum of those of the parts.
            Direction::WeightGradient => {
                let mut more = room::<T>(device, out.len())?;
                let tried = job.run(a.slice(of(x)), b.slice(of(y)), more.slice_mut(..))?;
                if tried == Tried::Done {
                    lists::add(device, out, &more)?;
                }
                tried
            }
        };
        match tried {
            Tried::Done => {}
            Tried::Refused(Some(status)) => return refused(&format!("{status:?}")),
            Tried::Refused(None) => return refused("cuDNN has no algorithm"),
        }
    }
    Ok(true)
}

/// A convolution that cuDNN can count.
struct Job<'a> {
    library: &'a Library,
    direction: Direction,
    shape: ConvShape,
    order: Order,
}

impl Job<'_> {
    /// Sets `out`, whose address may be any, as may those of the operands.
    fn run<T: CudaNumber>(
        &self,
        a: CudaView<'_, T>,
        b: CudaView<'_, T>,
        mut out: CudaViewMut<'_, T>,
    ) -> Result<Tried<sys::cudnnStatus_t>> {
        let stream = &self.library.stream;
        let copied = |view: &CudaView<'_, T>| -> Result<Option<CudaSlice<T>>> {
            if self.is_aligned(view) {
                Ok(None)
            } else {
                stream.clone_dtod(view).map(Some).map_err(of_driver)
            }
        };
        let copies = (copied(&a)?, copied(&b)?);
        let a = copies.0.as_ref().map_or(a, CudaSlice::as_view);
        let b = copies.1.as_ref().map_or(b, CudaSlice::as_view);
        if self.is_aligned(&out) {
            return self.run_aligned(&a, &b, &mut out);
        }
        // SAFETY: it is copied only when cuDNN has written all of it.
        let mut whole = unsafe { stream.alloc::<T>(out.len()) }.map_err(of_driver)?;
        let tried = self.run_aligned(&a, &b, &mut whole.as_view_mut())?;
        if tried == Tried::Done {
            stream.memcpy_dtod(&whole, &mut out).map_err(of_driver)?;
        }
        Ok(tried)
    }

    fn is_aligned<T>(&self, view: &impl DevicePtr<T>) -> bool {
        let (address, _reading) = view.device_ptr(&self.library.stream);
        address % ALIGNMENT == 0
    }

    fn run_aligned<T: CudaNumber>(
        &self,
        a: &CudaView<'_, T>,
        b: &CudaView<'_, T>,
        out: &mut CudaViewMut<'_, T>,
    ) -> Result<Tried<sys::cudnnStatus_t>> {
        let candidates = match self.candidates(T::DTYPE) {
            Ok(candidates) => candidates,
            Err(error) if is_refusal(error) => return Ok(Tried::Refused(Some(error.0))),
            Err(error) => return Err(Error::wrap(error)),
        };
        let Library { handle, stream, .. } = self.library;
        let failure = |error: CudnnError| {
            if is_out_of_memory(error) {
                Failure::Memory(Error::wrap(error))
            } else {
                Failure::Refused(error.0)
            }
        };
        let mut run = |way: &Way| {
            let plan = way.plan(*handle, self.direction).map_err(failure)?;
            if plan.workspace > MOST_WORKSPACE {
                return Err(Failure::Refused(sys::cudnnStatus_t::CUDNN_STATUS_NOT_SUPPORTED));
            }
            let mut workspace = self.library.workspace(plan.workspace).map_err(|error| {
                if error.0 == driver::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
                    Failure::Memory(of_driver(error))
                } else {
                    Failure::Other(of_driver(error))
                }
            })?;
            // SAFETY: operands and result have the elements that the tensors of the plan, made of the same shape, say, on
            // addresses that were seen to; the workspace is as large as the plan wants it.
            unsafe { plan.run(*handle, [a, b], workspace.memory(), out, stream) }.map_err(failure)
        };
        if T::DTYPE == DType::F32 && !TF32.load(Ordering::Relaxed) {
            // The heuristics rank what rounds to TF32, and say little of the rest.
            candidates.race(MOST_RACED, |way| {
                run(way).ok()?;
                stream.synchronize().ok()?;
                let started = Instant::now();
                run(way).ok()?;
                stream.synchronize().ok()?;
                Some(started.elapsed())
            });
        }
        candidates.try_each(run)
    }

    /// What there is to try, listed if it was not yet.
    fn candidates(&self, number: DType) -> Outcome<Rc<Candidates<Way>>> {
        let shape = &self.shape;
        let key = Key {
            direction: self.direction,
            order: self.order,
            number,
            tf32: TF32.load(Ordering::Relaxed),
            batch: shape.batch,
            channels: [shape.inputs, shape.outputs],
            sizes: [shape.input, shape.kernel, shape.stride, shape.padding],
        };
        if let Some(known) = self.library.known.borrow().get(&key) {
            return Ok(known.clone());
        }
        let listed = list(self.library.handle, self.direction, shape, self.order, number, key.tf32)?;
        let candidates = Rc::new(Candidates::new(listed));
        self.library.known.borrow_mut().insert(key, candidates.clone());
        Ok(candidates)
    }
}

/// As candle says it of its own calls.
fn of_driver(error: DriverError) -> Error {
    CudaError::from(error).into()
}

/// Thousands of a status: 2 are the kinds of bad parameters, 3 those of what is not supported.
fn kind(error: CudnnError) -> u32 {
    error.0 as u32 / 1000
}

/// Whether cuDNN says no to a convolution that could be described.
fn is_refusal(error: CudnnError) -> bool {
    matches!(kind(error), 2 | 3)
}

fn is_out_of_memory(error: CudnnError) -> bool {
    use sys::cudnnStatus_t as S;
    matches!(
        error.0,
        S::CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
            | S::CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED
    )
}
