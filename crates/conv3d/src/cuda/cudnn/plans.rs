//! A convolution as cuDNN describes it, the ways that it has for it, and the call.

use std::cell::OnceCell;
use std::rc::Rc;

use candle_core::DType;
use candle_core::cuda_backend::cudarc::cudnn::sys;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, DevicePtrMut,
};

use super::backend::{Descriptor, Kind, Name, Note, Outcome, Pointer, Reference};
use super::candidates::Candidate;
use crate::cuda::convolution::{Direction, Order};
use crate::params::ConvShape;

/// Bytes that addresses are multiples of: several of cuDNN's kernels read so many at a time.
pub(super) const ALIGNMENT: u64 = 16;

/// What the tensors x, y and w are called.
const X: i64 = 1;
const Y: i64 = 2;
const W: i64 = 3;

/// An engine of cuDNN with its settings, and the plan once it is wanted.
pub(super) struct Way {
    plan: OnceCell<Plan>,
    config: Descriptor,
    /// What the config was made of; cuDNN does not say what it still needs.
    _made_of: [Rc<Vec<Descriptor>>; 2],
}

/// What can be run.
pub(super) struct Plan {
    descriptor: Descriptor,
    /// Bytes of workspace that it wants.
    pub(super) workspace: usize,
    /// What its operands and its result are called, in the order of [`Plan::run`].
    names: [i64; 3],
}

impl Way {
    /// The plan, built if it was not yet.
    pub(super) fn plan(&self, handle: sys::cudnnHandle_t, direction: Direction) -> Outcome<&Plan> {
        if let Some(plan) = self.plan.get() {
            return Ok(plan);
        }
        let descriptor = Descriptor::new(Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE, &[handle])?
            .with_descriptor(Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, &self.config)?
            .finalized()?;
        let mut workspace = [0i64];
        descriptor.get(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, &mut workspace)?;
        let names = match direction {
            Direction::Forward => [X, W, Y],
            Direction::InputGradient => [Y, W, X],
            Direction::WeightGradient => [X, Y, W],
        };
        let workspace = workspace[0].max(0) as usize;
        Ok(self.plan.get_or_init(|| Plan { descriptor, workspace, names }))
    }
}

impl Plan {
    /// Sets `out` to the convolution of the operands; without workspace if it wants none.
    ///
    /// # Safety
    /// Operands and result have the elements of the tensors that were described, on addresses that are multiples of
    /// [`ALIGNMENT`], and the workspace the bytes that it wants.
    pub(super) unsafe fn run<T>(
        &self,
        handle: sys::cudnnHandle_t,
        [a, b]: [&CudaView<'_, T>; 2],
        workspace: Option<&mut CudaSlice<u8>>,
        out: &mut CudaViewMut<'_, T>,
        stream: &CudaStream,
    ) -> Outcome<()> {
        let workspace = workspace.map(|workspace| workspace.device_ptr_mut(stream));
        let room = workspace.as_ref().map_or(std::ptr::null_mut(), |(address, _)| *address as *mut _);
        let (a, _a) = a.device_ptr(stream);
        let (b, _b) = b.device_ptr(stream);
        let (out, _out) = out.device_ptr_mut(stream);
        let pack = Descriptor::new(Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, &self.names)?
            .with(Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, &[a, b, out].map(|p| Pointer(p as *mut _)))?
            .with(Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE, &[Pointer(room)])?
            .finalized()?;
        // SAFETY: as the caller says.
        unsafe { self.descriptor.execute(handle, &pack) }
    }
}

/// The ways that cuDNN has for a convolution, the best first as its heuristics have it.
pub(super) fn list(
    handle: sys::cudnnHandle_t,
    direction: Direction,
    shape: &ConvShape,
    order: Order,
    number: DType,
    tf32: bool,
) -> Outcome<Vec<Candidate<Way>>> {
    let graph = Rc::new(graph(handle, direction, shape, order, number)?);
    let (mut all, mut refusal) = (Vec::new(), None);
    for mode in [
        sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_A,
        sys::cudnnBackendHeurMode_t::CUDNN_HEUR_MODE_FALLBACK,
    ] {
        // That one mode knows none is no reason not to ask the other.
        match configs(&graph[0], mode) {
            Ok((heuristics, configs)) => {
                let heuristics = Rc::new(vec![heuristics]);
                for config in configs {
                    if let Ok(Some(steady)) = is_steady(&config, number, tf32) {
                        let _made_of = [graph.clone(), heuristics.clone()];
                        all.push(Candidate { way: Way { plan: OnceCell::new(), config, _made_of }, steady });
                    }
                }
            }
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        Some(error) if all.is_empty() => Err(error),
        _ => Ok(all),
    }
}

/// What the heuristics say in one mode, and themselves.
fn configs(graph: &Descriptor, mode: sys::cudnnBackendHeurMode_t) -> Outcome<(Descriptor, Vec<Descriptor>)> {
    let heuristics = Descriptor::new(Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)?
        .with_descriptor(Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)?
        .with(Name::CUDNN_ATTR_ENGINEHEUR_MODE, &[mode])?
        .finalized()?;
    let results = Name::CUDNN_ATTR_ENGINEHEUR_RESULTS;
    let most = heuristics.count::<Reference>(results)?;
    let configs = heuristics.descriptors(results, Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, most)?;
    Ok((heuristics, configs))
}

/// Whether an engine gives the same bits each time; nothing if it rounds what must not be rounded.
fn is_steady(config: &Descriptor, number: DType, tf32: bool) -> Outcome<Option<bool>> {
    use sys::cudnnBackendNumericalNote_t as N;
    let engines =
        config.descriptors(Name::CUDNN_ATTR_ENGINECFG_ENGINE, Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1)?;
    let Some(engine) = engines.first() else { return Ok(None) };
    let mut notes =
        [Note::of(N::CUDNN_NUMERICAL_NOTE_TYPE_COUNT); N::CUDNN_NUMERICAL_NOTE_TYPE_COUNT as usize];
    let count = engine.get(Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, &mut notes)?;
    let has = |note| notes[..count].contains(&Note::of(note));
    // Tensor cores round `f32` to TF32.
    let rounds = has(N::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)
        || (number == DType::F32 && !tf32 && has(N::CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
    Ok((!rounds).then(|| !has(N::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)))
}

/// The graph that is this one operation, and behind it what it was made of.
fn graph(
    handle: sys::cudnnHandle_t,
    direction: Direction,
    shape: &ConvShape,
    order: Order,
    number: DType,
) -> Outcome<Vec<Descriptor>> {
    let (stored, computed) = types(number);
    let tensor = |name: i64, outer: usize, channels: usize, size: [usize; 3]| -> Outcome<Descriptor> {
        let [d, h, w] = size;
        let dims = [outer, channels, d, h, w].map(|n| n as i64);
        let strides = order.steps(channels, size).map(|n| n as i64);
        Descriptor::new(Kind::CUDNN_BACKEND_TENSOR_DESCRIPTOR)?
            .with(Name::CUDNN_ATTR_TENSOR_DATA_TYPE, &[stored])?
            .with(Name::CUDNN_ATTR_TENSOR_DIMENSIONS, &dims)?
            .with(Name::CUDNN_ATTR_TENSOR_STRIDES, &strides)?
            .with(Name::CUDNN_ATTR_TENSOR_UNIQUE_ID, &[name])?
            .with(Name::CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, &[ALIGNMENT as i64])?
            .finalized()
    };
    let x = tensor(X, shape.batch, shape.inputs, shape.input)?;
    let y = tensor(Y, shape.batch, shape.outputs, shape.output)?;
    let w = tensor(W, shape.outputs, shape.inputs, shape.kernel)?;
    let [stride, padding] = [shape.stride, shape.padding].map(|sizes| sizes.map(|n| n as i64));
    let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    let convolution = Descriptor::new(Kind::CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_CONVOLUTION_COMP_TYPE, &[computed])?
        .with(Name::CUDNN_ATTR_CONVOLUTION_CONV_MODE, &[mode])?
        .with(Name::CUDNN_ATTR_CONVOLUTION_DILATIONS, &[1i64; 3])?
        .with(Name::CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, &stride)?
        .with(Name::CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, &padding)?
        .with(Name::CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, &padding)?
        .with(Name::CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, &[3i64])?
        .finalized()?;
    let (kind, [name_x, name_y, name_w], [name_convolution, alpha, beta]) = names(direction);
    let operation = Descriptor::new(kind)?
        .with_descriptor(name_x, &x)?
        .with_descriptor(name_y, &y)?
        .with_descriptor(name_w, &w)?
        .with_descriptor(name_convolution, &convolution)?;
    // 1 and 0 in the type that cuDNN scales with.
    let operation = if number == DType::F64 {
        operation.with(alpha, &[1f64])?.with(beta, &[0f64])?
    } else {
        operation.with(alpha, &[1f32])?.with(beta, &[0f32])?
    }
    .finalized()?;
    let graph = Descriptor::new(Kind::CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)?
        .with(Name::CUDNN_ATTR_OPERATIONGRAPH_HANDLE, &[handle])?
        .with_descriptor(Name::CUDNN_ATTR_OPERATIONGRAPH_OPS, &operation)?
        .finalized()?;
    Ok(vec![graph, operation, convolution, x, y, w])
}

/// The kind of the operation, and what its attributes are called: x, y and w, then the convolution and the two factors.
fn names(direction: Direction) -> (Kind, [Name; 3], [Name; 3]) {
    match direction {
        Direction::Forward => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            ],
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
            ],
        ),
        Direction::InputGradient => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            ],
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
            ],
        ),
        Direction::WeightGradient => (
            Kind::CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
            ],
            [
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                Name::CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
            ],
        ),
    }
}

/// What numbers are stored as and summed up in.
fn types(number: DType) -> (sys::cudnnDataType_t, sys::cudnnDataType_t) {
    use sys::cudnnDataType_t as D;
    match number {
        DType::F64 => (D::CUDNN_DATA_DOUBLE, D::CUDNN_DATA_DOUBLE),
        DType::F16 => (D::CUDNN_DATA_HALF, D::CUDNN_DATA_FLOAT),
        DType::BF16 => (D::CUDNN_DATA_BFLOAT16, D::CUDNN_DATA_FLOAT),
        _ => (D::CUDNN_DATA_FLOAT, D::CUDNN_DATA_FLOAT),
    }
}
