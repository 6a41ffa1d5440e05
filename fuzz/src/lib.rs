//! What the fuzz targets share: files in memory, read in every way.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use organseg_volume::{ReadLimits, Volume, VolumeError, probe, read_with_limits, write};

/// Memory that a file may ask for: small, so that many are tried in a second.
const MAX_BYTES: u64 = 16 << 20;

/// The limits of every read.
pub fn limits() -> ReadLimits {
    // Asking the system for its memory takes longer than reading a small file.
    static LIMITS: OnceLock<ReadLimits> = OnceLock::new();
    *LIMITS.get_or_init(|| {
        let mut limits = ReadLimits::default();
        limits.max_bytes = MAX_BYTES;
        limits
    })
}

/// A folder for the files of this process, in memory where the system has such a place.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let shared = Path::new("/dev/shm");
        let root = if shared.is_dir() { shared.to_path_buf() } else { std::env::temp_dir() };
        let folder = root.join(format!("organseg-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is room for files");
        folder
    })
}

/// Writes `data` as the file `name`, reads it, and holds what is read against itself.
pub fn check(name: &str, data: &[u8]) {
    let path = folder().join(name);
    std::fs::write(&path, data).expect("there is room for files");
    check_file(&path);
}

/// Reads the file at `path`: it is an image or an error. An image is what its header says, and is the same
/// after it has been written and read again.
pub fn check_file(path: &Path) -> Option<Volume<f64>> {
    let info = probe(path);
    let image: Result<Volume<f64>, VolumeError> = read_with_limits(path, limits());
    let labels = read_with_limits::<u8>(path, limits());
    let Ok(image) = image else {
        // Doubles hold everything but large integers of 64 bits, bytes much less.
        assert!(
            labels.is_err() || labels.is_ok_and(|labels| labels.voxels().len() > MAX_BYTES as usize / 16)
        );
        return None;
    };
    let info = info.expect("what can be read has a header that can be read");
    assert_eq!(info.grid, *image.grid());
    assert_eq!(image.voxels().len(), image.size().iter().product::<usize>());
    if let Ok(labels) = labels {
        let same = labels.voxels().iter().zip(image.voxels()).all(|(&a, &b)| f64::from(a) == b);
        assert!(same, "labels and image differ");
    }
    if image.voxels().len() < 10_000 {
        let copy = folder().join("copy.nrrd");
        write(&copy, &image).expect("an image can be written");
        let again: Volume<f64> = read_with_limits(&copy, limits()).expect("what is written can be read");
        assert_eq!(again.grid(), image.grid());
        let bits = |volume: &Volume<f64>| volume.voxels().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&again), bits(&image));
    }
    Some(image)
}

/// Three slices of a DICOM series.
pub fn seed_slices() -> Vec<Vec<u8>> {
    use organseg_phantom::{DicomSeriesConfig, write_dicom_series};
    use organseg_volume::{Grid, Spacing};
    let spacing = Spacing::new([0.5, 0.75, 2.5]).expect("it is positive");
    let grid = Grid::with_spacing([4, 3, 3], spacing).expect("it has voxels");
    let volume = Volume::from_fn(grid, |[x, y, z]| (100 * z + 10 * y + x) as i16);
    let files = write_dicom_series(folder().join("seed"), &volume, &DicomSeriesConfig::default());
    let files = files.expect("there is room for files");
    files.iter().map(|path| std::fs::read(path).expect("it has been written")).collect()
}
