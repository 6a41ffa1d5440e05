//! Every operation against its plain loops over random shapes; threads, memory layouts and wrong shapes.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use candle_core::{DType, Device, Tensor, Var};
use organseg_conv3d::reference::{self, Array5};
use organseg_conv3d::{
    Activation, Conv3dParams, conv_transpose3d, conv3d, instance_norm, max_pool3d, upsample_nearest3d,
    upsample_trilinear3d,
};
use proptest::prelude::*;

fn array(dims: [usize; 5], seed: usize) -> Array5 {
    let count: usize = dims.iter().product();
    let values = (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0).collect();
    Array5 { dims, values }
}

fn tensor(a: &Array5, dtype: DType) -> Tensor {
    Tensor::from_vec(a.values.clone(), a.dims.to_vec(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn vector(values: &[f64], dtype: DType) -> Tensor {
    Tensor::from_vec(values.to_vec(), values.len(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// Both agree to the rounding of the type, for sums of a few hundred numbers of size one.
fn agree(found: &Tensor, expected: &Array5) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.dims(), &expected.dims[..]);
    let tolerance = if found.dtype() == DType::F32 { 1e-4 } else { 1e-10 };
    let found = found.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (f, e) in found.iter().zip(&expected.values) {
        prop_assert!((f - e).abs() <= tolerance * (1.0 + e.abs()), "{} expected {}", f, e);
    }
    Ok(())
}

fn dtypes() -> impl Strategy<Value = DType> {
    prop_oneof![Just(DType::F32), Just(DType::F64)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn convolution(
        dtype in dtypes(), n in 1usize..3, c in 1usize..4, o in 1usize..8,
        size in (1usize..6, 1usize..6, 1usize..40), kernel in prop::array::uniform3(1usize..4),
        stride in prop::array::uniform3(1usize..3), padding in prop::array::uniform3(0usize..3),
        biased in any::<bool>(),
    ) {
        let input = [size.0, size.1, size.2];
        prop_assume!((0..3).all(|a| input[a] + 2 * padding[a] >= kernel[a]));
        let params = Conv3dParams { stride, padding, ..Conv3dParams::default() };
        let x = array([n, c, size.0, size.1, size.2], 1);
        let w = array([o, c, kernel[0], kernel[1], kernel[2]], 2);
        let bias: Vec<f64> = (0..o).map(|i| i as f64 - 2.0).collect();
        let b = vector(&bias, dtype);
        let found = conv3d(&tensor(&x, dtype), &tensor(&w, dtype), biased.then_some(&b), &params).unwrap();
        agree(&found, &reference::conv3d(&x, &w, biased.then_some(&bias), &params))?;
    }

    #[test]
    fn transposed_convolution(
        dtype in dtypes(), n in 1usize..3, c in 1usize..4, o in 1usize..4,
        size in prop::array::uniform3(1usize..5), kernel in prop::array::uniform3(1usize..4),
        stride in prop::array::uniform3(1usize..4),
    ) {
        let x = array([n, c, size[0], size[1], size[2]], 1);
        let w = array([c, o, kernel[0], kernel[1], kernel[2]], 2);
        let found = conv_transpose3d(&tensor(&x, dtype), &tensor(&w, dtype), None, stride).unwrap();
        agree(&found, &reference::conv_transpose3d(&x, &w, None, stride))?;
    }

    #[test]
    fn pooling_norm_and_upsampling(
        dtype in dtypes(), n in 1usize..3, c in 1usize..4, size in prop::array::uniform3(1usize..7),
        kernel in prop::array::uniform3(1usize..4), stride in prop::array::uniform3(1usize..4),
        to in prop::array::uniform3(1usize..12), slope in 0.0f64..1.0,
    ) {
        let x = array([n, c, size[0], size[1], size[2]], 1);
        let t = tensor(&x, dtype);
        if (0..3).all(|a| size[a] >= kernel[a]) {
            agree(&max_pool3d(&t, kernel, stride).unwrap(), &reference::max_pool3d(&x, kernel, stride))?;
        }
        agree(&upsample_nearest3d(&t, to).unwrap(), &reference::upsample_nearest3d(&x, to))?;
        agree(&upsample_trilinear3d(&t, to).unwrap(), &reference::upsample_trilinear3d(&x, to))?;
        let gamma: Vec<f64> = (0..c).map(|i| 0.5 + i as f64).collect();
        let beta: Vec<f64> = (0..c).map(|i| 0.3 - i as f64).collect();
        let activation = Activation::LeakyRelu { slope };
        // ε of a tenth: with less, a channel of nearly one value would magnify the rounding of f32.
        let found = instance_norm(&t, &vector(&gamma, dtype), &vector(&beta, dtype), 0.1, activation).unwrap();
        agree(&found, &reference::instance_norm(&x, &gamma, &beta, 0.1, slope))?;
    }
}

/// Values and gradients of a chain of all operations, as bits.
fn bits(threads: usize, width: usize) -> Vec<u32> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let x = Var::from_tensor(&tensor(&array([2, 3, 6, 8, width], 1), DType::F32)).unwrap();
        let w = Var::from_tensor(&tensor(&array([5, 3, 3, 3, 3], 2), DType::F32)).unwrap();
        let up = Var::from_tensor(&tensor(&array([5, 4, 2, 2, 2], 3), DType::F32)).unwrap();
        let ones = vector(&[1.0; 5], DType::F32);
        let y = conv3d(&x, &w, None, &Conv3dParams::same([3; 3])).unwrap();
        let y = instance_norm(&y, &ones, &ones, 1e-5, Activation::Relu).unwrap();
        let y = max_pool3d(&y, [2; 3], [2; 3]).unwrap();
        let y = conv_transpose3d(&y, &up, None, [2; 3]).unwrap();
        let y = upsample_trilinear3d(&y, [7, 9, width + 1]).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        [&x, &w, &up]
            .into_iter()
            .map(|v| gradients.get(v.as_tensor()).unwrap().clone())
            .chain([y])
            .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .map(f32::to_bits)
            .collect()
    })
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for width in [10, 44] {
        let one = bits(1, width);
        assert!(one == bits(2, width) && one == bits(3, width), "rows of {width}");
    }
}

#[test]
fn tensors_that_are_not_contiguous_are_read_right() {
    let x = tensor(&array([1, 2, 4, 5, 6], 1), DType::F64);
    let w = tensor(&array([3, 2, 3, 3, 3], 2), DType::F64);
    let params = Conv3dParams::same([3; 3]);
    let turned = x.transpose(2, 4).unwrap();
    let narrow = x.narrow(3, 1, 3).unwrap();
    for view in [turned, narrow] {
        let copy = Tensor::from_vec(
            view.flatten_all().unwrap().to_vec1::<f64>().unwrap(),
            view.dims().to_vec(),
            &Device::Cpu,
        )
        .unwrap();
        let numbers = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(
            numbers(conv3d(&view, &w, None, &params).unwrap()),
            numbers(conv3d(&copy, &w, None, &params).unwrap())
        );
        assert_eq!(
            numbers(max_pool3d(&view, [2; 3], [1; 3]).unwrap()),
            numbers(max_pool3d(&copy, [2; 3], [1; 3]).unwrap())
        );
    }
}

#[test]
fn wrong_shapes_and_types_are_named() {
    let x = tensor(&array([1, 2, 4, 4, 4], 1), DType::F32);
    let w = |dims| tensor(&array(dims, 2), DType::F32);
    let same = Conv3dParams::same([3; 3]);
    let message = |r: candle_core::Result<Tensor>| r.unwrap_err().to_string();
    assert!(
        message(conv3d(&x, &w([3, 5, 3, 3, 3]), None, &same)).contains("2 channels, the weight expects 5")
    );
    assert!(message(conv3d(&x, &w([3, 2, 7, 3, 3]), None, &same)).contains("does not fit"));
    let still = Conv3dParams { stride: [0, 1, 1], ..Conv3dParams::same([3; 3]) };
    assert!(message(conv3d(&x, &w([3, 2, 3, 3, 3]), None, &still)).contains("stride [0, 1, 1]"));
    assert!(
        message(conv3d(&x.flatten_all().unwrap(), &w([3, 2, 3, 3, 3]), None, &same))
            .contains("(N, C, D, H, W)")
    );
    let bias = vector(&[1.0; 4], DType::F32);
    assert!(
        message(conv3d(&x, &w([3, 2, 3, 3, 3]), Some(&bias), &same))
            .contains("bias has shape [4], expected [3]")
    );
    assert!(message(conv_transpose3d(&x, &w([3, 2, 2, 2, 2]), None, [2; 3])).contains("2 channels"));
    assert!(message(max_pool3d(&x, [5, 1, 1], [1; 3])).contains("do not fit"));
    assert!(message(instance_norm(&x, &bias, &bias, 1e-5, Activation::None)).contains("gamma has shape [4]"));
    assert!(message(upsample_trilinear3d(&x, [0, 1, 1])).contains("expected at least 1"));
    let half = x.to_dtype(DType::F16).unwrap();
    assert!(message(max_pool3d(&half, [2; 3], [2; 3])).contains("expected F32 or F64"));
}

#[test]
fn a_stride_that_reaches_beyond_the_input_costs_no_memory() {
    let (x, w) =
        (tensor(&array([1, 2, 3, 3, 3], 1), DType::F32), tensor(&array([2, 2, 2, 2, 2], 2), DType::F32));
    let long = Conv3dParams { stride: [1, 1 << 40, 700], ..Conv3dParams::default() };
    let near = Conv3dParams { stride: [1, 3, 3], ..Conv3dParams::default() };
    let run = |params: &Conv3dParams| {
        let x = Var::from_tensor(&x).unwrap();
        let y = conv3d(&x, &w, None, params).unwrap();
        let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (y.dims().to_vec(), flat(&y), flat(gradients.get(&x).unwrap()))
    };
    assert_eq!(run(&long), run(&near));
    assert_eq!(run(&long).0, [1, 2, 2, 1, 1]);
    let padded = Conv3dParams { padding: [usize::MAX / 2 + 1, 0, 0], ..Conv3dParams::default() };
    assert!(conv3d(&x, &w, None, &padded).unwrap_err().to_string().contains("padding"));
    assert!(conv_transpose3d(&x, &w, None, [usize::MAX, 1, 1]).unwrap_err().to_string().contains("too many"));
}

#[test]
fn no_channels_give_no_numbers() {
    for dtype in [DType::F32, DType::F64] {
        let zeros = |dims: [usize; 5]| Tensor::zeros(&dims[..], dtype, &Device::Cpu).unwrap();
        let params = Conv3dParams::default();
        let none = conv3d(&zeros([1, 2, 3, 3, 3]), &zeros([0, 2, 1, 1, 1]), None, &params).unwrap();
        assert_eq!(none.dims(), [1, 0, 3, 3, 3]);
        let of_none = conv3d(&zeros([1, 0, 3, 3, 3]), &zeros([2, 0, 1, 1, 1]), None, &params).unwrap();
        assert_eq!(of_none.dims(), [1, 2, 3, 3, 3]);
        let raised =
            conv_transpose3d(&zeros([1, 2, 3, 3, 3]), &zeros([2, 0, 1, 1, 1]), None, [1; 3]).unwrap();
        assert_eq!(raised.dims(), [1, 0, 3, 3, 3]);
    }
}

#[test]
fn the_nearest_value_is_taken_as_it_is() {
    let x =
        Tensor::new(&[f32::INFINITY, 1.0, f32::NAN], &Device::Cpu).unwrap().reshape((1, 1, 1, 1, 3)).unwrap();
    let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let y = flat(upsample_nearest3d(&x, [2, 1, 6]).unwrap());
    assert_eq!(y[..4], [f32::INFINITY, f32::INFINITY, 1.0, 1.0]);
    assert!(y[4].is_nan() && y[5].is_nan());
    // An axis that keeps its size mixes nothing.
    let y = flat(upsample_trilinear3d(&x, [2, 1, 3]).unwrap());
    assert_eq!(y[..2], [f32::INFINITY, 1.0]);
}
