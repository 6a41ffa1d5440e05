//! Number types on the card.

use candle_core::WithDType;
use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, ValidAsZeroBits};

/// A number type that the kernels know.
pub(crate) trait CudaNumber: WithDType + CudaDType + DeviceRepr + ValidAsZeroBits {
    /// What kernels compute with, and the type of parameters: `A` of the kernels.
    type Wide: CudaNumber;
    /// What the module of its kernels is called.
    const MODULE: &'static str;
    /// What the kernels are told about it: how numbers are stored, read and written.
    const SOURCE: &'static str;
}

macro_rules! number {
    ($type:ty, $wide:ty, $name:literal) => {
        impl CudaNumber for $type {
            type Wide = $wide;
            const MODULE: &'static str = concat!("organseg_conv3d_", $name);
            const SOURCE: &'static str = include_str!(concat!("kernels/", $name, ".cuh"));
        }
    };
}

number!(f32, f32, "f32");
number!(f64, f64, "f64");
number!(half::f16, f32, "f16");
number!(half::bf16, f32, "bf16");

/// Calls a function generic in the number type with that of `$storage`.
macro_rules! by_cuda_type {
    ($op:literal, $storage:expr, $($function:ident)::+($($argument:expr),* $(,)?)) => {{
        use candle_core::backend::BackendStorage;
        match $storage.dtype() {
            candle_core::DType::F32 => $($function)::+::<f32>($($argument),*),
            candle_core::DType::F64 => $($function)::+::<f64>($($argument),*),
            candle_core::DType::F16 => $($function)::+::<half::f16>($($argument),*),
            candle_core::DType::BF16 => $($function)::+::<half::bf16>($($argument),*),
            other => candle_core::bail!(
                concat!($op, ": numbers of type {:?} on a GPU, expected F32, F64, F16 or BF16"),
                other
            ),
        }
    }};
}
pub(crate) use by_cuda_type;
