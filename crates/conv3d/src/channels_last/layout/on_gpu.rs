//! Changes of layout and type by one kernel each.

use candle_core::{DType, Result, Tensor, bail};

use crate::channels_last::on_gpu::{on_card, tensor};
use crate::channels_last::widened;
use crate::cuda::{by_cuda_type, layout};

/// (O, C, …) as (O, …, C) in numbers of type `number`.
pub(super) fn last_from_first(from: &Tensor, number: DType) -> Result<Tensor> {
    let dims = from.dims();
    let [outer, channels, inner] = [dims[0], dims[1], dims[2..].iter().product()];
    let shape: Vec<usize> = [&dims[..1], &dims[2..], &dims[1..2]].concat();
    let from = widened(from, number)?;
    let out = on_card(&from, |from| {
        let sizes = [outer, channels, inner];
        match number {
            DType::F32 => layout::last_from_first::<f32>(from, sizes),
            DType::F64 => layout::last_from_first::<f64>(from, sizes),
            DType::F16 => layout::last_from_first::<half::f16>(from, sizes),
            DType::BF16 => layout::last_from_first::<half::bf16>(from, sizes),
            other => bail!("numbers of type {other:?} on a GPU, expected F32, F64, F16 or BF16"),
        }
    })?;
    Ok(tensor(out, shape))
}

/// (O, …, C) as (O, C, …), in what parameters are.
pub(super) fn first_from_last(from: &Tensor) -> Result<Tensor> {
    let (dims, end) = (from.dims(), from.rank() - 1);
    let [outer, channels, inner] = [dims[0], dims[end], dims[1..end].iter().product()];
    let shape: Vec<usize> = [&dims[..1], &dims[end..], &dims[1..end]].concat();
    let out = on_card(&from.contiguous()?, |from| {
        let sizes = [outer, channels, inner];
        by_cuda_type!("first_from_last", from.0, layout::first_from_last(from, sizes))
    })?;
    Ok(tensor(out, shape))
}
