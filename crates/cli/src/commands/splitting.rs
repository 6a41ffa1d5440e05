//! Which cases train and which validate.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::builder::TypedValueParser;
use clap::{Args, value_parser};
use organseg::train::{Dataset, Splits};

/// nnU-Net's.
const SPLIT_SEED: u64 = 12_345;

/// How the cases are divided.
#[derive(Args)]
pub(crate) struct SplittingOptions {
    /// Number of folds [default: 5; 4 in cross-validate]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(2..).map(usize::from))]
    folds: Option<usize>,
    /// Decides the folds: those of scikit-learn's KFold with this random_state, as in nnU-Net [default: 12345]
    #[arg(long, value_name = "S")]
    split_seed: Option<u64>,
    /// Folds in which all cases of a patient lie together: a table with the columns case and group.
    #[arg(long, value_name = "FILE.csv")]
    groups: Option<PathBuf>,
    /// Folds of one's own: a list of {"train": [cases], "val": [cases]}, as a splits.json or nnU-Net's splits_final.json.
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["folds", "split_seed", "groups"])]
    splits: Option<PathBuf>,
}

impl SplittingOptions {
    /// The folds of `dataset`, `usual` of them where nothing else is said.
    pub(crate) fn of(&self, dataset: &Dataset, usual: usize) -> Result<Splits> {
        if let Some(path) = &self.splits {
            return Ok(Splits::read_for(path, dataset)?);
        }
        let (names, folds) = (dataset.names(), self.folds.unwrap_or(usual));
        let seed = self.split_seed.unwrap_or(SPLIT_SEED);
        match &self.groups {
            None => Ok(Splits::k_fold(&names, folds, seed)?),
            Some(path) => {
                let groups = Splits::read_groups(path)?;
                Splits::grouped_k_fold(&names, &groups, folds, seed)
                    .with_context(|| format!("--groups {}", path.display()))
            }
        }
    }

    /// The first of the arguments that are given, if one is: they say nothing where the cases are not divided.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.folds.is_some(), "--folds"),
            (self.split_seed.is_some(), "--split-seed"),
            (self.groups.is_some(), "--groups"),
            (self.splits.is_some(), "--splits"),
        ];
        given.into_iter().find_map(|(is, name)| is.then_some(name))
    }
}
