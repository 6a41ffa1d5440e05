//! Settings that fit a dataset, where a person has set none.
//!
//! - Labels are the dataset's. Intensities: the window −100‥240 HU for CT, z-scores for anything else.
//! - The single stage is trained on patches: the median size of the training images, rounded up to what
//!   the network halves without padding, and shrunk along its longest axes until it has no more than
//!   `max_patch_voxels`.
//! - The coarse stage sees the whole decimated scan, or patches found in the same way if the median scan
//!   is above that limit; the fine stage whole crops, or patches if any crop is above it.

use std::path::Path;

use organseg_roi::BoundingBox;
use organseg_train::{Dataset, Preprocessing, Split};
use toml::{Table, Value};

use crate::training::find;
use crate::{ModelConfig, PipelineError};

/// Voxels of a patch that train on a desk computer: 16 channels of them take 64 MB, and a training step of
/// the default network some 3 GB.
pub const MAX_PATCH_VOXELS: usize = 1 << 20;

/// `base` fitted to the training cases of `split`. What the file at `overrides` sets, in the form of
/// `model.toml`, stands as it is there.
///
/// # Errors
/// What reading the file, a header or a mask meets.
pub fn plan(
    base: &ModelConfig,
    overrides: Option<&Path>,
    dataset: &Dataset,
    split: &Split,
    max_patch_voxels: usize,
) -> Result<ModelConfig, PipelineError> {
    let given = match overrides {
        Some(path) => {
            // Misspelt fields are found here, with the line they stand in.
            ModelConfig::read(path)?;
            std::fs::read_to_string(path)
                .map_err(|source| PipelineError::Io { path: path.to_path_buf(), source })?
                .parse::<Table>()
                .map_err(|source| PipelineError::Toml {
                    path: path.to_path_buf(),
                    source: Box::new(source),
                })?
        }
        None => Table::new(),
    };
    // Once before, for sizes depend on decimation, spacing and networks; once after, for the last word.
    let mut config = overlaid(base, &given, overrides)?;
    config.labels = dataset.labels.clone();
    if !given.contains_key("preprocessing") {
        config.preprocessing = Preprocessing::for_modality(&dataset.modality);
    }
    fit_patches(&mut config, dataset, split, max_patch_voxels)?;
    let config = overlaid(&config, &given, overrides)?;
    config.check()?;
    Ok(config)
}

/// `config` with the fields that `given` sets.
fn overlaid(config: &ModelConfig, given: &Table, path: Option<&Path>) -> Result<ModelConfig, PipelineError> {
    let mut table = Table::try_from(config).expect("a model configuration is valid TOML");
    overlay(&mut table, given);
    table.try_into().map_err(|source| PipelineError::Toml {
        path: path.unwrap_or(Path::new("model configuration")).to_path_buf(),
        source: Box::new(source),
    })
}

fn overlay(onto: &mut Table, from: &Table) {
    for (key, value) in from {
        match (onto.get_mut(key), value) {
            // A table with a kind is one thing, not a set of fields: another kind has other fields.
            (Some(Value::Table(old)), Value::Table(new)) if !new.contains_key("kind") => overlay(old, new),
            _ => {
                onto.insert(key.clone(), value.clone());
            }
        }
    }
}

fn fit_patches(
    config: &mut ModelConfig,
    dataset: &Dataset,
    split: &Split,
    max_voxels: usize,
) -> Result<(), PipelineError> {
    let mut sizes = Vec::new();
    for name in &split.train {
        let grid = organseg_volume::probe(&find(dataset, name)?.image)?.grid;
        sizes.push(config.preprocessing.prepared_grid(&grid)?.size());
    }
    let whole = median(&sizes);
    let multiple = config.single.network.size_multiple();
    config.single.patch_size = Some(patch_within(whole, multiple, max_voxels));
    let low = [0, 1, 2].map(|a| whole[a].div_ceil(config.decimation[a]));
    if voxels(low) > max_voxels {
        let multiple = config.coarse.network.size_multiple();
        config.coarse.patch_size = Some(patch_within(low, multiple, max_voxels));
    }
    // Masks are read only where a crop could be too large.
    if voxels(whole) > max_voxels {
        let margin = config.crop_margin_voxels + config.crop_jitter_voxels;
        let mut crops = Vec::new();
        for name in &split.train {
            let case = find(dataset, name)?;
            let labels = config.preprocessing.prepare_labels(&case.load(dataset)?.label)?;
            crops.extend(BoundingBox::of_mask(&labels).map(|b| b.grow([margin; 3]).size()));
        }
        if crops.iter().any(|&size| voxels(size) > max_voxels) {
            let multiple = config.fine.network.size_multiple();
            config.fine.patch_size = Some(patch_within(median(&crops), multiple, max_voxels));
        }
    }
    Ok(())
}

fn voxels(size: [usize; 3]) -> usize {
    size.iter().product()
}

/// The middle size along each axis.
fn median(sizes: &[[usize; 3]]) -> [usize; 3] {
    [0, 1, 2].map(|a| {
        let mut all: Vec<_> = sizes.iter().map(|size| size[a]).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(1)
    })
}

/// `size` rounded up to `multiple`, then shrunk along the longest axis until it has no more than
/// `max_voxels`.
fn patch_within(size: [usize; 3], multiple: usize, max_voxels: usize) -> [usize; 3] {
    let mut patch = size.map(|n| n.next_multiple_of(multiple));
    while voxels(patch) > max_voxels {
        let longest = (0..3).max_by_key(|&a| (patch[a], a)).expect("there are three axes");
        if patch[longest] <= multiple {
            break;
        }
        patch[longest] -= multiple;
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_multiples_and_fit() {
        assert_eq!(patch_within([35, 50, 36], 8, 1 << 20), [40, 56, 40]);
        let patch = patch_within([512, 512, 240], 8, 1 << 20);
        assert!(patch.iter().all(|n| n % 8 == 0) && voxels(patch) <= 1 << 20, "{patch:?}");
    }

    #[test]
    fn what_a_file_sets_stands_and_the_rest_stays() {
        let given: Table = "decimation = [2, 2, 2]\n[fine.train]\nepochs = 7\n".parse().unwrap();
        let config = overlaid(&ModelConfig::default(), &given, None).unwrap();
        assert_eq!((config.decimation, config.fine.train.epochs), ([2; 3], 7));
        assert_eq!(config.coarse, ModelConfig::default().coarse);
        assert_eq!(config.fine.network, ModelConfig::default().fine.network);
    }
}
