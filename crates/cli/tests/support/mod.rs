//! Running the command, and a tiny dataset and model to run it on.
#![allow(dead_code, reason = "each test file uses its share")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use organseg::volume::{Affine, Grid, Spacing, Volume, Voxel, read, write};
use tempfile::TempDir;

/// Networks that train in a second.
pub(crate) const TINY: &str = "
decimation = [2, 2, 2]
[coarse.network]
channels = [4, 8]
[fine.network]
channels = [4, 8]
[single.network]
channels = [4, 8]
";

/// Runs `organseg` with `arguments`.
pub(crate) fn organseg(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_organseg")).args(arguments).output().expect("the command starts")
}

/// Runs `organseg`, which must succeed, and returns what it printed.
pub(crate) fn succeed(arguments: &[&str]) -> String {
    let output = organseg(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "organseg {arguments:?} failed: {errors}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Runs `organseg`, which must fail with code 1 and one line that holds all of `words`.
pub(crate) fn fail(arguments: &[&str], words: &[&str]) {
    let output = organseg(arguments);
    let errors = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(output.status.code(), Some(1), "organseg {arguments:?}: {errors}");
    let lines: Vec<_> = errors.lines().filter(|line| line.starts_with("error:")).collect();
    assert!(lines.len() == 1 && errors.lines().last() == lines.last().copied(), "one line: {errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in: {errors}");
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

/// A folder with `data`, five tiny phantoms; `tiny.toml`; and `model`, a coarse and a fine network made
/// from them. Shared by the tests of one file: they only read it.
pub(crate) fn world() -> &'static Path {
    static WORLD: OnceLock<TempDir> = OnceLock::new();
    WORLD
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("there is room for temporary files");
            let at = |name: &str| folder.path().join(name);
            std::fs::write(at("tiny.toml"), TINY).expect("the folder can be written");
            let data = at("data");
            succeed(&["phantom", "--out", text(&data), "--cases", "5", "--size", "36,32,24"]);
            let (model, config) = (at("model"), at("tiny.toml"));
            let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
            succeed(&[&train[..], &["--epochs", "2", "--seed", "3"]].concat());
            folder
        })
        .path()
}

/// The first image of [`world`].
pub(crate) fn scan() -> PathBuf {
    world().join("data/imagesTr/phantom_000_0000.nii.gz")
}

/// Names of what lies in `folder`, hidden files too.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A copy of [`world`]'s dataset in `folder`, to be damaged.
pub(crate) fn copy_of_data(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    for part in ["imagesTr", "labelsTr"] {
        std::fs::create_dir_all(data.join(part)).expect("the folder can be written");
        for name in names_in(&world().join("data").join(part)) {
            let from = world().join("data").join(part).join(&name);
            std::fs::copy(from, data.join(part).join(name)).expect("files can be copied");
        }
    }
    std::fs::copy(world().join("data/dataset.json"), data.join("dataset.json")).expect("files can be copied");
    data
}

/// The 348 bytes of a sound header and the voxels behind it, uncompressed.
pub(crate) fn plain_nifti() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let path = folder.path().join("image.nii");
    let spacing = Spacing::isotropic(1.0).expect("one is positive");
    let grid = Grid::new([6, 5, 4], Affine::from_spacing(spacing, [0.0; 3])).expect("the grid is small");
    write(&path, &Volume::filled(grid, 7i16)).expect("the folder can be written");
    std::fs::read(path).expect("it was written")
}

/// Changes a volume file in place.
pub(crate) fn change<T: Voxel>(path: &Path, how: impl FnOnce(Volume<T>) -> Volume<T>) {
    let changed = how(read(path).expect("the file is sound"));
    write(path, &changed).expect("the file can be written");
}
