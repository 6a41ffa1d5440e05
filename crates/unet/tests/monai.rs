//! Networks of MONAI's: the same scores from the same weights.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use organseg_unet::import::{NameMap, Rename, import_weights};
use organseg_unet::{Downsampling, Norm, Skips, Unet3d, UnetConfig, UnetError, weights};

/// What was asked for. Two ways of computing a dozen layers in `f32` differ by some 1e-6.
const TOLERANCE: f32 = 1e-4;

/// As in `golden/make_monai.py`.
const SIZE: [usize; 3] = [32, 16, 16];
const EVERY: usize = 13;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn basic_unet() -> UnetConfig {
    UnetConfig { bias: true, negative_slope: 0.1, ..UnetConfig::new(1, 2).with_channels(vec![1, 1, 2, 4, 8]) }
}

fn dynunet() -> UnetConfig {
    UnetConfig::new(1, 3)
        .with_channels(vec![2, 3, 4, 5])
        .with_downsampling(Downsampling::Strided)
        .with_skips(Skips::RaisedFirst)
        .with_deep_supervision(1)
}

fn assert_same_scores(config: &UnetConfig, map: &NameMap, file: &str, name: &str) {
    let tensors = import_weights(config, map, &golden(file)).unwrap();
    let net = Unet3d::new(config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)).unwrap();
    let [d, h, w] = SIZE;
    let values: Vec<f32> =
        (0..d * h * w).map(|i| ((0.37 * i as f64).sin() + (0.011 * i as f64).cos()) as f32).collect();
    let image = Tensor::from_vec(values, (1, 1, d, h, w), &Device::Cpu).unwrap();
    let found: Vec<f32> = net.predict(&image).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let expected = weights::load(&golden("monai_logits.safetensors"), &Device::Cpu).unwrap();
    let expected: Vec<f32> = expected[name].to_vec1().unwrap();
    assert_eq!(found.len().div_ceil(EVERY), expected.len());
    let most = found.iter().step_by(EVERY).zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
    assert!(most < TOLERANCE, "scores differ by up to {most}");
    let spread =
        expected.iter().fold(f32::MIN, |a, &b| a.max(b)) - expected.iter().fold(f32::MAX, |a, &b| a.min(b));
    assert!(spread > 0.5, "there is something to compare: {spread}");
}

#[test]
fn a_basic_unet_of_monai_gives_the_same_logits() {
    assert_same_scores(&basic_unet(), &NameMap::monai_basic_unet(), "basic_unet.pt", "basic_unet");
}

/// With running statistics, a bias before them, and the state dict under a key.
#[test]
fn a_basic_unet_with_batch_norm_gives_the_same_logits() {
    let map = NameMap { key: Some("model".into()), ..NameMap::monai_basic_unet() };
    assert_same_scores(&basic_unet().with_norm(Norm::Batch), &map, "batch_norm.pt", "batch_norm");
}

#[test]
fn a_dynunet_of_monai_gives_the_same_logits() {
    assert_same_scores(&dynunet(), &NameMap::monai_dynunet(), "dynunet.safetensors", "dynunet");
}

/// Strides that differ by axis, in another way at each level.
#[test]
fn a_dynunet_with_uneven_strides_gives_the_same_logits() {
    // Theirs along (D, H, W): [1, 2, 2], [2, 1, 2], [2, 2, 1].
    let config = UnetConfig::new(1, 2)
        .with_channels(vec![2, 3, 4, 5])
        .with_strides(vec![[2, 2, 1], [2, 1, 2], [1, 2, 2]])
        .with_downsampling(Downsampling::Strided)
        .with_skips(Skips::RaisedFirst);
    assert_same_scores(&config, &NameMap::monai_dynunet(), "uneven.safetensors", "uneven");
}

#[test]
fn a_missing_a_misshapen_and_a_surplus_tensor_are_named() {
    let import = |config: &UnetConfig, map: &NameMap| {
        import_weights(config, map, &golden("dynunet.safetensors")).unwrap_err()
    };
    let map = NameMap::monai_dynunet();
    let wider = dynunet().with_channels(vec![2, 3, 4, 6]);
    let message = import(&wider, &map).to_string();
    assert!(
        message.ends_with(
            "dynunet.safetensors: tensor `bottleneck.conv1.conv.weight → down3.conv0.weight` has shape \
             [5, 4, 3, 3, 3], expected [6, 4, 3, 3, 3]"
        ),
        "{message}"
    );
    let more_heads = dynunet().with_deep_supervision(2);
    let message = import(&more_heads, &map).to_string();
    assert!(
        message.contains("`deep_supervision_heads.1.conv.conv.weight → up2.head.weight` is missing"),
        "{message}"
    );
    let message = import(&dynunet().with_deep_supervision(0), &map).to_string();
    assert!(message.contains("`deep_supervision_heads.0.conv.conv.bias` is not one of this"), "{message}");
    let strict = NameMap { zero: Vec::new(), ..map.clone() };
    let message = import(&dynunet(), &strict).to_string();
    assert!(message.contains("transp_conv.conv.bias → up2.transposed.bias` is missing"), "{message}");
    let rule = Rename { ours: "head.bias".into(), theirs: "head.{k}".into() };
    let error = import(&dynunet(), &NameMap { rename: vec![rule], ..map });
    assert!(matches!(error, UnetError::NameMap { .. } | UnetError::MissingTensor { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_state_dict_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let import = |path: &std::path::Path| {
        import_weights(&basic_unet(), &NameMap::monai_basic_unet(), path).unwrap_err().to_string()
    };
    let path = folder.path().join("net.pt");
    let message = import(&path);
    assert!(message.contains("net.pt"), "{message}");
    let bytes = std::fs::read(golden("basic_unet.pt")).unwrap();
    for length in (0..bytes.len()).step_by(997) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let message = import(&path);
        assert!(message.contains("net.pt"), "{message}");
    }
    std::fs::write(&path, &bytes).unwrap();
    let map = NameMap { key: Some("model".into()), ..NameMap::monai_basic_unet() };
    let message = import_weights(&basic_unet(), &map, &path).unwrap_err().to_string();
    assert!(message.contains("net.pt") && message.contains("model"), "{message}");
}
