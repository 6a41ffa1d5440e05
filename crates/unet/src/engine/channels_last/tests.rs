//! The network on tensors with the channels last, on every device there is, against the one made of candle's operations on
//! the CPU, both in `f64`.

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use organseg_conv3d::self_test::{devices, distance};

use super::*;
use crate::engine::shared::Statistics;
use crate::engine::{Heads, Keep, by_operations};
use crate::{Downsampling, Norm, Skips, UnetConfig, initialize};

/// Both compute in `f64`, in another order.
const TOLERANCE: f64 = 1e-9;

#[test]
fn scores_and_gradients_are_those_of_the_operations() {
    let base = || UnetConfig::new(1, 3).with_channels(vec![3, 5, 8]);
    for config in [
        base(),
        base().with_downsampling(Downsampling::Strided),
        UnetConfig { norm: Norm::None, ..base() },
        UnetConfig { bias: true, skips: Skips::RaisedFirst, deep_supervision: 1, ..base() },
        UnetConfig { in_channels: 6, ..base() },
    ] {
        let plan = Plan::new(&config);
        assert!(supports(&plan), "{config:?}");
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
        let parameters: Vec<Tensor> = plan
            .parameters
            .iter()
            .map(|spec| {
                let start = candle_nn::Init::Randn { mean: spec.start, stdev: 0.3 };
                vb.get_with_hints(spec.shape.as_slice(), &spec.name, start).unwrap()
            })
            .collect();
        initialize(&variables, 3).unwrap();
        let image = Tensor::randn(0f64, 1.0, (2, config.in_channels, 8, 12, 4), &Device::Cpu).unwrap();
        let (expected, _) = by_operations(&plan, &parameters, &image, Heads::All, Statistics::Batch).unwrap();
        let mut weights = Vec::new();
        let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
        for expected in &expected {
            let weight = Tensor::randn(0f64, 1.0, expected.shape(), &Device::Cpu).unwrap();
            loss = (loss + (expected * &weight).unwrap().sum_all().unwrap()).unwrap();
            weights.push(weight);
        }
        let store = loss.backward().unwrap();
        for device in devices() {
            let there = |all: &[Tensor]| -> Vec<Tensor> {
                all.iter().map(|one| one.detach().to_device(&device).unwrap()).collect()
            };
            let image = image.to_device(&device).unwrap();
            let job = Job { plan: &plan, parameters: &there(&parameters), image: &image, number: DType::F64 };
            let found = run(&job, Heads::All, Keep::All).unwrap();
            assert_eq!(found.scores.len(), expected.len());
            for (found, expected) in found.scores.iter().zip(&expected) {
                assert!(distance(found, expected).unwrap() < TOLERANCE, "{config:?} on {device:?}");
            }
            let all = gradients(&job, found.values, &there(&weights)).unwrap();
            for ((parameter, spec), found) in parameters.iter().zip(plan.parameters.iter()).zip(all) {
                let (found, expected) = (found.unwrap(), store.get(parameter).unwrap());
                assert_eq!(found.dims(), expected.dims(), "{}", spec.name);
                // What has no effect has a gradient of rounding errors alone.
                let size = expected.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
                if size > 1e-9 {
                    let apart = distance(&found, expected).unwrap();
                    assert!(apart < TOLERANCE, "{config:?} on {device:?}: {}: {apart}", spec.name);
                }
            }
        }
    }
}

#[test]
fn values_are_dropped_after_their_last_reader() {
    let plan = Plan::new(&UnetConfig::new(1, 2).with_channels(vec![4, 8]));
    let parameters: Vec<Tensor> = plan
        .parameters
        .iter()
        .map(|spec| Tensor::ones(spec.shape.as_slice(), DType::F32, &Device::Cpu).unwrap())
        .collect();
    let image = Tensor::randn(0f32, 1.0, (1, 1, 4, 4, 4), &Device::Cpu).unwrap();
    let job = Job { plan: &plan, parameters: &parameters, image: &image, number: DType::F32 };
    let out = run(&job, Heads::Own, Keep::UntilRead).unwrap();
    assert!(out.values.iter().all(Option::is_none));
}
