//! Where the voxels of a tensor (N, D, H, W, C) lie.

#[cfg(feature = "cuda")]
mod on_gpu;

use candle_core::{DType, Layout, Result, Tensor, bail};

use super::wide;

/// Voxels, one after the other, each with its channels side by side: all of a tensor, or a part of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voxels {
    pub(crate) batch: usize,
    /// (D, H, W).
    pub(crate) size: [usize; 3],
    pub(crate) channels: usize,
    /// From a voxel to the next, in numbers.
    pub(crate) step: usize,
    /// The first number.
    pub(crate) start: usize,
}

impl Voxels {
    /// Those of `layout`, or an error that names the operation.
    pub(crate) fn of(op: &str, layout: &Layout) -> Result<Self> {
        let &[batch, d, h, w, channels] = layout.dims() else {
            bail!("{op}: found shape {:?}, expected five axes (N, D, H, W, C)", layout.dims())
        };
        let Some(voxels) = Self::side_by_side([batch, d, h, w, channels], layout) else {
            bail!(
                "{op}: a tensor {:?} with steps {:?} is not one of voxels with their channels side by side",
                layout.dims(),
                layout.stride()
            )
        };
        Ok(voxels)
    }

    /// Nothing if channels do not lie side by side, or voxels not one after the other.
    fn side_by_side([batch, d, h, w, channels]: [usize; 5], layout: &Layout) -> Option<Self> {
        let (size, stride) = ([d, h, w], layout.stride());
        if layout.shape().elem_count() == 0 {
            // There is nothing that could lie anywhere, and steps and start mean nothing.
            return Some(Self { batch, size, channels, step: channels, start: 0 });
        }
        // The step of an axis of one is whatever it is.
        let step =
            [(w, stride[3], 1), (h, stride[2], w), (d, stride[1], w * h), (batch, stride[0], w * h * d)]
                .into_iter()
                .find_map(|(n, stride, voxels)| (n > 1).then(|| stride / voxels))
                .unwrap_or(channels);
        let expected = [(w, step), (h, w * step), (d, h * w * step), (batch, d * h * w * step)];
        let fits = (channels <= 1 || stride[4] == 1)
            && expected.iter().zip([3, 2, 1, 0]).all(|(&(n, s), axis)| n <= 1 || stride[axis] == s);
        (fits && step >= channels).then(|| Self { batch, size, channels, step, start: layout.start_offset() })
    }

    /// Voxels of a sample.
    pub(crate) fn volume(&self) -> usize {
        self.size.iter().product()
    }

    /// Voxels of all samples.
    pub(crate) fn count(&self) -> usize {
        self.batch * self.volume()
    }
}

/// `tensor`, (N, D, H, W, C) or some of the channels of such, as an operation reads it: itself if its channels lie
/// side by side, else a copy in which they do.
pub(super) fn readable(tensor: &Tensor) -> Result<Tensor> {
    match tensor.dims().try_into() {
        Ok(dims) if Voxels::side_by_side(dims, tensor.layout()).is_none() => tensor.contiguous(),
        // Of what has not five axes, the operation will speak.
        _ => Ok(tensor.clone()),
    }
}

/// (O, C, …) as (O, …, C) in numbers of type `number`: an image, or the weights of a convolution.
///
/// # Errors
/// If there are fewer than two axes; what a device gives.
pub fn last_from_first(tensor: &Tensor, number: DType) -> Result<Tensor> {
    if tensor.rank() < 2 {
        bail!("last_from_first: found shape {:?}, expected (O, C, …)", tensor.dims());
    }
    #[cfg(feature = "cuda")]
    if tensor.device().is_cuda() {
        return on_gpu::last_from_first(tensor, number);
    }
    let axes: Vec<usize> = std::iter::once(0).chain(2..tensor.rank()).chain(std::iter::once(1)).collect();
    tensor.detach().to_dtype(number)?.permute(axes)?.contiguous()
}

/// (O, …, C) as (O, C, …), in what parameters are: `f64` for `f64`, else `f32`.
///
/// # Errors
/// As [`last_from_first`].
pub fn first_from_last(tensor: &Tensor) -> Result<Tensor> {
    let rank = tensor.rank();
    if rank < 2 {
        bail!("first_from_last: found shape {:?}, expected (O, …, C)", tensor.dims());
    }
    #[cfg(feature = "cuda")]
    if tensor.device().is_cuda() {
        return on_gpu::first_from_last(tensor);
    }
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    tensor.permute(axes)?.contiguous()?.to_dtype(wide(tensor.dtype()))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_part_of_the_channels_is_a_view() {
        let all = Tensor::zeros((2, 3, 4, 5, 7), DType::F32, &Device::Cpu).unwrap();
        let part = all.narrow(4, 2, 3).unwrap();
        let voxels = Voxels::of("test", part.layout()).unwrap();
        assert_eq!(voxels, Voxels { batch: 2, size: [3, 4, 5], channels: 3, step: 7, start: 2 });
        assert_eq!(Voxels::of("test", all.layout()).unwrap().step, 7);
        assert!(Voxels::of("test", all.transpose(1, 4).unwrap().layout()).is_err());
        assert!(Voxels::of("test", all.narrow(2, 0, 2).unwrap().layout()).is_err());
    }

    #[test]
    fn nothing_lies_anywhere() {
        let all = Tensor::zeros((2, 3, 4, 5, 7), DType::F32, &Device::Cpu).unwrap();
        for (axis, part) in
            [(0, 2), (2, 4), (4, 7)].map(|(axis, end)| (axis, all.narrow(axis, end, 0).unwrap()))
        {
            let voxels = Voxels::of("test", part.transpose(1, 3).unwrap().layout()).unwrap();
            assert_eq!(voxels.count() * voxels.channels, 0, "along {axis}");
            assert_eq!(voxels.start, 0, "along {axis}");
        }
    }

    #[test]
    fn what_is_read_is_copied_only_if_it_must_be() {
        let all = Tensor::arange(0f32, 840.0, &Device::Cpu).unwrap().reshape((2, 3, 4, 5, 7)).unwrap();
        let part = all.narrow(4, 2, 3).unwrap();
        assert_eq!(readable(&part).unwrap().layout().stride(), part.layout().stride());
        let turned = all.transpose(1, 4).unwrap();
        let copy = readable(&turned).unwrap();
        assert!(copy.is_contiguous());
        assert_eq!(
            copy.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            turned.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
    }

    #[test]
    fn channels_go_last_and_come_first_again() {
        for device in crate::self_test::devices() {
            let weights = Tensor::arange(0f32, 120.0, &device).unwrap().reshape((2, 3, 4, 5)).unwrap();
            let last = last_from_first(&weights, DType::BF16).unwrap();
            assert_eq!(last.dims(), [2, 4, 5, 3]);
            let at = |t: &Tensor, at: [usize; 4]| {
                let one = at.iter().fold(t.clone(), |t, &i| t.get(i).unwrap());
                one.to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap()
            };
            assert_eq!(at(&last, [1, 2, 3, 1]), at(&weights, [1, 1, 2, 3]));
            let first = first_from_last(&last).unwrap();
            assert_eq!((first.dims(), first.dtype()), (weights.dims(), DType::F32));
            let all = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(all(&first), all(&weights));
        }
    }
}
