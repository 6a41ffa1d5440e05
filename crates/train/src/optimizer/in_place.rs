//! A step of an optimizer in place, on the CPU.
//!
//! The same formulas as the tensor operations that do it for other numbers. Those make a tensor each, some
//! fifteen passes over memory instead of three.

use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Sub};

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Storage, Tensor, Var, bail};
use rayon::prelude::*;

use super::{OptimizerConfig, Step, decay_of, state_of};

/// Numbers that a task takes: enough to be worth one.
const CHUNK: usize = 1 << 14;

impl Step {
    /// Moves `variable` and its state, whose names begin with `name`, along `gradient`.
    pub(super) fn in_place(
        &self,
        state: &mut HashMap<String, Tensor>,
        name: &str,
        variable: &Var,
        gradient: &Tensor,
    ) -> Result<()> {
        let Self { rate, scale, .. } = *self;
        let mut part = |suffix: &str| state_of(state, name, suffix, variable);
        match self.config {
            OptimizerConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let (m, v) = (part("m")?, part("v")?);
                let mean = Mean { keep: beta1, scale };
                m.inplace_op3(gradient, gradient, &Each(mean))?;
                let mean_square = MeanSquare { keep: beta2, scale };
                v.inplace_op3(gradient, gradient, &Each(mean_square))?;
                let step = AdamStep {
                    keep: 1.0 - rate * decay_of(variable, weight_decay),
                    rate: rate / (1.0 - beta1.powi(self.number)),
                    square_scale: 1.0 / (1.0 - beta2.powi(self.number)),
                    epsilon,
                };
                variable.inplace_op3(&m, &v, &Each(step))
            }
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                let b = part("b")?;
                let decay = decay_of(variable, weight_decay);
                b.inplace_op3(gradient, variable, &Each(Momentum { keep: momentum, scale, decay }))?;
                let step = if nesterov {
                    SgdStep { keep: 1.0 - rate * decay, gradient: rate * scale, momentum: rate * momentum }
                } else {
                    SgdStep { keep: 1.0, gradient: 0.0, momentum: rate }
                };
                variable.inplace_op3(gradient, &b, &Each(step))
            }
        }
    }
}

/// `old` ← `keep` · `old` + (1 − `keep`) · `new`.
pub(super) fn move_towards(old: &Tensor, new: &Tensor, keep: f64) -> Result<()> {
    old.inplace_op3(new, new, &Each(Mean { keep, scale: 1.0 }))
}

/// Σ g² of a contiguous tensor on the CPU.
pub(super) fn sum_of_squares(tensor: &Tensor) -> Result<f64> {
    fn sum<T: Number + Into<f64>>(values: &[T]) -> f64 {
        // Pieces of one size, added in order: the same sum for any number of threads.
        let piece = |values: &[T]| values.iter().map(|&v| v.into() * v.into()).sum::<f64>();
        values.par_chunks(CHUNK).map(piece).collect::<Vec<_>>().into_iter().sum()
    }
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(sum(contiguous(values, layout)?)),
        Storage::Cpu(CpuStorage::F64(values)) => Ok(sum(contiguous(values, layout)?)),
        _ => bail!("gradients are f32 or f64 on the CPU, found {:?}", tensor.dtype()),
    }
}

/// `f32` and `f64`.
trait Number:
    Copy + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn of(value: f64) -> Self;
    fn root(self) -> Self;
}

impl Number for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn root(self) -> Self {
        self.sqrt()
    }
}

impl Number for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn root(self) -> Self {
        self.sqrt()
    }
}

/// What becomes of a number beside those at its place in two other tensors.
trait Rule: Sync {
    fn apply<T: Number>(&self, old: T, x: T, y: T) -> T;
}

/// m ← keep · m + (1 − keep) · scale · g.
struct Mean {
    keep: f64,
    scale: f64,
}

impl Rule for Mean {
    fn apply<T: Number>(&self, m: T, g: T, _: T) -> T {
        T::of(self.keep) * m + T::of((1.0 - self.keep) * self.scale) * g
    }
}

/// v ← keep · v + (1 − keep) · (scale · g)²: scaled first, for the square of a gradient that is to be
/// clipped may be more than the type holds.
struct MeanSquare {
    keep: f64,
    scale: f64,
}

impl Rule for MeanSquare {
    fn apply<T: Number>(&self, v: T, g: T, _: T) -> T {
        let g = T::of(self.scale) * g;
        T::of(self.keep) * v + T::of(1.0 - self.keep) * (g * g)
    }
}

/// θ ← keep · θ − rate · m / (√(square_scale · v) + ε).
struct AdamStep {
    keep: f64,
    rate: f64,
    square_scale: f64,
    epsilon: f64,
}

impl Rule for AdamStep {
    fn apply<T: Number>(&self, theta: T, m: T, v: T) -> T {
        let root = (T::of(self.square_scale) * v).root() + T::of(self.epsilon);
        T::of(self.keep) * theta - T::of(self.rate) * m / root
    }
}

/// b ← keep · b + scale · g + decay · θ.
struct Momentum {
    keep: f64,
    scale: f64,
    decay: f64,
}

impl Rule for Momentum {
    fn apply<T: Number>(&self, b: T, g: T, theta: T) -> T {
        T::of(self.keep) * b + T::of(self.scale) * g + T::of(self.decay) * theta
    }
}

/// θ ← keep · θ − gradient · g − momentum · b.
struct SgdStep {
    keep: f64,
    gradient: f64,
    momentum: f64,
}

impl Rule for SgdStep {
    fn apply<T: Number>(&self, theta: T, g: T, b: T) -> T {
        T::of(self.keep) * theta - T::of(self.gradient) * g - T::of(self.momentum) * b
    }
}

/// A rule for each number of a tensor.
struct Each<R>(R);

impl<R: Rule> Each<R> {
    fn run<T: Number>(&self, to: &mut [T], x: &[T], y: &[T]) -> Result<()> {
        if (x.len(), y.len()) != (to.len(), to.len()) {
            let (n, x, y) = (to.len(), x.len(), y.len());
            bail!("an optimizer's step for {n} numbers came with {x} and {y} of gradient and state");
        }
        to.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(y.par_chunks(CHUNK)).for_each(
            |((to, x), y)| {
                for ((to, &x), &y) in to.iter_mut().zip(x).zip(y) {
                    *to = self.0.apply(*to, x, y);
                }
            },
        );
        Ok(())
    }
}

impl<R: Rule> InplaceOp3 for Each<R> {
    fn name(&self) -> &'static str {
        "an optimizer's step"
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        to_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<()> {
        let Some((from, end)) = to_layout.contiguous_offsets() else {
            bail!("a variable that is not contiguous came to an optimizer's step")
        };
        match (to, x, y) {
            (CpuStorage::F32(to), CpuStorage::F32(x), CpuStorage::F32(y)) => {
                self.run(&mut to[from..end], contiguous(x, x_layout)?, contiguous(y, y_layout)?)
            }
            (CpuStorage::F64(to), CpuStorage::F64(x), CpuStorage::F64(y)) => {
                self.run(&mut to[from..end], contiguous(x, x_layout)?, contiguous(y, y_layout)?)
            }
            _ => bail!("a variable, its gradient and its state are all f32 or all f64"),
        }
    }
}

fn contiguous<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => bail!("a tensor that is not contiguous came to an optimizer's step"),
    }
}
