//! Images of any size through a network that halves its input several times.
//!
//! The far end of each axis is padded by repeating the border voxel, which changes instance-norm
//! statistics less than zeros would, and the scores are cut back to the image.

use candle_core::{Result, Tensor};

/// `x` (N, C, D, H, W) with each of D, H, W extended to the next multiple of its own of `multiples`.
pub(crate) fn pad_to_multiple(x: &Tensor, multiples: [usize; 3]) -> Result<Tensor> {
    let mut padded = x.clone();
    for (axis, multiple) in (2..5).zip(multiples) {
        let size = x.dim(axis)?;
        let missing = size.next_multiple_of(multiple) - size;
        if missing > 0 {
            padded = padded.pad_with_same(axis, 0, missing)?;
        }
    }
    Ok(padded)
}

/// The first D×H×W voxels of `x`.
pub(crate) fn cut_back(x: &Tensor, size: [usize; 3]) -> Result<Tensor> {
    let mut cut = x.clone();
    for (axis, length) in (2..5).zip(size) {
        if cut.dim(axis)? != length {
            cut = cut.narrow(axis, 0, length)?;
        }
    }
    Ok(cut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn padding_repeats_the_border_and_cutting_undoes_it() -> Result<()> {
        let x = Tensor::arange(0f32, 6.0, &Device::Cpu)?.reshape((1, 1, 1, 2, 3))?;
        let padded = pad_to_multiple(&x, [2, 1, 2])?;
        assert_eq!(padded.dims(), [1, 1, 2, 2, 4], "H needs no padding");
        assert_eq!(padded.flatten_all()?.to_vec1::<f32>()?[..8], [0., 1., 2., 2., 3., 4., 5., 5.]);
        let back = cut_back(&padded, [1, 2, 3])?;
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, [0., 1., 2., 3., 4., 5.]);
        Ok(())
    }
}
