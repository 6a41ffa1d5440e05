//! Every operation once more as plain loops in `f64`: slow, obvious, and what the fast ones are tested
//! against.

use crate::Conv3dParams;

/// A tensor (N, C, D, H, W) of doubles, W fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array5 {
    /// Size along each axis.
    pub dims: [usize; 5],
    /// The values.
    pub values: Vec<f64>,
}

impl Array5 {
    /// A tensor of `value`s.
    #[must_use]
    pub fn filled(dims: [usize; 5], value: f64) -> Self {
        Self { dims, values: vec![value; dims.iter().product()] }
    }

    /// Index in memory of an element.
    #[must_use]
    pub fn at(&self, [n, c, z, y, x]: [usize; 5]) -> usize {
        let [_, channels, d, h, w] = self.dims;
        (((n * channels + c) * d + z) * h + y) * w + x
    }

    /// The element, or 0 outside along the last three axes.
    fn padded(&self, n: usize, c: usize, place: [isize; 3]) -> f64 {
        let inside = (0..3).all(|a| place[a] >= 0 && (place[a] as usize) < self.dims[2 + a]);
        let [z, y, x] = place.map(|v| v as usize);
        if inside { self.values[self.at([n, c, z, y, x])] } else { 0.0 }
    }

    /// Calls `visit` with every index.
    fn for_each(dims: [usize; 5], mut visit: impl FnMut([usize; 5])) {
        for n in 0..dims[0] {
            for c in 0..dims[1] {
                for z in 0..dims[2] {
                    for y in 0..dims[3] {
                        for x in 0..dims[4] {
                            visit([n, c, z, y, x]);
                        }
                    }
                }
            }
        }
    }
}

/// See [`conv3d`](crate::conv3d()).
#[must_use]
pub fn conv3d(x: &Array5, weight: &Array5, bias: Option<&[f64]>, params: &Conv3dParams) -> Array5 {
    let [outputs, inputs, kd, kh, kw] = weight.dims;
    let size = |a: usize, k: usize| (x.dims[2 + a] + 2 * params.padding[a] - k) / params.stride[a] + 1;
    let mut y = Array5::filled([x.dims[0], outputs, size(0, kd), size(1, kh), size(2, kw)], 0.0);
    Array5::for_each(y.dims, |index| {
        let [n, o, place @ ..] = index;
        let mut sum = bias.map_or(0.0, |bias| bias[o]);
        Array5::for_each([1, inputs, kd, kh, kw], |[_, c, kernel @ ..]| {
            let from = [0, 1, 2]
                .map(|a| (place[a] * params.stride[a] + kernel[a]) as isize - params.padding[a] as isize);
            sum += weight.values[weight.at([o, c, kernel[0], kernel[1], kernel[2]])] * x.padded(n, c, from);
        });
        let at = y.at(index);
        y.values[at] = sum;
    });
    y
}

/// The gradient of Σ y · gradient for the weight (C_out, C, kD, kH, kW) of y = conv3d(x, weight).
#[must_use]
pub fn conv3d_weight_gradient(
    x: &Array5,
    gradient: &Array5,
    kernel: [usize; 3],
    params: &Conv3dParams,
) -> Array5 {
    let dims = [gradient.dims[1], x.dims[1], kernel[0], kernel[1], kernel[2]];
    let mut weight = Array5::filled(dims, 0.0);
    Array5::for_each(dims, |index| {
        let [o, c, tap @ ..] = index;
        let mut sum = 0.0;
        Array5::for_each(
            [gradient.dims[0], 1, gradient.dims[2], gradient.dims[3], gradient.dims[4]],
            |[n, _, place @ ..]| {
                let from = [0, 1, 2]
                    .map(|a| (place[a] * params.stride[a] + tap[a]) as isize - params.padding[a] as isize);
                let g = gradient.values[gradient.at([n, o, place[0], place[1], place[2]])];
                sum += g * x.padded(n, c, from);
            },
        );
        let at = weight.at(index);
        weight.values[at] = sum;
    });
    weight
}

/// The gradient of Σ y · gradient for the input, of `size` (D, H, W), of y = conv3d(x, weight).
#[must_use]
pub fn conv3d_input_gradient(
    gradient: &Array5,
    weight: &Array5,
    size: [usize; 3],
    params: &Conv3dParams,
) -> Array5 {
    let [outputs, inputs, kd, kh, kw] = weight.dims;
    let mut x = Array5::filled([gradient.dims[0], inputs, size[0], size[1], size[2]], 0.0);
    Array5::for_each(gradient.dims, |index| {
        let [n, o, place @ ..] = index;
        debug_assert!(o < outputs);
        Array5::for_each([1, inputs, kd, kh, kw], |[_, c, tap @ ..]| {
            let to =
                [0, 1, 2].map(|a| (place[a] * params.stride[a] + tap[a]).wrapping_sub(params.padding[a]));
            if (0..3).all(|a| to[a] < size[a]) {
                let at = x.at([n, c, to[0], to[1], to[2]]);
                let w = weight.values[weight.at([o, c, tap[0], tap[1], tap[2]])];
                x.values[at] += w * gradient.values[gradient.at(index)];
            }
        });
    });
    x
}

/// See [`conv_transpose3d`](crate::conv_transpose3d()).
#[must_use]
pub fn conv_transpose3d(x: &Array5, weight: &Array5, bias: Option<&[f64]>, stride: [usize; 3]) -> Array5 {
    let [_, outputs, kd, kh, kw] = weight.dims;
    let kernel = [kd, kh, kw];
    let size = [0, 1, 2].map(|a| (x.dims[2 + a] - 1) * stride[a] + kernel[a]);
    let mut y = Array5::filled([x.dims[0], outputs, size[0], size[1], size[2]], 0.0);
    if let Some(bias) = bias {
        Array5::for_each(y.dims, |index| {
            let at = y.at(index);
            y.values[at] = bias[index[1]];
        });
    }
    Array5::for_each(x.dims, |index| {
        let [n, c, place @ ..] = index;
        Array5::for_each([1, outputs, kd, kh, kw], |[_, o, k @ ..]| {
            let to = [0, 1, 2].map(|a| place[a] * stride[a] + k[a]);
            let at = y.at([n, o, to[0], to[1], to[2]]);
            y.values[at] += x.values[x.at(index)] * weight.values[weight.at([c, o, k[0], k[1], k[2]])];
        });
    });
    y
}

/// See [`max_pool3d`](crate::max_pool3d()).
#[must_use]
pub fn max_pool3d(x: &Array5, kernel: [usize; 3], stride: [usize; 3]) -> Array5 {
    let size = [0, 1, 2].map(|a| (x.dims[2 + a] - kernel[a]) / stride[a] + 1);
    let mut y = Array5::filled([x.dims[0], x.dims[1], size[0], size[1], size[2]], f64::NEG_INFINITY);
    Array5::for_each(y.dims, |index| {
        let [n, c, place @ ..] = index;
        let at = y.at(index);
        Array5::for_each([1, 1, kernel[0], kernel[1], kernel[2]], |[_, _, k @ ..]| {
            let from = [0, 1, 2].map(|a| place[a] * stride[a] + k[a]);
            let value = x.values[x.at([n, c, from[0], from[1], from[2]])];
            if value > y.values[at] || value.is_nan() {
                y.values[at] = value;
            }
        });
    });
    y
}

/// See [`instance_norm`](crate::instance_norm()); `slope` is the activation's below zero, 1 for none.
#[must_use]
pub fn instance_norm(x: &Array5, gamma: &[f64], beta: &[f64], eps: f64, slope: f64) -> Array5 {
    let voxels = x.dims[2..].iter().product::<usize>();
    let mut y = x.clone();
    for (i, channel) in y.values.chunks_mut(voxels).enumerate() {
        let c = i % x.dims[1];
        let mean = channel.iter().sum::<f64>() / voxels as f64;
        let variance = channel.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / voxels as f64;
        for v in channel {
            *v = gamma[c] * (*v - mean) / (variance + eps).sqrt() + beta[c];
            if *v <= 0.0 {
                *v *= slope;
            }
        }
    }
    y
}

/// See [`upsample_nearest3d`](crate::upsample_nearest3d()).
#[must_use]
pub fn upsample_nearest3d(x: &Array5, size: [usize; 3]) -> Array5 {
    let mut y = Array5::filled([x.dims[0], x.dims[1], size[0], size[1], size[2]], 0.0);
    Array5::for_each(y.dims, |index| {
        let [n, c, place @ ..] = index;
        let from = [0, 1, 2].map(|a| place[a] * x.dims[2 + a] / size[a]);
        let at = y.at(index);
        y.values[at] = x.values[x.at([n, c, from[0], from[1], from[2]])];
    });
    y
}

/// See [`upsample_trilinear3d`](crate::upsample_trilinear3d()).
#[must_use]
pub fn upsample_trilinear3d(x: &Array5, size: [usize; 3]) -> Array5 {
    let mut y = Array5::filled([x.dims[0], x.dims[1], size[0], size[1], size[2]], 0.0);
    Array5::for_each(y.dims, |index| {
        let [n, c, place @ ..] = index;
        let mut sum = 0.0;
        for corner in 0..8usize {
            let (mut weight, mut from) = (1.0, [0; 3]);
            for a in 0..3 {
                let last = x.dims[2 + a] - 1;
                let at = (place[a] as f64 + 0.5) * x.dims[2 + a] as f64 / size[a] as f64 - 0.5;
                let at = at.clamp(0.0, last as f64);
                let share = at - at.floor();
                let far = corner >> a & 1 == 1;
                weight *= if far { share } else { 1.0 - share };
                from[a] = (at.floor() as usize + usize::from(far)).min(last);
            }
            sum += weight * x.values[x.at([n, c, from[0], from[1], from[2]])];
        }
        let at = y.at(index);
        y.values[at] = sum;
    });
    y
}
