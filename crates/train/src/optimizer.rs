//! AdamW and SGD with momentum, whose state can be saved and taken up again.
//!
//! AdamW (Loshchilov & Hutter 2019): m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,
//! θ ← θ (1 − η λ) − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε).
//! SGD: b ← μ b + g + λ θ, θ ← θ − η (g + λ θ + μ b) with Nesterov's look-ahead, θ − η b without.
//! Weight decay λ applies to convolution weights, not to biases, scales and shifts.

use std::collections::{BTreeMap, HashMap};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use serde::{Deserialize, Serialize};

use crate::TrainError;

mod by_operations;
mod in_place;
#[cfg(feature = "cuda")]
mod on_gpu;

/// Which optimizer, with its constants; the learning rate comes with each step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay: `adam_w`, or `adamw`. By default with PyTorch's constants and λ = 1e-2.
    #[serde(alias = "adamw")]
    AdamW {
        /// Decay of the running mean of the gradient.
        #[serde(default = "of_adamw::beta1")]
        beta1: f64,
        /// Decay of the running mean of its square.
        #[serde(default = "of_adamw::beta2")]
        beta2: f64,
        /// Added to the root.
        #[serde(default = "of_adamw::epsilon")]
        epsilon: f64,
        /// λ.
        #[serde(default = "of_adamw::weight_decay")]
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum: `sgd`. By default nnU-Net's: μ = 0.99, looking ahead, λ = 3e-5.
    Sgd {
        /// μ.
        #[serde(default = "of_sgd::momentum")]
        momentum: f64,
        /// Whether to look ahead.
        #[serde(default = "of_sgd::nesterov")]
        nesterov: bool,
        /// λ.
        #[serde(default = "of_sgd::weight_decay")]
        weight_decay: f64,
    },
}

/// What a table without these fields means.
mod of_adamw {
    pub(super) fn beta1() -> f64 {
        0.9
    }
    pub(super) fn beta2() -> f64 {
        0.999
    }
    pub(super) fn epsilon() -> f64 {
        1e-8
    }
    pub(super) fn weight_decay() -> f64 {
        1e-2
    }
}

/// What a table without these fields means.
mod of_sgd {
    pub(super) fn momentum() -> f64 {
        0.99
    }
    pub(super) fn nesterov() -> bool {
        true
    }
    pub(super) fn weight_decay() -> f64 {
        3e-5
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        let weight_decay = of_adamw::weight_decay();
        Self::AdamW {
            beta1: of_adamw::beta1(),
            beta2: of_adamw::beta2(),
            epsilon: of_adamw::epsilon(),
            weight_decay,
        }
    }
}

impl OptimizerConfig {
    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the field.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let decay = |field, x: f64| match x {
            0.0..1.0 => Ok(()),
            _ => Err(TrainError::Config { field, found: x.to_string(), expected: "0 or more and below 1" }),
        };
        let (&Self::AdamW { weight_decay, .. } | &Self::Sgd { weight_decay, .. }) = self;
        if !(weight_decay.is_finite() && weight_decay >= 0.0) {
            let found = weight_decay.to_string();
            return Err(TrainError::Config {
                field: "optimizer.weight_decay",
                found,
                expected: "0 or a positive number",
            });
        }
        match *self {
            Self::AdamW { beta1, beta2, epsilon, .. } => {
                decay("optimizer.beta1", beta1)?;
                decay("optimizer.beta2", beta2)?;
                if epsilon.is_finite() && epsilon > 0.0 {
                    return Ok(());
                }
                let found = epsilon.to_string();
                Err(TrainError::Config { field: "optimizer.epsilon", found, expected: "a positive number" })
            }
            Self::Sgd { momentum, .. } => decay("optimizer.momentum", momentum),
        }
    }
}

/// An optimizer over the variables of a network.
pub struct Optimizer {
    config: OptimizerConfig,
    /// Sorted by name, so that sums over all of them have one order.
    variables: BTreeMap<String, Var>,
    /// `NAME/m` and `NAME/v` (AdamW) or `NAME/b` (SGD); absent before the first step.
    state: HashMap<String, Tensor>,
    steps: u64,
}

impl Optimizer {
    /// An optimizer that has made no step yet. On a GPU all variables are of one type.
    #[must_use]
    pub fn new(config: OptimizerConfig, variables: &VarMap) -> Self {
        let data = variables.data().lock().expect("no thread panicked while holding the variables");
        let variables = data.iter().map(|(name, variable)| (name.clone(), variable.clone())).collect();
        Self { config, variables, state: HashMap::new(), steps: 0 }
    }

    /// Steps made so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Everything that the next step depends on, for a checkpoint. Steps change these tensors in place: copy
    /// what is to outlast the next one.
    #[must_use]
    pub fn state(&self) -> &HashMap<String, Tensor> {
        &self.state
    }

    /// Takes up where an optimizer with this state stood after `steps` steps. The state is copied.
    ///
    /// # Errors
    /// [`TrainError::Optimizer`] for state that is not of this optimizer's variables: another name, shape
    /// or type, or numbers that are not finite. Nothing changes then.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>, steps: u64) -> Result<(), TrainError> {
        let mut copies = HashMap::with_capacity(state.len());
        for (name, tensor) in state {
            self.check_state(name, tensor)?;
            copies.insert(name.clone(), tensor.copy()?);
        }
        self.state = copies;
        self.steps = steps;
        Ok(())
    }

    fn check_state(&self, name: &str, tensor: &Tensor) -> Result<(), TrainError> {
        let refuse = |reason: String| Err(TrainError::Optimizer { name: name.to_string(), reason });
        let variable = name.rsplit_once('/').and_then(|(variable, _)| self.variables.get(variable));
        let Some(variable) = variable else {
            return refuse("the network has no such variable".into());
        };
        if (tensor.dims(), tensor.dtype()) != (variable.dims(), variable.dtype()) {
            let (found, expected) = (tensor.dims(), variable.dims());
            let (found_type, expected_type) = (tensor.dtype().as_str(), variable.dtype().as_str());
            return refuse(format!("found {found:?} {found_type}, expected {expected:?} {expected_type}"));
        }
        let sum = tensor.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
        if sum.is_finite() { Ok(()) } else { refuse("it holds numbers that are not finite".into()) }
    }

    /// One step down `gradients` with learning rate `rate`. If `clip_norm` is given, the gradients are
    /// first scaled down to have at most that Euclidean norm over all variables. Returns the norm
    /// before.
    ///
    /// # Errors
    /// [`TrainError::Candle`] if a tensor operation fails. Nothing changes if the norm is not finite.
    pub fn step(
        &mut self,
        gradients: &GradStore,
        rate: f64,
        clip_norm: Option<f64>,
    ) -> Result<f64, TrainError> {
        self.step_scaled(gradients, rate, clip_norm, 1.0)
    }

    /// As [`Optimizer::step`], down `factor` times `gradients`: those of a loss that was scaled up are scaled back, before
    /// they are clipped.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn step_scaled(
        &mut self,
        gradients: &GradStore,
        rate: f64,
        clip_norm: Option<f64>,
        factor: f64,
    ) -> Result<f64, TrainError> {
        let norm = factor * self.gradient_norm(gradients)?;
        if !norm.is_finite() {
            return Ok(norm);
        }
        self.steps += 1;
        let scale = factor * clip_norm.map_or(1.0, |limit| (limit / norm).min(1.0));
        let Self { config, variables, state, steps } = self;
        let step = Step { config: *config, rate, scale, number: *steps as i32 };
        #[cfg(feature = "cuda")]
        let mut on_gpu = Vec::new();
        for (name, variable) in variables.iter() {
            // Off the graph: a state that remembers its history would keep every step's in memory.
            let Some(gradient) = gradients.get(variable.as_tensor()).map(Tensor::detach) else { continue };
            match Way::of(&gradient) {
                Way::InPlace => step.in_place(state, name, variable, &gradient.contiguous()?)?,
                #[cfg(feature = "cuda")]
                Way::OnGpu => on_gpu.push((name.as_str(), variable, gradient.contiguous()?)),
                Way::ByOperations => step.by_operations(state, name, variable, &gradient)?,
            }
        }
        #[cfg(feature = "cuda")]
        step.on_gpu(state, &on_gpu)?;
        Ok(norm)
    }

    /// Euclidean norm of the gradients of all variables together.
    fn gradient_norm(&self, gradients: &GradStore) -> Result<f64, TrainError> {
        let mut sum = 0.0;
        #[cfg(feature = "cuda")]
        let mut on_gpu = Vec::new();
        // What is elsewhere is added up there: each number that is asked for has to be waited for.
        let mut elsewhere: Option<Tensor> = None;
        for variable in self.variables.values() {
            let Some(gradient) = gradients.get(variable.as_tensor()) else { continue };
            match Way::of(gradient) {
                Way::InPlace => sum += in_place::sum_of_squares(&gradient.contiguous()?)?,
                #[cfg(feature = "cuda")]
                Way::OnGpu => on_gpu.push(gradient.contiguous()?),
                Way::ByOperations => {
                    let squares = by_operations::sum_of_squares(gradient)?;
                    elsewhere = Some(match elsewhere {
                        Some(sum) => (sum + squares)?,
                        None => squares,
                    });
                }
            }
        }
        #[cfg(feature = "cuda")]
        {
            sum += organseg_unet::conv3d::cuda::sum_of_squares(&on_gpu)?;
        }
        if let Some(elsewhere) = elsewhere {
            sum += elsewhere.to_scalar::<f64>()?;
        }
        Ok(sum.sqrt())
    }
}

/// `keep` · old + (1 − `keep`) · new for each of `new`, by its name among `old`: in place where that is known how.
pub(crate) fn move_towards(
    old: &mut HashMap<String, Tensor>,
    new: &[(&str, Tensor)],
    keep: f64,
) -> candle_core::Result<()> {
    #[cfg(feature = "cuda")]
    let mut on_gpu = Vec::new();
    for (name, new) in new {
        let Some(old) = old.get_mut(*name) else { candle_core::bail!("{name}: there is no average of it") };
        match Way::of(old) {
            Way::InPlace => in_place::move_towards(old, new, keep)?,
            #[cfg(feature = "cuda")]
            Way::OnGpu => on_gpu.push([old.clone(), new.clone()]),
            Way::ByOperations => *old = ((&*old * keep)? + (new * (1.0 - keep))?)?,
        }
    }
    #[cfg(feature = "cuda")]
    on_gpu::move_towards(&on_gpu, keep)?;
    Ok(())
}

/// How a tensor is changed.
enum Way {
    /// By [`in_place`].
    InPlace,
    /// By [`on_gpu`], together with all others.
    #[cfg(feature = "cuda")]
    OnGpu,
    /// By candle's operations.
    ByOperations,
}

impl Way {
    fn of(tensor: &Tensor) -> Self {
        match (tensor.device(), tensor.dtype()) {
            (Device::Cpu, DType::F32 | DType::F64) => Self::InPlace,
            #[cfg(feature = "cuda")]
            (Device::Cuda(_), DType::F32 | DType::F64) => Self::OnGpu,
            _ => Self::ByOperations,
        }
    }
}

/// Part `suffix` of the state of a variable; zeros before the first step.
fn state_of(
    state: &mut HashMap<String, Tensor>,
    name: &str,
    suffix: &str,
    variable: &Var,
) -> candle_core::Result<Tensor> {
    let key = format!("{name}/{suffix}");
    if let Some(known) = state.get(&key) {
        return Ok(known.clone());
    }
    let zeros = variable.as_detached_tensor().zeros_like()?;
    state.insert(key, zeros.clone());
    Ok(zeros)
}

/// One step for one variable after the other.
struct Step {
    config: OptimizerConfig,
    rate: f64,
    /// Factor of the gradients.
    scale: f64,
    /// Which step it is, from 1 on.
    number: i32,
}

/// λ for weights of convolutions, 0 for vectors.
fn decay_of(value: &Tensor, weight_decay: f64) -> f64 {
    if value.rank() > 1 { weight_decay } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_nn::{Init, VarBuilder};
    use organseg_unet::conv3d::self_test::devices;

    /// Three steps of rate 0.1 on θ = (1, −2) with the loss Σ θ⁴ / 4, as PyTorch makes them in f64.
    fn three_steps(config: OptimizerConfig) -> Vec<f64> {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
        let theta = vb.get_with_hints((2, 1), "theta", Init::Const(1.0)).unwrap();
        let start = Tensor::new(&[[1f64], [-2.0]], &Device::Cpu).unwrap();
        variables.data().lock().unwrap()["theta"].set(&start).unwrap();
        let mut optimizer = Optimizer::new(config, &variables);
        for _ in 0..3 {
            let loss = (theta.powf(4.0).unwrap().sum_all().unwrap() / 4.0).unwrap();
            optimizer.step(&loss.backward().unwrap(), 0.1, None).unwrap();
        }
        theta.flatten_all().unwrap().to_vec1().unwrap()
    }

    const ADAMW: [f64; 2] = [0.704931843375596, -1.6969592574887535];
    const SGD: [f64; 2] = [0.5461659065872371, 0.5054639902984533];
    const NESTEROV: [f64; 2] = [0.4600019173593164, 0.7868571485187398];

    fn assert_close(found: &[f64], expected: [f64; 2]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        }
    }

    #[test]
    fn a_table_says_only_what_is_not_as_usual() {
        let read = |text: &str| toml::from_str::<OptimizerConfig>(text).unwrap();
        for name in ["adam_w", "adamw"] {
            assert_eq!(read(&format!("kind = '{name}'")), OptimizerConfig::default());
        }
        let sgd = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 3e-5 };
        assert_eq!(read("kind = 'sgd'\nmomentum = 0.9"), sgd);
        assert!(toml::from_str::<OptimizerConfig>("kind = 'sgd'\nbeta1 = 0.9").is_err());
    }

    #[test]
    fn adamw_is_pytorch_s() {
        assert_close(&three_steps(OptimizerConfig::default()), ADAMW);
    }

    #[test]
    fn sgd_is_pytorch_s() {
        let sgd = |nesterov| OptimizerConfig::Sgd { momentum: 0.9, nesterov, weight_decay: 0.01 };
        assert_close(&three_steps(sgd(false)), SGD);
        assert_close(&three_steps(sgd(true)), NESTEROV);
    }

    #[test]
    fn a_step_in_place_is_the_step_by_operations() {
        let sgd = |nesterov| OptimizerConfig::Sgd { momentum: 0.9, nesterov, weight_decay: 0.01 };
        let configs = [OptimizerConfig::default(), sgd(false), sgd(true)];
        for (device, config) in devices().iter().flat_map(|device| configs.map(|config| (device, config))) {
            let start = Tensor::new(&[[1f64, -2.0, 0.5]], device).unwrap();
            let variables = [(); 2].map(|()| Var::from_tensor(&start).unwrap());
            let mut states = [HashMap::new(), HashMap::new()];
            for number in 1..4 {
                let step = Step { config, rate: 0.1, scale: 0.7, number };
                let gradient = (variables[0].as_detached_tensor().powf(3.0).unwrap() + 0.1).unwrap();
                match Way::of(&gradient) {
                    Way::InPlace => step.in_place(&mut states[0], "x", &variables[0], &gradient).unwrap(),
                    #[cfg(feature = "cuda")]
                    Way::OnGpu => {
                        let all = [("x", &variables[0], gradient.clone())];
                        step.on_gpu(&mut states[0], &all).unwrap();
                    }
                    Way::ByOperations => panic!("there is a faster way"),
                }
                step.by_operations(&mut states[1], "x", &variables[1], &gradient).unwrap();
            }
            let [found, expected] =
                variables.map(|variable| variable.flatten_all().unwrap().to_vec1::<f64>().unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-14, "{found}, expected {expected}");
            }
        }
    }

    #[test]
    fn the_norm_of_a_huge_gradient_is_finite_on_every_device() {
        let gradient = Tensor::new(&[3e20f32, 4e20], &Device::Cpu).unwrap();
        let elsewhere = by_operations::sum_of_squares(&gradient).unwrap().to_scalar::<f64>().unwrap();
        for sum in [elsewhere, in_place::sum_of_squares(&gradient).unwrap()] {
            assert!((sum.sqrt() / 5e20 - 1.0).abs() < 1e-6);
        }
    }

    /// One variable of one number, and steps of it down the given gradients in `f32`.
    fn stepped(optimizer: &mut Optimizer, theta: &Tensor, slopes: &[f32], clip: Option<f64>) -> f32 {
        for &slope in slopes {
            let loss = (theta * f64::from(slope)).unwrap().sum_all().unwrap();
            optimizer.step(&loss.backward().unwrap(), 0.1, clip).unwrap();
        }
        theta.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
    }

    fn one_number() -> (VarMap, Tensor) {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let theta = vb.get_with_hints(1, "theta", Init::Const(0.0)).unwrap();
        (variables, theta)
    }

    /// Its square is more than f32 holds, its clipped square is not.
    #[test]
    fn a_huge_gradient_that_is_clipped_does_not_stop_later_steps() {
        let (variables, theta) = one_number();
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &variables);
        let after = stepped(&mut optimizer, &theta, &[1e20], Some(1.0));
        assert!((after + 0.1).abs() < 1e-3, "{after}");
        assert!(stepped(&mut optimizer, &theta, &[1.0], Some(1.0)) < after - 0.05);
    }

    /// Clipped is the gradient of the loss as it is, and not of the one that was scaled up.
    #[test]
    fn a_scaled_loss_makes_the_step_of_the_loss_itself() {
        let after = |factor: f64, clip: Option<f64>| {
            let (variables, theta) = one_number();
            let sgd = OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
            let mut optimizer = Optimizer::new(sgd, &variables);
            let loss = (&theta * (0.5 * factor)).unwrap().sum_all().unwrap();
            let norm = optimizer.step_scaled(&loss.backward().unwrap(), 0.1, clip, 1.0 / factor).unwrap();
            assert_eq!(norm, 0.5);
            theta.to_vec1::<f32>().unwrap()[0]
        };
        assert_eq!(after(1.0, None), after(1024.0, None));
        assert_eq!(after(1.0, Some(0.25)), after(1024.0, Some(0.25)));
        assert_eq!(after(1024.0, Some(2.0)), after(1.0, None));
    }

    #[test]
    fn restored_state_is_a_copy_that_steps_leave_alone() {
        let (variables, theta) = one_number();
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &variables);
        stepped(&mut optimizer, &theta, &[1.0, -2.0], None);
        let copy = |state: &HashMap<String, Tensor>| -> HashMap<String, Tensor> {
            state.iter().map(|(name, tensor)| (name.clone(), tensor.copy().unwrap())).collect()
        };
        let (saved, steps) = (copy(optimizer.state()), optimizer.steps());
        let place = theta.copy().unwrap();
        let again = |optimizer: &mut Optimizer| {
            variables.data().lock().unwrap()["theta"].set(&place).unwrap();
            optimizer.restore(&saved, steps).unwrap();
            stepped(optimizer, &theta, &[3.0, 0.5], None)
        };
        let first = again(&mut optimizer);
        assert_eq!(first.to_bits(), again(&mut optimizer).to_bits());
    }

    #[test]
    fn state_of_another_network_is_refused() {
        let (variables, _) = one_number();
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &variables);
        let of = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let cases = [
            ("theta/m", of(&[1.0, 2.0]), "expected [1]"),
            ("other/m", of(&[1.0]), "no such variable"),
            ("theta/v", of(&[f32::INFINITY]), "not finite"),
        ];
        for (name, tensor, reason) in cases {
            let state = HashMap::from([(name.to_string(), tensor)]);
            let error = optimizer.restore(&state, 1).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
        assert_eq!(optimizer.steps(), 0);
    }

    #[test]
    fn clipping_scales_the_step_and_reports_the_norm_before() {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
        let theta = vb.get_with_hints(2, "theta", Init::Const(0.0)).unwrap();
        let sgd = OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
        let mut optimizer = Optimizer::new(sgd, &variables);
        let slope = Tensor::new(&[3f64, 4.0], &Device::Cpu).unwrap();
        let gradients = (&theta * slope).unwrap().sum_all().unwrap().backward().unwrap();
        assert!((optimizer.step(&gradients, 1.0, Some(1.0)).unwrap() - 5.0).abs() < 1e-12);
        assert_close(&theta.to_vec1().unwrap(), [-0.6, -0.8]);
    }
}
