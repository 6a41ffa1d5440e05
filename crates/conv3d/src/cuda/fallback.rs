//! Convolutions that cuDNN did not do.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What was left to the plain kernels, and how often.
static ALL: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// The convolutions of this process that went to the plain kernels, right and many times slower, because cuDNN would
/// not do them: a line for each kind, with direction, shape, type of numbers, what cuDNN said last, and how often.
/// Empty if all is well, and in builds without the feature `cudnn`, where every convolution is done so.
///
/// `f64` with channels last is not counted: cuDNN has none of it, and nothing but comparisons asks for it.
#[must_use]
pub fn without_cudnn() -> Vec<String> {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().map(|(what, times)| format!("{what} ({times}×)")).collect()
}

/// Takes note of a convolution that cuDNN does not do.
#[cfg(feature = "cudnn")]
pub(super) fn count(
    direction: super::convolution::Direction,
    shape: &crate::params::ConvShape,
    order: super::convolution::Order,
    number: candle_core::DType,
    why: &str,
) {
    let what = format!("{direction:?} of {}, {number:?}, {order:?}: {why}", sizes(shape));
    *ALL.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
}

/// Such as `2×24×9×14×11 to 20 channels, kernel 3×3×3, stride 1×1×1, padding 1×1×1`.
#[cfg(feature = "cudnn")]
fn sizes(shape: &crate::params::ConvShape) -> String {
    let by = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let [d, h, w] = shape.input;
    format!(
        "{} to {} channels, kernel {}, stride {}, padding {}",
        by(&[shape.batch, shape.inputs, d, h, w]),
        shape.outputs,
        by(&shape.kernel),
        by(&shape.stride),
        by(&shape.padding)
    )
}

#[cfg(all(test, feature = "cudnn"))]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::convolution::{Direction, Order};
    use crate::params::{Conv3dParams, ConvShape};

    #[test]
    fn what_cudnn_refuses_is_told_once_with_its_count() {
        let params = Conv3dParams::same([3; 3]);
        let shape = ConvShape::new(&[2, 24, 9, 14, 11], &[20, 24, 3, 3, 3], &params).unwrap();
        for _ in 0..3 {
            count(Direction::Forward, &shape, Order::ChannelsLast, DType::F16, "CUDNN_STATUS_NOT_SUPPORTED");
        }
        let told = "Forward of 2×24×9×14×11 to 20 channels, kernel 3×3×3, stride 1×1×1, padding 1×1×1, F16, \
                    ChannelsLast: CUDNN_STATUS_NOT_SUPPORTED (3×)";
        assert_eq!(without_cudnn().iter().filter(|line| *line == told).count(), 1);
    }
}
