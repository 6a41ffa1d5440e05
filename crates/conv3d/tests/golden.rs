//! Every operation and its gradients against PyTorch, on every device there is; `golden/make_golden.py` made the numbers.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor, Var};
use organseg_conv3d::{
    Activation, Conv3dParams, conv_transpose3d, conv3d, instance_norm, max_pool3d, self_test,
    upsample_nearest3d, upsample_trilinear3d,
};
use serde_json::Value;

/// Agreement asked of each number, relative to the largest of its tensor: both sides compute in f32.
const TOLERANCE: f64 = 1e-4;

fn triple(value: &Value) -> [usize; 3] {
    [0, 1, 2].map(|a| value[a].as_u64().unwrap() as usize)
}

fn run(case: &Value, argument: &dyn Fn(&str) -> Option<Tensor>) -> Result<Tensor> {
    let x = argument("x").unwrap();
    let (weight, bias) = (argument("weight"), argument("bias"));
    match case["op"].as_str().unwrap() {
        "conv3d" => {
            let params = Conv3dParams {
                stride: triple(&case["stride"]),
                padding: triple(&case["padding"]),
                ..Conv3dParams::default()
            };
            conv3d(&x, &weight.unwrap(), bias.as_ref(), &params)
        }
        "conv_transpose3d" => conv_transpose3d(&x, &weight.unwrap(), bias.as_ref(), triple(&case["stride"])),
        "max_pool3d" => max_pool3d(&x, triple(&case["kernel"]), triple(&case["stride"])),
        "instance_norm" => {
            let slope = case["slope"].as_f64().unwrap();
            let activation = if slope == 1.0 {
                Activation::None
            } else if slope == 0.0 {
                Activation::Relu
            } else {
                Activation::LeakyRelu { slope }
            };
            let (gamma, beta) = (argument("gamma").unwrap(), argument("beta").unwrap());
            instance_norm(&x, &gamma, &beta, case["eps"].as_f64().unwrap(), activation)
        }
        "upsample" if case["mode"] == "nearest" => upsample_nearest3d(&x, triple(&case["size"])),
        "upsample" => upsample_trilinear3d(&x, triple(&case["size"])),
        other => panic!("the golden file has an operation `{other}`"),
    }
}

fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let numbers =
        |t: &Tensor| t.to_device(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (numbers(found), numbers(expected));
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        let error = f64::from((f - e).abs());
        assert!(error <= TOLERANCE * f64::from(largest), "{what}: number {i} is {f}, expected {e}");
    }
}

#[test]
fn values_and_gradients_are_pytorch_s() {
    let bytes = include_bytes!("golden/golden.safetensors");
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let cases: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let cases = cases.as_object().unwrap();
    assert!(cases.len() >= 16, "the golden file lost cases");
    for device in self_test::devices() {
        for (name, case) in cases {
            let there = |tensor: &Tensor| tensor.to_device(&device).unwrap();
            let variables: HashMap<&str, Var> = ["x", "weight", "bias", "gamma", "beta"]
                .into_iter()
                .filter_map(|a| Some((a, there(tensors.get(&format!("{name}/{a}"))?))))
                .map(|(a, tensor)| (a, Var::from_tensor(&tensor).unwrap()))
                .collect();
            let y = run(case, &|a| variables.get(a).map(|v| v.as_tensor().clone())).unwrap();
            let name = &format!("{name} on {:?}", device.location());
            let case = name.split(' ').next().unwrap();
            assert_close(&y, &tensors[&format!("{case}/y")], name);
            let loss = (y * there(&tensors[&format!("{case}/grad_y")])).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            for (argument, variable) in &variables {
                let found = gradients.get(variable.as_tensor()).unwrap();
                let expected = &tensors[&format!("{case}/grad_{argument}")];
                assert_close(found, expected, &format!("{name}: gradient of {argument}"));
            }
        }
    }
}
