//! A convolution as cuDNN describes it, what it says of it, and the call.

use std::ffi::{c_int, c_void};

use candle_core::DType;
use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, DevicePtrMut,
};

use super::candidates::Candidate;
use crate::cuda::convolution::{Direction, Order};
use crate::params::ConvShape;

pub(super) type Outcome<T> = Result<T, result::CudnnError>;

/// An algorithm of one of the three directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    InputGradient(sys::cudnnConvolutionBwdDataAlgo_t),
    WeightGradient(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// What cuDNN is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    algorithm: Algorithm,
    math: sys::cudnnMathType_t,
}

/// What cuDNN lists, and what it said of the last algorithm that it listed in vain.
pub(super) type List = (Vec<Candidate<Way>>, Option<sys::cudnnStatus_t>);

/// Algorithms that are asked for: cuDNN has fewer for each direction.
const MOST_LISTED: usize = 16;

/// What cuDNN calls the tensors of a convolution.
pub(super) struct Descriptors {
    x: sys::cudnnTensorDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    weights: sys::cudnnFilterDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
    number: DType,
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: each was made by `new` and is destroyed here alone, or is null, which cuDNN lets pass.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_filter_descriptor(self.weights);
            let _ = result::destroy_convolution_descriptor(self.convolution);
        }
    }
}

impl Descriptors {
    /// Nothing if a size is more than cuDNN counts.
    pub(super) fn new(shape: &ConvShape, order: Order, number: DType) -> Outcome<Option<Self>> {
        let small = |sizes: &[usize]| -> Option<Vec<c_int>> {
            sizes.iter().map(|&n| c_int::try_from(n).ok()).collect()
        };
        let of = |channels: usize, size: [usize; 3]| {
            let dims = small(&[shape.batch, channels, size[0], size[1], size[2]])?;
            let strides = small(&order.steps(channels, size))?;
            Some((dims, strides))
        };
        let [k0, k1, k2] = shape.kernel;
        let all = (
            of(shape.inputs, shape.input),
            of(shape.outputs, shape.output),
            small(&[shape.outputs, shape.inputs, k0, k1, k2]),
            small(&shape.padding),
            small(&shape.stride),
        );
        let (Some(x), Some(y), Some(weights), Some(padding), Some(stride)) = all else { return Ok(None) };
        let (number_type, compute_type) = types(number);
        let mut made = Self {
            x: std::ptr::null_mut(),
            y: std::ptr::null_mut(),
            weights: std::ptr::null_mut(),
            convolution: std::ptr::null_mut(),
            number,
        };
        made.x = result::create_tensor_descriptor()?;
        made.y = result::create_tensor_descriptor()?;
        made.weights = result::create_filter_descriptor()?;
        made.convolution = result::create_convolution_descriptor()?;
        let dilation: [c_int; 3] = [1; 3];
        // SAFETY: the descriptors were just made, and the arrays have as many numbers as is said.
        unsafe {
            for (tensor, (dims, strides)) in [(made.x, &x), (made.y, &y)] {
                result::set_tensornd_descriptor(tensor, number_type, 5, dims.as_ptr(), strides.as_ptr())?;
            }
            let format = match order {
                Order::ChannelsFirst => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW,
                Order::ChannelsLast => sys::cudnnTensorFormat_t::CUDNN_TENSOR_NHWC,
            };
            result::set_filternd_descriptor(made.weights, number_type, format, 5, weights.as_ptr())?;
            result::set_convolutionnd_descriptor(
                made.convolution,
                3,
                padding.as_ptr(),
                stride.as_ptr(),
                dilation.as_ptr(),
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                compute_type,
            )?;
        }
        Ok(Some(made))
    }

    /// The algorithms that cuDNN has for it, in its order, with the workspace of each as it will be run.
    pub(super) fn list(&self, handle: sys::cudnnHandle_t, direction: Direction, tf32: bool) -> Outcome<List> {
        use sys::cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH};
        // Where the sums are to be exact, all algorithms get the same; else what cuDNN lists them with.
        let (asked, fixed) = match (self.number, tf32) {
            // Nothing rounds `f64`.
            (DType::F64, _) => (CUDNN_DEFAULT_MATH, true),
            // The default may round to TF32.
            (DType::F32, false) => (CUDNN_FMA_MATH, true),
            _ => (CUDNN_TENSOR_OP_MATH, false),
        };
        let Self { x, y, weights, convolution, .. } = *self;
        let mut count: c_int = 0;
        let (mut found, mut refusal) = (Vec::new(), None);
        macro_rules! listed {
            ($kind:path, $of:path, $perf:ty, $($descriptor:expr),*) => {{
                // SAFETY: plain numbers, for which zeros are values; cuDNN fills them in.
                let mut all: [$perf; MOST_LISTED] = unsafe { std::mem::zeroed() };
                // SAFETY: handle and descriptors are alive, and there is room for as many as asked for.
                unsafe {
                    result::set_convolution_math_type(convolution, asked)?;
                    $of(handle, $($descriptor,)* MOST_LISTED as c_int, &raw mut count, all.as_mut_ptr())?;
                }
                for one in &all[..(count.max(0) as usize).min(MOST_LISTED)] {
                    if one.status != sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS {
                        refusal = Some(one.status);
                        continue;
                    }
                    let math = if fixed { asked } else { one.mathType };
                    let steady = one.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
                    found.push((Way { algorithm: $kind(one.algo), math }, steady));
                }
            }};
        }
        match direction {
            Direction::Forward => listed!(
                Algorithm::Forward,
                result::get_convolution_forward_algorithm,
                sys::cudnnConvolutionFwdAlgoPerf_t,
                x,
                weights,
                convolution,
                y
            ),
            Direction::InputGradient => listed!(
                Algorithm::InputGradient,
                result::get_convolution_backward_data_algorithm,
                sys::cudnnConvolutionBwdDataAlgoPerf_t,
                weights,
                y,
                convolution,
                x
            ),
            Direction::WeightGradient => listed!(
                Algorithm::WeightGradient,
                result::get_convolution_backward_filter_algorithm,
                sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                x,
                y,
                convolution,
                weights
            ),
        }
        let mut listed = Vec::new();
        for (way, steady) in found {
            match self.workspace(handle, way) {
                Ok(workspace) => listed.push(Candidate { way, steady, workspace }),
                Err(error) => refusal = Some(error.0),
            }
        }
        Ok((listed, refusal))
    }

    /// Bytes of workspace that it takes to go this way: with other units than those it was listed with, it may be more.
    fn workspace(&self, handle: sys::cudnnHandle_t, way: Way) -> Outcome<usize> {
        let Self { x, y, weights, convolution, .. } = *self;
        // SAFETY: handle and descriptors are alive; the algorithm is one of those that cuDNN listed for this direction.
        unsafe {
            result::set_convolution_math_type(convolution, way.math)?;
            match way.algorithm {
                Algorithm::Forward(algorithm) => result::get_convolution_forward_workspace_size(
                    handle,
                    x,
                    weights,
                    convolution,
                    y,
                    algorithm,
                ),
                Algorithm::InputGradient(algorithm) => result::get_convolution_backward_data_workspace_size(
                    handle,
                    weights,
                    y,
                    convolution,
                    x,
                    algorithm,
                ),
                Algorithm::WeightGradient(algorithm) => {
                    result::get_convolution_backward_filter_workspace_size(
                        handle,
                        x,
                        y,
                        convolution,
                        weights,
                        algorithm,
                    )
                }
            }
        }
    }

    /// Sets `out` to the convolution of the operands; without workspace if the way wants none.
    ///
    /// # Safety
    /// Operands and result have the elements of the tensors that were described, and the workspace the bytes that
    /// [`Self::workspace`] said.
    pub(super) unsafe fn run<T>(
        &self,
        handle: sys::cudnnHandle_t,
        way: Way,
        [a, b]: [&CudaView<'_, T>; 2],
        workspace: Option<&mut CudaSlice<u8>>,
        out: &mut CudaViewMut<'_, T>,
        stream: &CudaStream,
    ) -> Outcome<()> {
        let size = workspace.as_ref().map_or(0, |workspace| workspace.len());
        let workspace = workspace.map(|workspace| workspace.device_ptr_mut(stream));
        let room = workspace.as_ref().map_or(std::ptr::null_mut(), |(address, _)| *address as *mut c_void);
        let (a, _a) = a.device_ptr(stream);
        let (b, _b) = b.device_ptr(stream);
        let (out, _out) = out.device_ptr_mut(stream);
        let (a, b, out) = (a as *const c_void, b as *const c_void, out as *mut c_void);
        // 1 and 0 in the type that cuDNN scales with.
        let (one, zero) = ([1f32, 0.0], [1f64, 0.0]);
        let scale = |i: usize| -> *const c_void {
            if self.number == DType::F64 { (&raw const zero[i]).cast() } else { (&raw const one[i]).cast() }
        };
        let (alpha, beta) = (scale(0), scale(1));
        let Self { x, y, weights, convolution, .. } = *self;
        // SAFETY: descriptors and handle are alive; the caller answers for the memory; the algorithm is one of those
        // that cuDNN listed for this direction, whose numbers these are.
        unsafe {
            result::set_convolution_math_type(convolution, way.math)?;
            match way.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle,
                    alpha,
                    x,
                    a,
                    weights,
                    b,
                    convolution,
                    algorithm,
                    room,
                    size,
                    beta,
                    y,
                    out,
                ),
                Algorithm::InputGradient(algorithm) => result::convolution_backward_data(
                    handle,
                    alpha,
                    weights,
                    b,
                    y,
                    a,
                    convolution,
                    algorithm,
                    room,
                    size,
                    beta,
                    x,
                    out,
                ),
                Algorithm::WeightGradient(algorithm) => result::convolution_backward_filter(
                    handle,
                    alpha,
                    x,
                    a,
                    y,
                    b,
                    convolution,
                    algorithm,
                    room,
                    size,
                    beta,
                    weights,
                    out,
                ),
            }
        }
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
