//! Every device and number type against convolutions with channels first, and their gradients by candle's graph, in `f64`
//! on the CPU.

use candle_core::{Device, Var};

use super::*;
use crate::channels_last::{Norm, activated, norm_read};
use crate::conv3d;
use crate::self_test::{devices, distance};

/// Types, and how far results may be from those in `f64`: by the rounding of what is read and of what is written.
const NUMBERS: [(DType, f64); 4] =
    [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 2e-3), (DType::BF16, 1e-2)];

fn random(shape: &[usize]) -> Tensor {
    Tensor::randn(0f64, 1.0, shape, &Device::Cpu).unwrap()
}

/// As numbers of the type are: what both sides start from.
fn as_number(tensor: &Tensor, number: DType) -> Tensor {
    tensor.to_dtype(number).unwrap().to_dtype(DType::F64).unwrap()
}

fn close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let apart = distance(found, expected).unwrap();
    assert!(apart < tolerance, "{what}: {apart}");
}

#[test]
fn a_head_is_a_convolution_with_channels_first() {
    for (shape, classes) in [
        ([2, 3, 5, 7, 3], 2),
        ([1, 4, 3, 9, 5], 3),
        ([2, 5, 9, 7, 8], 1),
        ([1, 9, 11, 13, 16], 3),
        ([2, 9, 11, 13, 32], 3),
        ([1, 3, 5, 7, 32], 13),
        ([1, 3, 5, 7, 72], 5),
        ([1, 2, 3, 4, 8], 19),
        ([1, 1, 1, 1, 24], 4),
    ] {
        let (y, weights, bias) = (random(&shape), random(&[classes, shape[4]]), random(&[classes]));
        let read = Read { terms: random(&[4, shape[0], shape[4]]), slope: 0.01 };
        let gradient = random(&[shape[0], classes, shape[1], shape[2], shape[3]]);
        for (number, tolerance) in NUMBERS {
            for read in [None, Some(&read)] {
                let x = Var::from_tensor(&activated(&[(&as_number(&y, number), read)]).unwrap()).unwrap();
                let w = Var::from_tensor(&weights).unwrap();
                let b = Var::from_tensor(&bias).unwrap();
                let first = x.permute((0, 4, 1, 2, 3)).unwrap().contiguous().unwrap();
                let five = w.reshape((classes, shape[4], 1, 1, 1)).unwrap();
                let expected = conv3d(&first, &five, Some(b.as_tensor()), &Conv3dParams::default()).unwrap();
                let loss = (&expected * &gradient).unwrap().sum_all().unwrap();
                let store = loss.backward().unwrap();
                for device in devices() {
                    let what = format!(
                        "{shape:?} to {classes} in {number:?} on {device:?}, read by terms: {}",
                        read.is_some()
                    );
                    let there = |tensor: &Tensor| tensor.to_device(&device).unwrap();
                    let read = read.map(|read| Read { terms: there(&read.terms), slope: read.slope });
                    // A part of the channels, taken on the device.
                    let whole = Tensor::cat(&[&y; 3], 4).unwrap().to_dtype(number).unwrap();
                    let part = there(&whole).narrow(4, shape[4], shape[4]).unwrap();
                    for y in [there(&y.to_dtype(number).unwrap()), part] {
                        let found = head(&y, read.as_ref(), &there(&weights), &there(&bias)).unwrap();
                        close(&found, &expected, tolerance, &what);
                        let [dx, dw, db] =
                            head_gradient(&there(&gradient), &y, read.as_ref(), &there(&weights)).unwrap();
                        assert_eq!(dx.dtype(), number, "{what}");
                        close(&dx, store.get(&x).unwrap(), tolerance, &format!("dx of {what}"));
                        close(&dw, store.get(&w).unwrap(), tolerance, &format!("dW of {what}"));
                        close(&db, store.get(&b).unwrap(), tolerance, &format!("db of {what}"));
                    }
                }
            }
        }
    }
}

#[test]
fn a_first_layer_is_a_convolution_with_channels_first() {
    for (batch, [d, h, w], outputs) in [
        (1, [1, 1, 1], 8),
        (2, [3, 5, 7], 5),
        (1, [9, 35, 17], 16),
        (2, [5, 9, 33], 32),
        (1, [3, 70, 5], 24),
        (1, [5, 8, 16], 64),
        (1, [2, 3, 4], 72),
    ] {
        let (image, weights) = (random(&[batch, 1, d, h, w]), random(&[outputs, 1, 3, 3, 3]));
        let gradient = random(&[batch, d, h, w, outputs]);
        for (number, tolerance) in NUMBERS {
            let rounded = |tensor: &Tensor| as_number(tensor, number);
            let variable = Var::from_tensor(&rounded(&weights)).unwrap();
            let first = conv3d(&rounded(&image), &variable, None, &Conv3dParams::same([3; 3])).unwrap();
            let expected = first.permute((0, 2, 3, 4, 1)).unwrap().contiguous().unwrap();
            let loss = (&expected * rounded(&gradient)).unwrap().sum_all().unwrap();
            let store = loss.backward().unwrap();
            for device in devices() {
                let what = format!("{batch} × {:?} to {outputs} in {number:?} on {device:?}", [d, h, w]);
                let there = |tensor: &Tensor| tensor.to_device(&device).unwrap();
                let (image, weights) = (there(&image), there(&weights));
                let (y, none) = first_layer(&image, &weights, number, false).unwrap();
                assert!(none.is_none(), "{what}");
                assert_eq!(y.dtype(), number, "{what}");
                close(&y, &expected, tolerance, &what);
                let (same, sums) = first_layer(&image, &weights, number, true).unwrap();
                close(&same, &y, 1e-30, &what);
                // What of a norm does not depend on where it is computed.
                let ones = |device: &Device| Tensor::ones(outputs, DType::F64, device).unwrap();
                let terms = |y: &Tensor, sums: Option<&Tensor>| {
                    let ones = ones(y.device());
                    let norm = Norm { gamma: &ones, beta: &ones, epsilon: 1e-3, slope: 0.1 };
                    norm_read(y, sums, &norm).unwrap().terms
                };
                let expected = terms(&rounded(&y.to_device(&Device::Cpu).unwrap()), None);
                let y = if device.is_cpu() { y.to_dtype(DType::F64).unwrap() } else { y };
                close(&terms(&y, sums.as_ref()), &expected, 1e-4 + tolerance / 10.0, &what);
                let dw =
                    first_layer_weight_gradient(&image, &there(&gradient.to_dtype(number).unwrap())).unwrap();
                close(&dw, store.get(&variable).unwrap(), tolerance, &format!("dW of {what}"));
            }
        }
    }
}

#[test]
fn a_head_is_the_same_by_a_convolution() {
    let (y, weights, bias) = (random(&[2, 3, 5, 4, 8]), random(&[19, 8]), random(&[19]));
    let read = Read { terms: random(&[4, 2, 8]), slope: 0.01 };
    let gradient = random(&[2, 19, 3, 5, 4]);
    let expected = head(&y, Some(&read), &weights, &bias).unwrap();
    let gradients = head_gradient(&gradient, &y, Some(&read), &weights).unwrap();
    for device in devices() {
        let there = |tensor: &Tensor| tensor.to_device(&device).unwrap();
        let read = Read { terms: there(&read.terms), slope: read.slope };
        let (y, weights) = (there(&y), there(&weights));
        let found = by_convolution::head(&y, Some(&read), &weights, &there(&bias)).unwrap();
        close(&found, &expected, 1e-12, "scores");
        let found = by_convolution::head_gradient(&there(&gradient), &y, Some(&read), &weights).unwrap();
        for (found, expected) in found.iter().zip(&gradients) {
            close(found, expected, 1e-12, "gradients");
        }
    }
}
