//! On a card, against the crate's own operations in `f64` on the CPU.

use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Storage, Tensor};
use half::{bf16, f16};

use super::*;
use crate::Conv3dParams;
use crate::channels_last::{Read, activated, convolve, convolve_input_gradient, convolve_weight_gradient};
use crate::cuda::last::Partials;
use crate::self_test::{devices, distance, random};

/// Some times the rounding of a number, 2⁻⁹ and 2⁻¹², which is what all of them have: input, result, and what lies between.
const TOLERANCE_BF16: f64 = 1e-2;
const TOLERANCE_F16: f64 = 2e-3;

/// Moments are sums over the result: in its mean, errors weigh more than in its values.
const TOLERANCE_OF_MOMENTS: f64 = 3e-2;

struct Case {
    batch: usize,
    size: [usize; 3],
    /// Channels of each source, and whether it is read by terms.
    sources: &'static [(usize, bool)],
    /// Channels beside those of a source, in the tensor that it is a part of.
    beside: usize,
    outputs: usize,
}

const CASES: [Case; 8] = [
    Case { batch: 1, size: [1, 1, 1], sources: &[(16, false)], beside: 0, outputs: 16 },
    Case { batch: 2, size: [5, 7, 9], sources: &[(16, true)], beside: 0, outputs: 16 },
    Case { batch: 2, size: [5, 7, 9], sources: &[(32, true)], beside: 8, outputs: 32 },
    Case { batch: 1, size: [8, 16, 16], sources: &[(16, true), (16, true)], beside: 0, outputs: 16 },
    Case { batch: 2, size: [9, 17, 10], sources: &[(32, true), (32, false)], beside: 16, outputs: 32 },
    Case { batch: 3, size: [11, 3, 21], sources: &[(16, false), (32, true)], beside: 8, outputs: 48 },
    Case { batch: 1, size: [33, 40, 50], sources: &[(32, true)], beside: 0, outputs: 32 },
    Case { batch: 2, size: [20, 31, 17], sources: &[(32, false), (32, true)], beside: 0, outputs: 64 },
];

fn tensor<T: CudaNumber>(
    slice: candle_core::cuda_backend::cudarc::driver::CudaSlice<T>,
    shape: &[usize],
    device: &CudaDevice,
) -> Tensor {
    let storage = Storage::Cuda(T::wrap_cuda_slice(slice, device.clone()));
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}

fn cuda(storage: &Storage) -> &CudaStorage {
    match storage {
        Storage::Cuda(storage) => storage,
        _ => panic!("not on a card"),
    }
}

/// Relative distances of result, means, variances, input gradient and weight gradient.
fn distances<T: CudaNumber>(case: &Case, device: &Device) -> [f64; 5] {
    let Device::Cuda(card) = device else { panic!("not a card") };
    let (n, [d, h, w]) = (case.batch, case.size);
    let there = |t: &Tensor, number| t.to_dtype(number).unwrap().to_device(device).unwrap();
    // Each source as a part of a tensor, and its terms.
    let mut here: Vec<(Tensor, Option<Read>)> = Vec::new();
    for &(c, by_terms) in case.sources {
        let whole = random(&[n, d, h, w, c + case.beside], T::DTYPE).unwrap();
        let read = by_terms.then(|| Read { terms: random(&[4, n, c], DType::F64).unwrap(), slope: 0.1 });
        here.push((whole, read));
    }
    let part =
        |whole: &Tensor, k: usize| whole.narrow(4, case.beside / 2 / 8 * 8, case.sources[k].0).unwrap();
    let parts: Vec<Tensor> = here.iter().enumerate().map(|(k, (whole, _))| part(whole, k)).collect();
    let inputs: usize = case.sources.iter().map(|s| s.0).sum();
    let weights = (random(&[case.outputs, 3, 3, 3, inputs], T::DTYPE).unwrap() * 0.0625).unwrap();
    let gradient = random(&[n, d, h, w, case.outputs], T::DTYPE).unwrap();

    let params = Conv3dParams::same([3; 3]);
    let read: Vec<_> = parts.iter().zip(&here).map(|(part, (_, read))| (part, read.as_ref())).collect();
    let x = activated(&read).unwrap();
    let y = convolve(&x, &weights, &params).unwrap();
    let voxels = d * h * w;
    let flat = y.reshape((n, voxels, case.outputs)).unwrap();
    let mean = flat.mean(1).unwrap();
    let variance = flat.broadcast_sub(&mean.unsqueeze(1).unwrap()).unwrap().sqr().unwrap().mean(1).unwrap();
    let for_x = convolve_input_gradient(&gradient, &weights, case.size, &params).unwrap();
    let for_weights = convolve_weight_gradient(&x, &gradient, [3; 3], &params).unwrap();

    let shape = ConvShape::new(&[n, inputs, d, h, w], &[case.outputs, inputs, 3, 3, 3], &params).unwrap();
    let wholes: Vec<Tensor> = here.iter().map(|(whole, _)| there(whole, T::DTYPE)).collect();
    let on_card: Vec<Tensor> = wholes.iter().enumerate().map(|(k, whole)| part(whole, k)).collect();
    let terms: Vec<Option<Tensor>> =
        here.iter().map(|(_, read)| read.as_ref().map(|read| there(&read.terms, DType::F64))).collect();
    let parameters = weights.permute((0, 4, 1, 2, 3)).unwrap().contiguous().unwrap();
    let (weights, gradient) = (there(&parameters, DType::F32), there(&gradient, T::DTYPE));
    let guards: Vec<_> = on_card.iter().map(Tensor::storage_and_layout).collect();
    let term_guards: Vec<_> = terms.iter().map(|t| t.as_ref().map(Tensor::storage_and_layout)).collect();
    let mut sources = Vec::new();
    for ((storage, layout), terms) in guards.iter().zip(&term_guards) {
        sources.push(Source {
            storage: cuda(storage),
            voxels: Voxels::of("test", layout).unwrap(),
            terms: terms.as_ref().map(|(storage, layout)| ((cuda(storage), *layout), 0.1)),
        });
    }
    let (weights, weights_layout) = weights.storage_and_layout();
    let (gradient, gradient_layout) = gradient.storage_and_layout();
    let weights = (cuda(&weights), weights_layout);
    let gradient = (cuda(&gradient), gradient_layout);

    let Some(found) = forward::<T>(card, &shape, &sources, weights, true).unwrap() else {
        panic!("{shape:?} is not taken")
    };
    let again = forward::<T>(card, &shape, &sources, weights, false).unwrap().unwrap();
    let found_x = input_gradient::<T>(card, &shape, gradient, weights).unwrap().unwrap();
    let found_weights = weight_gradient::<T>(card, &shape, &sources, gradient).unwrap().unwrap();

    let result = tensor(found.y, y.dims(), card);
    assert!(again.sums.is_none());
    assert_eq!(distance(&tensor(again.y, y.dims(), card), &result).unwrap(), 0.0, "same input, same bits");
    let Partials { sums, pieces } = found.sums.unwrap();
    let sums = tensor(sums, &[n, pieces, case.outputs, 2], card).sum(1).unwrap();
    let sums = (sums / voxels as f64).unwrap();
    let of = |k: usize| sums.narrow(2, k, 1).unwrap().squeeze(2).unwrap();
    let (found_mean, found_variance) = (of(0), (of(1) - of(0).sqr().unwrap()).unwrap());
    let apart = |found: &Tensor, expected: &Tensor| distance(found, expected).unwrap();
    // Of a single voxel there is no variance.
    let variances = if voxels == 1 { 0.0 } else { apart(&found_variance, &variance) };
    let last =
        tensor(found_weights, &[case.outputs, inputs, 3, 3, 3], card).permute((0, 2, 3, 4, 1)).unwrap();
    [
        apart(&result, &y),
        apart(&found_mean, &mean),
        variances,
        apart(&tensor(found_x, &[n, d, h, w, inputs], card), &for_x),
        apart(&last, &for_weights),
    ]
}

#[test]
fn results_moments_and_gradients_are_those_on_the_cpu() {
    for device in devices() {
        if !device.is_cuda() {
            continue;
        }
        for case in &CASES {
            for (tolerance, found) in [
                (TOLERANCE_BF16, distances::<bf16>(case, &device)),
                (TOLERANCE_F16, distances::<f16>(case, &device)),
            ] {
                let what = format!("{:?}, {:?} to {}: {found:?}", case.size, case.sources, case.outputs);
                let [y, means, variances, x, weights] = found;
                assert!([y, x, weights].iter().all(|&apart| apart < tolerance), "{what}");
                assert!([means, variances].iter().all(|&apart| apart < TOLERANCE_OF_MOMENTS), "{what}");
            }
        }
    }
}

#[test]
fn what_the_kernels_do_not_do_is_not_taken() {
    let shape = |inputs, outputs, params: &Conv3dParams| {
        ConvShape::new(&[2, inputs, 8, 8, 8], &[outputs, inputs, 3, 3, 3], params).unwrap()
    };
    let same = Conv3dParams::same([3; 3]);
    assert!(takes::<bf16>(&shape(32, 32, &same), &[32]));
    assert!(takes::<f16>(&shape(32, 16, &same), &[16, 16]));
    assert!(!takes::<f32>(&shape(32, 32, &same), &[32]));
    assert!(!takes::<bf16>(&shape(32, 32, &same), &[24, 8]));
    assert!(!takes::<bf16>(&shape(1, 32, &same), &[1]));
    assert!(!takes::<bf16>(&shape(32, 24, &same), &[32]));
    assert!(!takes::<bf16>(&shape(32, 32, &Conv3dParams { stride: [2; 3], ..same }), &[32]));
    assert!(!takes::<bf16>(&shape(32, 32, &Conv3dParams::default()), &[32]));
}

#[test]
fn blocks_share_the_tiles_evenly() {
    // 132 would have 31 or 32 tiles each.
    assert_eq!(blocks_of_sample(4096, 264, 2), 128);
    assert_eq!(blocks_of_sample(10, 264, 2), 10);
    assert_eq!(blocks_of_sample(10, 16, 2), 5);
    assert_eq!(blocks_of_sample(1, 264, 1000), 1);
}

/// To be run by name on a card, with `--ignored --nocapture`.
#[test]
#[ignore = "checks nothing: prints how long layers take, here and by cuDNN"]
fn how_long() {
    for device in devices() {
        let Device::Cuda(card) = &device else { continue };
        for (side, inputs, outputs) in [
            (128, &[16usize][..], 16),
            (128, &[32], 32),
            (128, &[32, 32], 32),
            (128, &[16, 16], 16),
            (64, &[64], 64),
            (64, &[64, 64], 64),
            (64, &[32], 64),
            (64, &[32], 32),
            (32, &[32], 32),
            (32, &[64], 64),
            (32, &[128], 128),
        ] {
            let total = inputs.iter().sum();
            let params = Conv3dParams::same([3; 3]);
            let shape =
                ConvShape::new(&[2, total, side, side, side], &[outputs, total, 3, 3, 3], &params).unwrap();
            let make = |shape: &[usize], number| {
                Tensor::randn(0f32, 1.0, shape, &device).unwrap().to_dtype(number).unwrap()
            };
            let x: Vec<_> = inputs.iter().map(|&c| make(&[2, side, side, side, c], DType::BF16)).collect();
            let terms: Vec<_> = inputs.iter().map(|&c| make(&[4, 2, c], DType::F64)).collect();
            let (weights, gradient) = (
                make(&[outputs, 3, 3, 3, total], DType::BF16),
                make(&[2, side, side, side, outputs], DType::BF16),
            );
            let x: Vec<_> = x.iter().map(Tensor::storage_and_layout).collect();
            let terms: Vec<_> = terms.iter().map(Tensor::storage_and_layout).collect();
            let sources = |mapped: bool| -> Vec<Source<'_>> {
                let terms = terms.iter().map(|(s, l)| mapped.then(|| ((cuda(s), *l), 0.01)));
                x.iter()
                    .zip(terms)
                    .map(|((storage, layout), terms)| Source {
                        storage: cuda(storage),
                        voxels: Voxels::of("test", layout).unwrap(),
                        terms,
                    })
                    .collect()
            };
            let parameters = make(&[outputs, total, 3, 3, 3], DType::F32);
            let (weights, weights_layout) = weights.storage_and_layout();
            let (parameters, parameters_layout) = parameters.storage_and_layout();
            let (gradient, gradient_layout) = gradient.storage_and_layout();
            let weights = (cuda(&weights), weights_layout);
            let parameters = (cuda(&parameters), parameters_layout);
            let gradient = (cuda(&gradient), gradient_layout);
            let time = |what: &str, run: &dyn Fn()| {
                const TIMES: u32 = 20;
                for _ in 0..3 {
                    run();
                }
                device.synchronize().unwrap();
                let start = std::time::Instant::now();
                for _ in 0..TIMES {
                    run();
                }
                device.synchronize().unwrap();
                println!("{side}³, {inputs:?} to {outputs}, {what}: {:?}", start.elapsed() / TIMES);
            };
            let whole = make(&[2, side, side, side, total], DType::BF16);
            let (whole, whole_layout) = whole.storage_and_layout();
            let (whole, last) = ((cuda(&whole), whole_layout), crate::cuda::Order::ChannelsLast);
            time("forward, by cuDNN", &|| {
                drop(crate::cuda::forward::<bf16>(&shape, last, whole, weights).unwrap());
            });
            time("input gradient, by cuDNN", &|| {
                drop(crate::cuda::input_gradient::<bf16>(&shape, last, gradient, weights).unwrap());
            });
            time("weight gradient, by cuDNN", &|| {
                drop(crate::cuda::weight_gradient::<bf16>(&shape, last, whole, gradient).unwrap());
            });
            for mapped in [false, true] {
                let sources = sources(mapped);
                time(&format!("forward, mapped and with moments: {mapped}"), &|| {
                    drop(forward::<bf16>(card, &shape, &sources, parameters, mapped).unwrap().unwrap());
                });
                time(&format!("weight gradient, mapped: {mapped}"), &|| {
                    drop(weight_gradient::<bf16>(card, &shape, &sources, gradient).unwrap().unwrap());
                });
            }
            time("input gradient", &|| {
                drop(input_gradient::<bf16>(card, &shape, gradient, parameters).unwrap().unwrap());
            });
        }
    }
}
