//! Labels as one channel per class.

use candle_core::{Device, Result, Tensor};

/// One-hot f32 tensor (N, `classes`, D, H, W) of `labels`, the labels of N volumes of D×H×W voxels one
/// after the other, x fastest. Voxels of the label `ignored` are zero in every channel: no loss counts them.
///
/// # Errors
/// If the number of labels is not N·D·H·W or a label other than `ignored` is not below `classes`.
///
/// ```
/// use candle_core::Device;
/// use organseg_unet::loss::one_hot;
/// let truth = one_hot(&[0, 1, 255], (1, 1, 1, 3), 2, Some(255), &Device::Cpu)?;
/// assert_eq!(truth.flatten_all()?.to_vec1::<f32>()?, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn one_hot(
    labels: &[u8],
    (n, d, h, w): (usize, usize, usize, usize),
    classes: usize,
    ignored: Option<u8>,
    device: &Device,
) -> Result<Tensor> {
    let voxels = d * h * w;
    if labels.len() != n * voxels {
        candle_core::bail!("{} labels for {n} volumes of {d}×{h}×{w} voxels", labels.len());
    }
    let known = |&label: &u8| ignored == Some(label) || usize::from(label) < classes;
    if let Some(label) = labels.iter().find(|label| !known(label)) {
        candle_core::bail!("label {label} where the network knows {classes} classes");
    }
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        use candle_core::{Storage, op::BackpropOp};
        let ones = organseg_conv3d::cuda::losses::one_hot(labels, [n, voxels, classes], ignored, device)?;
        let shape = (n, classes, d, h, w);
        return Ok(Tensor::from_storage(Storage::Cuda(ones), shape, BackpropOp::none(), false));
    }
    let mut values = vec![0f32; classes * labels.len()];
    for (labels, values) in labels.chunks(voxels.max(1)).zip(values.chunks_mut((classes * voxels).max(1))) {
        for (voxel, &label) in labels.iter().enumerate().filter(|(_, label)| ignored != Some(**label)) {
            values[usize::from(label) * voxels + voxel] = 1.0;
        }
    }
    Tensor::from_vec(values, (n, classes, d, h, w), device)
}

#[cfg(test)]
mod tests {
    use organseg_conv3d::self_test::devices;

    use super::*;

    #[test]
    fn every_device_has_the_same_ones() {
        for device in devices() {
            let truth = one_hot(&[0, 2, 9, 1, 1, 0], (2, 1, 1, 3), 3, Some(9), &device).unwrap();
            assert_eq!(truth.dims(), [2, 3, 1, 1, 3]);
            let expected = [
                [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
            ];
            assert_eq!(truth.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected.as_flattened());
            assert!(one_hot(&[0, 3], (1, 1, 1, 2), 3, None, &device).is_err());
            assert!(one_hot(&[0], (1, 1, 1, 2), 3, None, &device).is_err());
        }
    }
}
