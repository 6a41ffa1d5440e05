//! Several models whose answers count as one: the mean of their class probabilities, voxel by voxel.
//!
//! The usual members are the models of a cross-validation's folds, as in nnU-Net [Isensee 2021], or of one split and
//! several seeds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use organseg_train::{Split, Splits, differences};

use crate::model::{Method, ModelConfig, StageConfig};
use crate::{PipelineError, PredictionConfig};

/// The models in `folder`: itself if it is a model folder, the folds if it is one of
/// [`cross_validate`](crate::cross_validate), in their order.
///
/// # Errors
/// [`PipelineError::NoModel`] if it is neither, or if folds are missing: some number, those that `splits.json` beside the
/// folds has more, or, without it, those that by the folds' `splits.json` would hold back the other cases. [`PipelineError::Io`] if it cannot be read.
///
/// ```
/// # use organseg_pipeline::{ModelConfig, model_folders};
/// # let folder = tempfile::tempdir()?;
/// # let out = folder.path();
/// for fold in ["fold_0", "fold_1"] {
///     std::fs::create_dir(out.join(fold))?;
///     ModelConfig::default().save(&out.join(fold))?;
/// }
/// assert_eq!(model_folders(out)?, [out.join("fold_0"), out.join("fold_1")]);
/// assert_eq!(model_folders(&out.join("fold_1"))?, [out.join("fold_1")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn model_folders(folder: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    if holds_model(folder) {
        return Ok(vec![folder.to_path_buf()]);
    }
    let no_model = |found: String| PipelineError::NoModel { path: folder.to_path_buf(), found };
    if folder.is_file() {
        return Err(no_model("a file".into()));
    }
    let io = |source| PipelineError::Io { path: folder.to_path_buf(), source };
    let mut folds = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("fold_")?.parse::<usize>().ok());
        folds.extend(number.filter(|number| name == *fold_name(*number)));
    }
    folds.sort_unstable();
    let Some(last) = folds.last().map(|&last| fold_name(last)) else {
        return Err(no_model("neither model.toml nor fold_0".into()));
    };
    let folders: Vec<_> = (0..folds.len()).map(|k| folder.join(fold_name(k))).collect();
    if let Some(k) = (0..folds.len()).find(|&k| folds[k] != k || !holds_model(&folders[k])) {
        return Err(no_model(format!("{last}, but no {}/model.toml", fold_name(k))));
    }
    let splits = folder.join("splits.json");
    if splits.is_file() {
        // Folds of one's own need not hold back every case.
        let expected = Splits::read(&splits)?.folds().len();
        if folds.len() != expected {
            return Err(no_model(format!(
                "folds up to {last}, {} of the {expected} of splits.json",
                folds.len()
            )));
        }
        return Ok(folders);
    }
    let (held_back, cases) = cases_of(&folders)?;
    if held_back < cases {
        return Err(no_model(format!(
            "folds up to {last}, which hold back {held_back} of {cases} cases (folds of one's own may; they need their file as \
             splits.json there, or to be given one by one)"
        )));
    }
    Ok(folders)
}

/// How many cases the models in `folders` hold back together, and how many there are, by their splits; none where
/// a folder has no splits.
fn cases_of(folders: &[PathBuf]) -> Result<(usize, usize), PipelineError> {
    let (mut held_back, mut all) = (BTreeSet::new(), BTreeSet::new());
    for path in folders.iter().map(|folder| folder.join("splits.json")).filter(|path| path.is_file()) {
        for Split { train, val } in Splits::read(path)?.folds() {
            held_back.extend(val.iter().cloned());
            all.extend(train.iter().chain(val).cloned());
        }
    }
    Ok((held_back.len(), all.len()))
}

/// Name of the folder of a cross-validation's model number `k`.
pub(crate) fn fold_name(k: usize) -> String {
    format!("fold_{k}")
}

fn holds_model(folder: &Path) -> bool {
    folder.join("model.toml").is_file()
}

/// Checks that the models in `folders` prepare and see a scan in one way and name its labels alike; how their
/// networks are built and were trained is their own affair.
pub(crate) fn check_alike(configs: &[ModelConfig], folders: &[PathBuf]) -> Result<(), PipelineError> {
    let Some((first, others)) = configs.split_first() else { return Ok(()) };
    for (other, folder) in others.iter().zip(&folders[1..]) {
        let reason = differences(&what_must_agree(other), &what_must_agree(first));
        if !reason.is_empty() {
            let (path, first) = (folder.clone(), folders[0].clone());
            return Err(PipelineError::Ensemble { path, first, reason });
        }
    }
    Ok(())
}

/// `model` without what its partners may do in another way.
fn what_must_agree(model: &ModelConfig) -> ModelConfig {
    let default = ModelConfig::default();
    let two = model.method == Method::Two;
    let stage = |stage: &StageConfig, is_used: bool| StageConfig {
        patch_size: stage.patch_size.filter(|_| is_used),
        ..StageConfig::default()
    };
    ModelConfig {
        method: model.method,
        labels: model.labels.clone(),
        preprocessing: model.preprocessing,
        decimation: if two { model.decimation } else { default.decimation },
        boxes: if two { model.boxes } else { default.boxes },
        prediction: PredictionConfig::default(),
        coarse: stage(&model.coarse, two),
        fine: stage(&model.fine, two),
        single: stage(&model.single, !two),
        ..default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_trainings_may_differ_and_what_is_seen_may_not() {
        let folders = ["a", "b"].map(PathBuf::from);
        let reason = |change: fn(&mut ModelConfig)| {
            let mut other = ModelConfig::default();
            change(&mut other);
            match check_alike(&[ModelConfig::default(), other], &folders) {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(reason(|_| {}), "");
        assert_eq!(reason(|model| model.fine.train.seed = 7), "");
        assert_eq!(reason(|model| model.fine.network.channels = vec![8]), "");
        assert_eq!(reason(|model| model.fine.train.augment.noise = 1.0), "");
        assert_eq!(reason(|model| model.single.patch_size = Some([8; 3])), "", "not a stage of this method");
        assert_eq!(
            reason(|model| model.decimation = [2, 4, 4]),
            "b (there) cannot be averaged with a (here): decimation is [2,4,4] there and [4,4,4] here"
        );
        assert_ne!(reason(|model| model.fine.patch_size = Some([8; 3])), "");
        assert_ne!(reason(|model| drop(model.labels.insert(2, "tumour".into()))), "");
    }

    #[test]
    fn a_folder_without_a_model_or_with_a_hole_among_its_folds_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let message = |folder: &Path| model_folders(folder).unwrap_err().to_string();
        assert!(message(folder.path()).contains("neither model.toml nor fold_0"));
        assert!(message(&folder.path().join("nothing")).contains("nothing"));
        for fold in ["fold_0", "fold_2", "fold_x", "fold_01"] {
            std::fs::create_dir(folder.path().join(fold)).unwrap();
            ModelConfig::default().save(&folder.path().join(fold)).unwrap();
        }
        assert!(message(folder.path()).contains("fold_2, but no fold_1/model.toml"));
        assert!(message(&folder.path().join("fold_0/model.toml")).contains("a file there, expected a model"));
    }

    #[test]
    fn folds_of_ones_own_are_complete_when_all_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"[{"train": ["a", "c"], "val": ["b"]}, {"train": ["b", "c"], "val": ["a"]}]"#;
        std::fs::write(folder.path().join("splits.json"), text).unwrap();
        for k in 0..2 {
            let fold = folder.path().join(fold_name(k));
            std::fs::create_dir(&fold).unwrap();
            ModelConfig::default().save(&fold).unwrap();
            let found = model_folders(folder.path()).map_err(|error| error.to_string());
            match k {
                0 => assert!(found.unwrap_err().contains("folds up to fold_0, 1 of the 2 of splits.json")),
                _ => assert_eq!(found.unwrap().len(), 2),
            }
        }
    }

    #[test]
    fn a_cross_validation_that_is_not_finished_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let splits = Splits::k_fold(&["a", "b", "c", "d", "e"], 3, 0).unwrap();
        for (k, split) in splits.folds().iter().enumerate() {
            let fold = folder.path().join(fold_name(k));
            std::fs::create_dir(&fold).unwrap();
            ModelConfig::default().save(&fold).unwrap();
            let text = serde_json::to_string(&[split]).unwrap();
            std::fs::write(fold.join("splits.json"), text).unwrap();
            let found = model_folders(folder.path()).map_err(|error| error.to_string());
            match k {
                0 => assert!(found.unwrap_err().contains("fold_0, which hold back 2 of 5 cases")),
                1 => assert!(found.unwrap_err().contains("fold_1, which hold back 4 of 5 cases")),
                _ => assert_eq!(found.unwrap().len(), 3),
            }
        }
    }
}
