//! Folders of phantoms.

use std::io::Write;
use std::path::Path;

use organseg_volume::{write, write_atomically};
use serde_json::json;

use crate::render::generate;
use crate::{PhantomConfig, PhantomError};

/// Seed of case `index` of a dataset of seed `seed`: far apart for neighbours, so that datasets of
/// neighbouring seeds share no case.
#[must_use]
pub fn case_seed(seed: u64, index: usize) -> u64 {
    // SplitMix64's finaliser.
    let mut h = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(index as u64);
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// Writes `cases` phantoms into `folder` in nnU-Net's layout: `imagesTr/phantom_000_0000.nii.gz`,
/// `labelsTr/phantom_000.nii.gz`, and `dataset.json` when all are there.
///
/// ```
/// use organseg_phantom::{PhantomConfig, write_dataset};
/// # let folder = tempfile::tempdir()?;
/// let small = PhantomConfig::default().with_size([32, 28, 20]);
/// write_dataset(folder.path(), 2, &small, 1)?;
/// assert!(folder.path().join("imagesTr/phantom_001_0000.nii.gz").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`PhantomError::DatasetExists`] if the folder holds a `dataset.json`, [`PhantomError::Io`] or
/// [`PhantomError::Volume`] if it cannot be written.
pub fn write_dataset(
    folder: &Path,
    cases: usize,
    config: &PhantomConfig,
    seed: u64,
) -> Result<(), PhantomError> {
    config.grid()?;
    if cases == 0 {
        let expected = "at least 1";
        return Err(PhantomError::Config { field: "cases", found: "0".into(), expected });
    }
    let description = folder.join("dataset.json");
    if description.exists() {
        return Err(PhantomError::DatasetExists { path: folder.to_path_buf() });
    }
    let (images, labels) = (folder.join("imagesTr"), folder.join("labelsTr"));
    for path in [&images, &labels] {
        std::fs::create_dir_all(path).map_err(|source| PhantomError::Io { path: path.clone(), source })?;
    }
    for index in 0..cases {
        let phantom = generate(config, case_seed(seed, index))?;
        let image = phantom.image.map(|hu| hu as i16);
        write(images.join(format!("phantom_{index:03}_0000.nii.gz")), &image)?;
        write(labels.join(format!("phantom_{index:03}.nii.gz")), &phantom.labels)?;
    }
    let json = json!({
        "name": "Phantoms",
        "description": "Synthetic abdominal CT with a pancreas",
        "channel_names": { "0": "CT" },
        "labels": { "background": 0, "pancreas": 1 },
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "seed": seed,
    });
    write_atomically(&description, |file| writeln!(file, "{json:#}"))
        .map_err(|source| PhantomError::Io { path: description.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let small = PhantomConfig::default().with_size([16, 16, 16]);
        write_dataset(folder.path(), 1, &small, 1).unwrap();
        let error = write_dataset(folder.path(), 1, &small, 1).unwrap_err();
        assert!(matches!(error, PhantomError::DatasetExists { .. }));
    }

    #[test]
    fn cases_of_neighbouring_seeds_differ() {
        let mut seeds: Vec<u64> = (0..20).flat_map(|s| (0..50).map(move |i| case_seed(s, i))).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 1000);
    }
}
