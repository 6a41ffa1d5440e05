//! Weights that were there before: from PyTorch, and to start a training from.

mod support;

use std::path::{Path, PathBuf};

use organseg::pipeline::WeightsCard;
use organseg::unet::weights;
use organseg::volume::read;
use support::{fail, names_in, scan, succeed, text, world};

/// `DynUNet(…, filters=[2, 3, 4, 5], deep_supervision=True)` of `crates/unet/tests/golden/make_monai.py`.
const DYNUNET: &str = "
method = 'single'
labels = { 1 = 'head', 2 = 'tail' }
[single.network]
channels = [2, 3, 4, 5]
downsampling = 'strided'
skips = 'raised_first'
deep_supervision = 1
";

fn of_pytorch() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../unet/tests/golden/dynunet.safetensors")
}

#[test]
fn weights_of_pytorch_become_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (config, model, mask) = (at("dynunet.toml"), at("model"), at("mask.nii.gz"));
    std::fs::write(&config, DYNUNET).unwrap();
    let weights = of_pytorch();
    let import = ["import-weights", text(&weights), "--config", text(&config), "--model", text(&model)];
    let told = succeed(&import);
    assert!(told.contains("tensors, model in"), "{told}");
    assert_eq!(names_in(&model), ["model.toml", "single.safetensors"]);
    succeed(&["segment", "--model", text(&model), text(&scan()), "--out", text(&mask)]);
    assert_eq!(read::<u8>(mask).unwrap().size(), [36, 32, 24]);
    fail(&import, &["model.toml", "exists already"]);
    // Weights without settings, as of a model that is not whole; they may be what is to be imported.
    std::fs::remove_file(model.join("model.toml")).unwrap();
    let before = std::fs::read(model.join("single.safetensors")).unwrap();
    let own = model.join("single.safetensors");
    for weights in [&weights, &own] {
        let import = ["import-weights", text(weights), "--config", text(&config), "--model", text(&model)];
        fail(&import, &["single.safetensors", "exists already"]);
    }
    assert_eq!(std::fs::read(&own).unwrap(), before);
    let (other, wrong) = (at("other"), at("wrong.toml"));
    let import = ["import-weights", text(&weights), "--model", text(&other), "--config"];
    let refused = |config: &str, arguments: &[&str], words: &[&str]| {
        std::fs::write(&wrong, config).unwrap();
        fail(&[&import[..], &[text(&wrong)], arguments].concat(), words);
    };
    refused(&DYNUNET.replace("'single'", "'two'"), &[], &["wrong.toml", "method"]);
    refused(&DYNUNET.replace("4, 5", "4, 6"), &[], &["dynunet.safetensors", "expected"]);
    refused(DYNUNET, &["--map", "unknown"], &["--map unknown", "dynunet, basic-unet or a file"]);
    assert!(!other.exists(), "nothing is half made");
}

#[test]
fn a_training_starts_from_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, tiny) = (world().join("data"), world().join("tiny.toml"));
    let before = world().join("model");
    let (coarse, model) = (before.join("coarse.safetensors"), at("model"));
    let train = ["train", "--data", text(&data), "--epochs", "1", "--config", text(&tiny), "--model"];
    // A step so small that single precision does not see it.
    let still = at("still.toml");
    let settings = std::fs::read_to_string(&tiny).unwrap();
    std::fs::write(
        &still,
        settings.replace("[coarse.network]", "[coarse.train]\nlearning_rate = 1e-30\n[coarse.network]"),
    )
    .unwrap();
    let arguments = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&still)];
    let from = ["--stages", "coarse", "--epochs", "1", "--start-from", text(&before)];
    succeed(&[&arguments[..], &from].concat());
    let load = |path: &Path| weights::load(path, &candle_core::Device::Cpu).unwrap();
    let (found, expected) = (load(&model.join("coarse.safetensors")), load(&coarse));
    for (name, tensor) in &expected {
        let numbers = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(numbers(&found[name]), numbers(tensor), "{name}");
    }
    let card = WeightsCard::of_weights(&model.join("coarse.safetensors")).unwrap().unwrap();
    assert_eq!(card.started_from, Some(coarse.canonicalize().unwrap()));
    succeed(&[&arguments[..], &from, &["--resume"]].concat());
    // Once begun, a stage does not begin again, checkpoint or not.
    let elsewhere = ["--stages", "coarse", "--epochs", "1", "--resume", "--start-from", text(&model)];
    let words = ["stage coarse was started from", "cannot start again from"];
    fail(&[&arguments[..], &elsewhere].concat(), &words);
    std::fs::remove_file(model.join("checkpoint-coarse.safetensors")).unwrap();
    fail(&[&arguments[..], &elsewhere].concat(), &words);
    succeed(&[&arguments[..], &from, &["--resume"]].concat());
    // The other stage may start from somewhere else.
    succeed(&[&arguments[..], &["--stages", "fine", "--epochs", "1"]].concat());
    // The same as a file and as a checkpoint.
    for file in [coarse.clone(), before.join("checkpoint-coarse.safetensors")] {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let model = at(name);
        let from = [text(&model), "--stages", "coarse", "--start-from", text(&file)];
        succeed(&[&train[..], &from].concat());
    }
    let other = at("other");
    let refused = |arguments: &[&str], words: &[&str]| {
        fail(&[&train[..], &[text(&other), "--start-from"], arguments].concat(), words);
    };
    refused(&[text(&coarse)], &["a file for 2 networks"]);
    refused(&["nowhere", "--stages", "single"], &["--start-from nowhere"]);
    refused(&[text(&before), "--stages", "single"], &["--start-from", "single.safetensors"]);
    assert!(!other.exists(), "nothing is half made");
    let larger = at("larger.toml");
    std::fs::write(&larger, settings.replace("channels = [4, 8]", "channels = [4, 9]")).unwrap();
    let arguments = ["train", "--data", text(&data), "--model", text(&other), "--config", text(&larger)];
    let from = ["--stages", "coarse", "--start-from", text(&before)];
    fail(&[&arguments[..], &from].concat(), &["stage coarse", "coarse.safetensors", "has shape"]);
}
