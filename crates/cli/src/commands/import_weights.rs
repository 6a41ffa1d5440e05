//! `organseg import-weights`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use organseg::pipeline::{Method, ModelConfig, weights_path};
use organseg::unet::import::{NameMap, import_weights};
use organseg::unet::weights;

use super::output::{make_folder, print};

/// Make a model of one network from weights that PyTorch trained.
///
/// The file of settings says what the network is (method = "single", [single.network], [labels]) and what happens to a
/// scan before it ([preprocessing], [single] patch_size): neither is in the weights. The model can segment, and trainings
/// can start from it (`train --start-from`).
#[derive(Args)]
pub(crate) struct Options {
    /// State dict: .pt, .pth or .safetensors.
    weights: PathBuf,
    /// Settings in the form of model.toml.
    #[arg(long, value_name = "FILE.toml")]
    config: PathBuf,
    /// What the tensors are called there: dynunet or basic-unet, as MONAI names them, or a file of rules.
    #[arg(long, value_name = "MAP|FILE.toml", default_value = "dynunet")]
    map: String,
    /// Model folder to write.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let config = ModelConfig::read(&options.config)?;
    ensure!(
        config.method == Method::Single,
        "{}: method is two, expected `method = \"single\"`: a file of weights is of one network",
        options.config.display()
    );
    let model = options.model.join("model.toml");
    ensure!(!model.exists(), "{}: exists already, expected a new model folder", model.display());
    let target = weights_path(&options.model, "single");
    // It may be the very file that is to be imported.
    ensure!(!target.exists(), "{}: exists already, expected a new model folder", target.display());
    let map = name_map(&options.map)?;
    let tensors = import_weights(&config.network_of(&config.single), &map, &options.weights)?;
    make_folder(&options.model)?;
    weights::save(&tensors, None, &target)?;
    // Last: where it is, the model is whole.
    config.save(&options.model)?;
    print(&format!("{} tensors, model in {}", tensors.len(), options.model.display()))
}

fn name_map(name: &str) -> Result<NameMap> {
    match name {
        "dynunet" => return Ok(NameMap::monai_dynunet()),
        "basic-unet" => return Ok(NameMap::monai_basic_unet()),
        _ => {}
    }
    let text = std::fs::read_to_string(Path::new(name))
        .with_context(|| format!("--map {name}: expected dynunet, basic-unet or a file of rules"))?;
    NameMap::from_toml(&text).with_context(|| format!("--map {name}"))
}
