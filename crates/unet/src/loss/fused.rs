//! All parts of the loss and their gradient in one pass over the scores, in `f32`, on the CPU and on NVIDIA GPUs.
//!
//! The same formulas as [`dice_loss`](super::dice_loss), [`center_loss`](super::center_loss),
//! [`cross_entropy`](super::cross_entropy()), [`focal_loss`](super::focal_loss) and
//! [`tversky_loss`](super::tversky_loss), which do the work for other numbers and devices. For each
//! slice the softmax p is kept and summed up: Σ p, Σ y, Σ y p, Σ u p, Σ v p, and so on, over the voxels of
//! which the truth names a class; the losses are functions of these sums. Backward, each sum's share of a
//! voxel is linear in (u, v) and y: ∂L/∂p = a + b y + c u + d v with four numbers for each class and slice, and
//! ∂L/∂z_k = p_k (∂L/∂p_k − Σ_j p_j ∂L/∂p_j) through the softmax. Of cross-entropy and focal loss the gradient
//! is that for z at once: F · (y_k − p_k) with one number F for each voxel.

#[cfg(feature = "cuda")]
mod on_gpu;

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

use super::center::{EPSILON_LENGTH, EPSILON_MASS};
use super::compute::PARTS;
use super::cross_entropy::LEAST_WEIGHT;
use super::dice::EPSILON;
use super::focal::LEAST_DOUBT;
use super::tversky::ADDED_VOXELS;
use super::{EmptySlices, LossConfig};

/// Σ `by` · part, in candle's graph, and Dice, center, cross-entropy, focal and Tversky loss themselves, of `logits` against
/// the one-hot `truth`, both (N, K, D, H, W), with the weights of the classes (K) and those of the voxels (N, 1, D, H, W) in
/// the cross-entropy. The focal loss is 0 unless it counts: it alone costs something by itself.
pub(super) fn all_losses(
    logits: &Tensor,
    truth: &Tensor,
    config: &LossConfig,
    by: [f64; PARTS],
    class_weights: Vec<f64>,
    near_boundary: Option<Tensor>,
) -> Result<(Tensor, [f32; PARTS])> {
    let near_boundary = near_boundary.map(|near| near.flatten_all()?.to_vec1()).transpose()?;
    let parts = Arc::<Mutex<[f32; PARTS]>>::default();
    let op = Losses {
        empty: config.empty_slices,
        by,
        class_weights,
        near_boundary,
        focus: (by[3] != 0.0).then_some(config.focal_gamma as f32),
        tversky: [config.tversky_alpha, config.tversky_beta],
        parts: parts.clone(),
        kept: Mutex::new(None),
    };
    let total = logits.contiguous()?.apply_op2(&truth.contiguous()?, op)?;
    let parts = *parts.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((total, parts))
}

struct Losses {
    empty: EmptySlices,
    /// What the parts are multiplied by.
    by: [f64; PARTS],
    class_weights: Vec<f64>,
    /// Of each voxel of each sample.
    near_boundary: Option<Vec<f32>>,
    /// γ of the focal loss, if it is wanted.
    focus: Option<f32>,
    /// Costs of false positives and false negatives.
    tversky: [f64; 2],
    /// The parts, for whoever asked for the losses.
    parts: Arc<Mutex<[f32; PARTS]>>,
    /// Probabilities (N, D, K, H, W), on the CPU, and sums (N, D, K), from the forward to the backward pass.
    kept: Mutex<Option<(Vec<f32>, Vec<Sums>)>>,
}

/// Sums over one slice of one class of one sample.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    p: f64,
    y: f64,
    yp: f64,
    /// Σ ω y and −Σ ω y log p, ω the weights of the voxels.
    weight: f64,
    entropy: f64,
    /// −Σ y (1 − p)^γ log p.
    focal: f64,
    /// Σ (u, v) p and Σ (u, v) y.
    at_p: [f64; 2],
    at_y: [f64; 2],
}

impl Sums {
    /// Distance of the centres as a vector from the truth's to the prediction's, and its length.
    fn apart(&self) -> ([f64; 2], f64) {
        let apart =
            [0, 1].map(|i| self.at_p[i] / (self.p + EPSILON_MASS) - self.at_y[i] / (self.y + EPSILON_MASS));
        (apart, (apart[0] * apart[0] + apart[1] * apart[1] + EPSILON_LENGTH).sqrt())
    }

    fn add(&mut self, other: &Self) {
        self.p += other.p;
        self.y += other.y;
        self.yp += other.yp;
        self.weight += other.weight;
        self.entropy += other.entropy;
        self.focal += other.focal;
    }
}

/// (N, K, D, H, W).
#[derive(Clone, Copy)]
struct Dims {
    batch: usize,
    classes: usize,
    size: [usize; 3],
}

impl Dims {
    fn new(layout: &Layout) -> Result<Self> {
        let (batch, classes, d, h, w) = layout.shape().dims5()?;
        Ok(Self { batch, classes, size: [d, h, w] })
    }

    fn slice(&self) -> usize {
        self.size[1] * self.size[2]
    }

    /// Where slice `z` of class `k` of sample `n` begins.
    fn at(&self, n: usize, k: usize, z: usize) -> usize {
        ((n * self.classes + k) * self.size[0] + z) * self.slice()
    }

    /// Sums of each class over all samples and slices.
    fn totals(&self, sums: &[Sums]) -> Vec<Sums> {
        let mut totals = vec![Sums::default(); self.classes];
        for (i, sums) in sums.iter().enumerate() {
            totals[i % self.classes].add(sums);
        }
        totals
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a tensor that is not contiguous came to the losses"),
    }
}

/// e^x for x ≤ 0, to 2e-7 of its value and not below e^−87: 2^n times a polynomial in the rest, which
/// vectorises. NaN stays NaN.
fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // `max` would make -87 of NaN.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the product with n is exact.
    let rest = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let polynomial = [0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_2e-3, 1.987_569_1e-4];
    let mut sum = polynomial[5];
    for i in (0..5).rev() {
        sum = sum * rest + polynomial[i];
    }
    let mantissa = sum * rest * rest + rest + 1.0;
    mantissa * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// Softmax of one row of each class, from `z` to `p`; and log Σ e^(z − max) + max of each voxel.
fn softmax_row(z: &[&[f32]], p: &mut [Vec<f32>], log: &mut [f32]) {
    let mut most = z[0].to_vec();
    for z in &z[1..] {
        for (most, &z) in most.iter_mut().zip(*z) {
            *most = most.max(z);
        }
    }
    log.fill(0.0);
    for (z, p) in z.iter().zip(p.iter_mut()) {
        for (((p, &z), &most), sum) in p.iter_mut().zip(*z).zip(&most).zip(log.iter_mut()) {
            *p = exp(z - most);
            *sum += *p;
        }
    }
    for p in p.iter_mut() {
        for (p, &sum) in p.iter_mut().zip(log.iter()) {
            *p /= sum;
        }
    }
    for (log, most) in log.iter_mut().zip(most) {
        *log = log.ln() + most;
    }
}

/// What the parts are divided by.
struct Totals {
    /// Voxels that count.
    voxels: f64,
    /// Σ w over the foreground classes.
    foreground: f64,
    /// Σ w ω over the voxels, and Σ w.
    entropy: f64,
    focal: f64,
}

impl Losses {
    /// The weighted sum of the parts, which are put down.
    fn total(&self, parts: [f32; PARTS]) -> f32 {
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = parts;
        parts.iter().zip(self.by).filter(|(_, by)| *by != 0.0).map(|(part, by)| part * by as f32).sum()
    }

    fn totals(&self, by_class: &[Sums]) -> Totals {
        let weighted = |of: &dyn Fn(&Sums) -> f64| {
            let sum: f64 = by_class.iter().zip(&self.class_weights).map(|(sums, w)| w * of(sums)).sum();
            sum.max(LEAST_WEIGHT)
        };
        Totals {
            voxels: by_class.iter().map(|sums| sums.y).sum(),
            foreground: self.class_weights[1..].iter().sum(),
            entropy: weighted(&|sums| sums.weight),
            focal: weighted(&|sums| sums.y),
        }
    }

    /// What is found of class sums, and that with what is wrong: the part, and the whole.
    fn tversky(&self, sums: &Sums) -> (f64, f64) {
        let ([alpha, beta], hit) = (self.tversky, sums.yp + ADDED_VOXELS);
        (hit, hit + alpha * (sums.p - sums.yp) + beta * (sums.y - sums.yp))
    }

    /// ω of the row at `from` of the voxels of a sample.
    fn near_boundary<'a>(&'a self, ones: &'a [f32], from: usize) -> &'a [f32] {
        self.near_boundary.as_ref().map_or(ones, |near| &near[from..from + ones.len()])
    }

    fn run(&self, dims: Dims, z: &[f32], y: &[f32]) -> [f32; PARTS] {
        let Dims { classes, size: [d, h, w], .. } = dims;
        let mut probabilities = vec![0.0; z.len()];
        let slices: Vec<Vec<Sums>> = probabilities
            .par_chunks_mut((classes * h * w).max(1))
            .enumerate()
            .map(|(task, p)| self.slice_sums(dims, task / d, task % d, z, y, p))
            .collect();
        let sums = slices.concat();
        let parts = self.parts(dims, &sums);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some((probabilities, sums));
        parts
    }

    /// The losses, from the sums (N, D, K).
    fn parts(&self, dims: Dims, sums: &[Sums]) -> [f32; PARTS] {
        let Dims { batch, classes, .. } = dims;
        let totals = dims.totals(sums);
        let all = self.totals(&totals);
        let weights = &self.class_weights;
        let (mut dice, mut center, mut tversky, mut entropy, mut focal) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (total, weight) in totals.iter().zip(weights).skip(1) {
            let both = total.y + total.p;
            let (organ, rest) = (both + EPSILON, 2.0 * all.voxels + EPSILON - both);
            dice += weight * (1.0 - total.yp / organ - (all.voxels - both + total.yp) / rest);
            let (hit, whole) = self.tversky(total);
            tversky += weight * (1.0 - hit / whole);
        }
        for sums in sums.chunks_exact(classes) {
            for (sums, weight) in sums.iter().zip(weights).skip(1) {
                if self.empty == EmptySlices::Literal || sums.y > 0.0 {
                    center += weight * sums.apart().1;
                }
            }
        }
        for (total, weight) in totals.iter().zip(weights) {
            entropy += weight * total.entropy;
            focal += weight * total.focal;
        }
        let parts = [
            dice / all.foreground,
            center / (batch as f64 * all.foreground),
            entropy / all.entropy,
            focal / all.focal,
            tversky / all.foreground,
        ];
        parts.map(|part| part as f32)
    }

    /// a + b y + c u + d v of each class of each slice (N, D, K), none for the background, and what the sums of
    /// cross-entropy and focal loss are multiplied by; `by` is the gradient for the parts.
    fn slopes(&self, dims: Dims, sums: &[Sums], by: [f64; PARTS]) -> (Vec<[f32; 4]>, [f64; 2]) {
        let Dims { batch, classes, .. } = dims;
        let totals = dims.totals(sums);
        let all = self.totals(&totals);
        // Dice and Tversky: a + b y.
        let overlaps: Vec<[f64; 2]> = totals
            .iter()
            .zip(&self.class_weights)
            .map(|(total, weight)| {
                let both = total.y + total.p;
                let (organ, rest) = (both + EPSILON, 2.0 * all.voxels + EPSILON - both);
                let back = all.voxels - both + total.yp;
                let factor = by[0] * weight / all.foreground;
                let mut terms = [
                    factor * (total.yp / (organ * organ) + 1.0 / rest - back / (rest * rest)),
                    -factor * (1.0 / organ + 1.0 / rest),
                ];
                if by[4] != 0.0 {
                    let ((hit, whole), [alpha, beta]) = (self.tversky(total), self.tversky);
                    let factor = by[4] * weight / all.foreground;
                    terms[0] += factor * hit * alpha / (whole * whole);
                    terms[1] += factor * (hit * (1.0 - alpha - beta) / (whole * whole) - 1.0 / whole);
                }
                terms
            })
            .collect();
        let term = |(i, sums): (usize, &Sums)| {
            let k = i % classes;
            if k == 0 {
                return [0.0; 4];
            }
            let mut term = [overlaps[k][0], overlaps[k][1], 0.0, 0.0];
            if by[1] != 0.0 && (self.empty == EmptySlices::Literal || sums.y > 0.0) {
                let (apart, length) = sums.apart();
                let mass = sums.p + EPSILON_MASS;
                for i in 0..2 {
                    let factor = by[1] * self.class_weights[k] / (batch as f64 * all.foreground) * apart[i]
                        / (length * mass);
                    term[0] -= factor * sums.at_p[i] / mass;
                    term[2 + i] += factor;
                }
            }
            term.map(|v| v as f32)
        };
        (sums.iter().enumerate().map(term).collect(), [by[2] / all.entropy, by[3] / all.focal])
    }

    /// The gradient for the scores, where `by` is that for the parts.
    fn gradient(&self, dims: Dims, y: &[f32], p: &[f32], sums: &[Sums], by: [f64; PARTS]) -> Vec<f32> {
        let Dims { batch, classes, size: [d, h, w] } = dims;
        let (all_terms, [entropy, focal]) = self.slopes(dims, sums, by);
        let (entropy, focal) = (entropy as f32, focal as f32);
        let weights: Vec<f32> = self.class_weights.iter().map(|&weight| weight as f32).collect();
        let ones = vec![1f32; w];
        let mut gradient = vec![0.0; p.len()];
        // The slices of each class lie apart.
        let mut slices: Vec<Vec<&mut [f32]>> = (0..batch * d).map(|_| Vec::with_capacity(classes)).collect();
        for (i, slice) in gradient.chunks_exact_mut((h * w).max(1)).enumerate() {
            slices[i / (classes * d) * d + i % d].push(slice);
        }
        slices.into_par_iter().zip(p.par_chunks((classes * h * w).max(1))).enumerate().for_each(
            |(task, (mut out, p))| {
                let (n, z) = (task / d, task % d);
                let terms = &all_terms[task * classes..][..classes];
                let [mut mean, mut truth, mut counted, mut focus] = [const { Vec::new() }; 4];
                for row in [&mut mean, &mut truth, &mut counted, &mut focus] {
                    row.resize(w, 0f32);
                }
                for v in 0..h {
                    let near = self.near_boundary(&ones, (n * d + z) * h * w + v * w);
                    let rows = |k: usize| (&p[k * h * w + v * w..][..w], &y[dims.at(n, k, z) + v * w..][..w]);
                    mean.fill(0.0);
                    truth.fill(0.0);
                    counted.fill(0.0);
                    focus.fill(0.0);
                    for (k, &weight) in weights.iter().enumerate() {
                        let (p, y) = rows(k);
                        for u in 0..w {
                            counted[u] += y[u];
                            truth[u] += weight * y[u] * near[u];
                        }
                        if let Some(gamma) = self.focus {
                            for u in (0..w).filter(|&u| y[u] != 0.0) {
                                focus[u] += focal * weight * y[u] * focal_slope(p[u], gamma);
                            }
                        }
                    }
                    for k in 0..classes {
                        let (p, y) = rows(k);
                        let [a, b, c, d] = terms[k];
                        let start = a + d * v as f32;
                        let out = &mut out[k][v * w..][..w];
                        for u in 0..w {
                            out[u] = (start + b * y[u] + c * u as f32) * counted[u];
                            mean[u] += p[u] * out[u];
                        }
                    }
                    for k in 0..classes {
                        let (p, y) = rows(k);
                        let out = &mut out[k][v * w..][..w];
                        for u in 0..w {
                            let of_class = weights[k] * y[u] * near[u];
                            out[u] = p[u] * (out[u] - mean[u]) + entropy * (p[u] * truth[u] - of_class);
                        }
                        if self.focus.is_some() {
                            for u in 0..w {
                                out[u] += focus[u] * (y[u] - p[u]);
                            }
                        }
                    }
                }
            },
        );
        gradient
    }
}

impl Losses {
    /// Sums (K) of slice `z` of sample `n`, and its probabilities (K, H, W) to `all`.
    fn slice_sums(
        &self,
        dims: Dims,
        n: usize,
        z: usize,
        scores: &[f32],
        truth: &[f32],
        all: &mut [f32],
    ) -> Vec<Sums> {
        let Dims { classes, size: [d, h, w], .. } = dims;
        let mut sums = vec![Sums::default(); classes];
        let (mut p, mut log, mut counted) = (vec![vec![0.0; w]; classes], vec![0.0; w], vec![0.0; w]);
        let ones = vec![1f32; w];
        for v in 0..h {
            let rows: Vec<&[f32]> = (0..classes).map(|k| &scores[dims.at(n, k, z) + v * w..][..w]).collect();
            softmax_row(&rows, &mut p, &mut log);
            counted.fill(0.0);
            for k in 0..classes {
                let y = &truth[dims.at(n, k, z) + v * w..][..w];
                counted.iter_mut().zip(y).for_each(|(counted, y)| *counted += y);
            }
            let near = self.near_boundary(&ones, (n * d + z) * h * w + v * w);
            for k in 0..classes {
                let y = &truth[dims.at(n, k, z) + v * w..][..w];
                let (p, sums) = (&mut p[k], &mut sums[k]);
                all[k * h * w + v * w..][..w].copy_from_slice(p);
                p.iter_mut().zip(&counted).for_each(|(p, counted)| *p *= counted);
                // A row is short enough for sums in `f32`.
                let mut row = [0f32; 6];
                for u in 0..w {
                    let at = u as f32;
                    for (sum, term) in row.iter_mut().zip([
                        p[u],
                        y[u],
                        y[u] * p[u],
                        y[u] * near[u] * (log[u] - rows[k][u]),
                        at * p[u],
                        at * y[u],
                    ]) {
                        *sum += term;
                    }
                }
                let [sum_p, sum_y, sum_yp, entropy, at_p, at_y] = row.map(f64::from);
                let weight = if self.near_boundary.is_none() {
                    sum_y
                } else {
                    y.iter().zip(near).map(|(y, near)| f64::from(y * near)).sum()
                };
                let focal = self.focus.map_or(0.0, |gamma| {
                    let named = (0..w).filter(|&u| y[u] != 0.0);
                    named.map(|u| f64::from(doubt(p[u]).powf(gamma) * (log[u] - rows[k][u]))).sum()
                });
                sums.add(&Sums { p: sum_p, y: sum_y, yp: sum_yp, weight, entropy, focal, ..Sums::default() });
                sums.at_p[0] += at_p;
                sums.at_y[0] += at_y;
                sums.at_p[1] += v as f64 * sum_p;
                sums.at_y[1] += v as f64 * sum_y;
            }
        }
        sums
    }
}

/// 1 − p, as it may be raised to a power.
fn doubt(p: f32) -> f32 {
    (1.0 - p).max(LEAST_DOUBT as f32)
}

/// F(p) = γ (1 − p)^(γ−1) p log p − (1 − p)^γ: F · (δ − p_k) is the slope of −(1 − p)^γ log p for the score
/// of class k.
fn focal_slope(p: f32, gamma: f32) -> f32 {
    let log = p.max(f32::MIN_POSITIVE).ln();
    gamma * doubt(p).powf(gamma - 1.0) * p * log - doubt(p).powf(gamma)
}

impl CustomOp2 for Losses {
    fn name(&self) -> &'static str {
        "all losses"
    }

    fn cpu_fwd(
        &self,
        z: &CpuStorage,
        z_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let parts = self.run(Dims::new(z_layout)?, values(z, z_layout)?, values(y, y_layout)?);
        Ok((CpuStorage::F32(vec![self.total(parts)]), Shape::from(())))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        z: &candle_core::CudaStorage,
        z_layout: &Layout,
        y: &candle_core::CudaStorage,
        y_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.forward_on_gpu((z, z_layout), (y, y_layout))
    }

    fn bwd(
        &self,
        z: &Tensor,
        y: &Tensor,
        _: &Tensor,
        by: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let by: f32 = by.to_scalar()?;
        let by = self.by.map(|weight| f64::from(weight as f32 * by));
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((p, sums)) = &*kept else {
            bail!("the losses' backward pass came before their forward pass")
        };
        let dims = Dims::new(z.layout())?;
        #[cfg(feature = "cuda")]
        if z.device().is_cuda() {
            return Ok((Some(self.gradient_on_gpu(dims, z, y, sums, by)?), None));
        }
        let (storage, layout) = y.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else {
            bail!("the truth is on another device than the scores")
        };
        let gradient = self.gradient(dims, values(storage, layout)?, p, sums, by);
        Ok((Some(Tensor::from_vec(gradient, z.shape(), &Device::Cpu)?), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::random_case;
    use crate::loss::{center_loss, cross_entropy, dice_loss};
    use candle_core::{DType, Var};

    #[test]
    fn the_exponential_is_good_to_the_last_digits() {
        for i in 0..9000 {
            let x = -(i as f32) * 0.01;
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) - expected).abs() <= 3e-7 * expected + 1e-37, "{x}");
        }
    }

    /// Values and gradients are those of the separate losses in doubles.
    #[test]
    fn the_losses_in_one_pass_agree_with_each_by_itself() {
        for (batch, classes, size, empty) in [
            (1, 2, [3, 4, 5], EmptySlices::Skip),
            (2, 4, [2, 5, 3], EmptySlices::Literal),
            (2, 3, [1, 1, 1], EmptySlices::Skip),
        ] {
            let (scores, truth) = random_case(batch, classes, size, 7);
            let scores = ((scores - 0.5).unwrap() * 8.0).unwrap();
            let (scores, single) = (
                Var::from_tensor(&scores).unwrap(),
                Var::from_tensor(&scores.to_dtype(DType::F32).unwrap()).unwrap(),
            );
            let p = candle_nn::ops::softmax(scores.as_tensor(), 1).unwrap();
            let expected = [
                dice_loss(&p, &truth).unwrap(),
                center_loss(&p, &truth, empty).unwrap(),
                cross_entropy(scores.as_tensor(), &truth).unwrap(),
            ];
            let config = LossConfig { empty_slices: empty, ..LossConfig::default() };
            let (single_truth, weights) = (truth.to_dtype(DType::F32).unwrap(), vec![1.0; classes]);
            for (i, expected) in expected.iter().enumerate() {
                let mut by = [0.0; PARTS];
                by[i] = 1.0;
                let (part, _) =
                    all_losses(single.as_tensor(), &single_truth, &config, by, weights.clone(), None)
                        .unwrap();
                let (value, wanted) =
                    (part.to_scalar::<f32>().unwrap(), expected.to_scalar::<f64>().unwrap());
                assert!((f64::from(value) - wanted).abs() < 1e-5 * (1.0 + wanted), "{i}: {value} {wanted}");
                let gradient = |loss: &Tensor, of: &Var| -> Vec<f64> {
                    let gradients = loss.backward().unwrap();
                    let gradient = gradients.get(of.as_tensor()).unwrap().to_dtype(DType::F64).unwrap();
                    gradient.flatten_all().unwrap().to_vec1().unwrap()
                };
                let (found, expected) = (gradient(&part, &single), gradient(expected, &scores));
                let scale = expected.iter().fold(1e-4f64, |most, v| most.max(v.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-4 * scale, "{i}: {found} {expected}");
                }
            }
        }
    }
}
