//! Stride and padding of a convolution, and the sizes that follow.

use candle_core::{Result, bail};
use serde::{Deserialize, Serialize};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// The faster of the two for each shape.
    #[default]
    Auto,
    /// As the sums that it is: errors of some 1e-6 of the result's rms with many channels, less with few.
    Direct,
    /// Winograd's minimal filtering where it can be done (3×3×3, padding 1, stride 1 along all axes, or 2 without the
    /// gradients): several times faster at stride 1, up to one and a half times at stride 2, with rms errors of one to
    /// three times those of the sums. `f32` only. What is no number or infinite spoils the tiles of 4×4×4 outputs that see
    /// it and not 3×3×3 voxels.
    Winograd,
}

/// Stride and zero padding of a 3D convolution along (D, H, W).
///
/// ```
/// use organseg_conv3d::Conv3dParams;
/// let same = Conv3dParams::same([3, 3, 1]);
/// assert_eq!((same.stride, same.padding), ([1, 1, 1], [1, 1, 0]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv3dParams {
    /// Voxels between neighbouring outputs.
    pub stride: [usize; 3],
    /// Zeros on both sides of each axis.
    pub padding: [usize; 3],
    /// How it is computed, on the CPU.
    pub algorithm: Algorithm,
}

impl Default for Conv3dParams {
    /// Stride 1, no padding.
    fn default() -> Self {
        Self { stride: [1; 3], padding: [0; 3], algorithm: Algorithm::Auto }
    }
}

impl Conv3dParams {
    /// Stride 1 and the padding with which a kernel of odd size leaves the size as it is.
    #[must_use]
    pub fn same(kernel: [usize; 3]) -> Self {
        Self { padding: kernel.map(|k| k / 2), ..Self::default() }
    }
}

/// Strides up to this one are taken as they are, whatever the size. Longer ones reach beyond a smaller input, and are
/// taken as the input is long: memory and time go with the stride.
const LONG_STRIDE: usize = 16;

/// All sizes of one convolution, consistent with each other. Axes are (D, H, W).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    pub(crate) batch: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) input: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) output: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) padding: [usize; 3],
    pub(crate) algorithm: Algorithm,
}

impl ConvShape {
    /// Shape of the convolution of an input (N, C, D, H, W) with a weight (C_out, C, kD, kH, kW).
    pub(crate) fn new(input: &[usize], weight: &[usize], params: &Conv3dParams) -> Result<Self> {
        let (&[batch, inputs, d, h, w], &[outputs, weight_inputs, kd, kh, kw]) = (input, weight) else {
            bail!(
                "conv3d: input {input:?} and weight {weight:?}, expected (N, C, D, H, W) and (C_out, C, kD, kH, kW)"
            )
        };
        if inputs != weight_inputs {
            bail!("conv3d: the input has {inputs} channels, the weight expects {weight_inputs}");
        }
        let (input, kernel) = ([d, h, w], [kd, kh, kw]);
        if kernel.contains(&0) || params.stride.contains(&0) {
            bail!(
                "conv3d: kernel {kernel:?}, stride {:?}: expected at least 1 along each axis",
                params.stride
            );
        }
        let (mut output, mut stride) = ([0; 3], params.stride);
        for a in 0..3 {
            let padded = params.padding[a].checked_mul(2).and_then(|zeros| zeros.checked_add(input[a]));
            let Some(padded) = padded else {
                bail!("conv3d: padding {:?}, expected numbers of voxels that can be counted", params.padding)
            };
            if padded < kernel[a] {
                bail!(
                    "conv3d: a kernel of {kernel:?} does not fit an input of {input:?} with padding {:?}",
                    params.padding
                );
            }
            output[a] = (padded - kernel[a]) / stride[a] + 1;
            stride[a] = stride[a].min(padded.max(LONG_STRIDE));
        }
        Ok(Self {
            batch,
            inputs,
            outputs,
            input,
            kernel,
            output,
            stride,
            padding: params.padding,
            algorithm: params.algorithm,
        })
    }

    pub(crate) fn input_voxels(&self) -> usize {
        self.input.iter().product()
    }

    pub(crate) fn output_voxels(&self) -> usize {
        self.output.iter().product()
    }

    /// Voxels of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Products that make one output value.
    pub(crate) fn products(&self) -> usize {
        self.inputs * self.taps()
    }

    /// Whether the input itself is the matrix that im2col would make.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.padding == [0; 3]
    }
}
