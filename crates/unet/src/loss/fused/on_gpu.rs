//! The losses on an NVIDIA GPU: sums by a kernel, losses of them on the CPU, the gradient by another kernel.

use std::sync::PoisonError;

use candle_core::backend::BackendDevice;
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, Result, Shape, Storage, Tensor, bail};
use organseg_conv3d::cuda::losses::{SUMS, Scores, Slopes};

use super::{Dims, LEAST_DOUBT, Losses, PARTS, Sums};

/// A tensor on the card.
type Stored<'a> = (&'a CudaStorage, &'a Layout);

impl Sums {
    /// From the numbers of [`organseg_conv3d::cuda::losses`].
    fn of(numbers: &[f64]) -> Self {
        let &[p, y, yp, weight, entropy, focal, up, vp, uy, vy] = numbers else {
            unreachable!("there are as many as were asked for")
        };
        Self { p, y, yp, weight, entropy, focal, at_p: [up, vp], at_y: [uy, vy] }
    }
}

impl Losses {
    /// The total, on the card; parts and sums are put down.
    pub(super) fn forward_on_gpu(
        &self,
        scores: Stored<'_>,
        truth: Stored<'_>,
    ) -> Result<(CudaStorage, Shape)> {
        let dims = Dims::new(scores.1)?;
        let sums = self.on_gpu(scores, truth).sums()?;
        let sums: Vec<Sums> = sums.chunks_exact(SUMS).map(Sums::of).collect();
        let parts = self.parts(dims, &sums);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((Vec::new(), sums));
        Ok((scores.0.device.storage_from_slice(&[self.total(parts)])?, Shape::from(())))
    }

    fn on_gpu<'a>(&'a self, scores: Stored<'a>, truth: Stored<'a>) -> Scores<'a> {
        Scores {
            scores,
            truth,
            weights: self.near_boundary.as_deref(),
            focus: self.focus.map(f64::from),
            least_doubt: LEAST_DOUBT,
        }
    }

    /// The gradient for the scores, where `by` is that for the parts.
    pub(super) fn gradient_on_gpu(
        &self,
        dims: Dims,
        z: &Tensor,
        y: &Tensor,
        sums: &[Sums],
        by: [f64; PARTS],
    ) -> Result<Tensor> {
        let (terms, [entropy, focal]) = self.slopes(dims, sums, by);
        let class_weights: Vec<f32> = self.class_weights.iter().map(|&weight| weight as f32).collect();
        let slopes = Slopes { terms: terms.as_flattened(), class_weights: &class_weights, entropy, focal };
        let ((scores, z_layout), (truth, y_layout)) = (z.storage_and_layout(), y.storage_and_layout());
        let (Storage::Cuda(scores), Storage::Cuda(truth)) = (&*scores, &*truth) else {
            bail!("the truth is on another device than the scores")
        };
        let gradient = self.on_gpu((scores, z_layout), (truth, y_layout)).gradient(&slopes)?;
        let op = BackpropOp::none();
        Ok(Tensor::from_storage(Storage::Cuda(gradient), z.shape(), op, false))
    }
}
