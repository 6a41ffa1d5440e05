//! Writes the files that fuzzing starts from into `corpus/TARGET`: small sound images of every type, by this
//! workspace's own writers.
//!
//! ```sh
//! cargo run --bin seeds
//! ```

use std::path::Path;

use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use organseg_fuzz::{folder, seed_slices};
use organseg_volume::{Affine, Grid, NiftiVersion, Volume, Voxel, WriteConfig, write_with};
use std::io::Write;

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        std::fs::write(folder.join(name), bytes).expect("the folder can be written");
    };
    for (ending, target) in [
        ("nii", "nifti"),
        ("nii.gz", "nifti_gzip"),
        ("nrrd", "nrrd"),
        ("nhdr", "nrrd"),
        ("mha", "metaimage"),
        ("mhd", "metaimage"),
    ] {
        put(target, &format!("u8.{ending}"), &image::<u8>(ending));
        put(target, &format!("i16.{ending}"), &image::<i16>(ending));
        put(target, &format!("u32.{ending}"), &image::<u32>(ending));
        put(target, &format!("i64.{ending}"), &image::<i64>(ending));
        put(target, &format!("f32.{ending}"), &image::<f32>(ending));
        put(target, &format!("f64.{ending}"), &image::<f64>(ending));
    }
    for (ending, target) in [("2.nii", "nifti"), ("2.nii.gz", "nifti_gzip")] {
        put(target, &format!("u8.{ending}"), &image::<u8>(ending));
        put(target, &format!("f64.{ending}"), &image::<f64>(ending));
    }
    for (i, bytes) in texts().into_iter().enumerate() {
        let target = if bytes.starts_with(b"NRRD") { "nrrd" } else { "metaimage" };
        put(target, &format!("text{i}"), &bytes);
    }
    for (i, slice) in seed_slices().iter().enumerate() {
        put("dicom", &format!("slice{i}"), slice);
    }
    let rows: [Vec<u8>; 4] = [
        vec![7; 5000],
        (0..=255).cycle().take(3000).collect(),
        (0..4000u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect(),
        b"to be or not to be, that is the question".repeat(9),
    ];
    for (i, row) in rows.iter().enumerate() {
        for level in [0, 1, 6, 9] {
            let mut deflate = DeflateEncoder::new(Vec::new(), Compression::new(level));
            let stream = deflate.write_all(row).and_then(|()| deflate.finish());
            put("deflate", &format!("row{i}-{level}"), &stream.expect("memory takes every byte"));
        }
    }
    println!("{}", corpus.display());
}

/// The bytes of a small oblique image in the format of `ending`; `2.` in front for NIfTI-2.
fn image<T: Voxel>(ending: &str) -> Vec<u8> {
    let affine = Affine::new([
        [0.5, 0.25, 0.0, -10.0],
        [-0.25, 0.5, 0.0, 20.0],
        [0.0, 0.0, 2.5, 30.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let grid = Grid::new([4, 3, 2], affine.expect("it is invertible")).expect("it has voxels");
    let volume = Volume::from_fn(grid, |[x, y, z]| T::from_f64((10 * z + 4 * y + x) as f64));
    let path = folder().join(format!("seed.{ending}"));
    let version = if ending.starts_with("2.") { NiftiVersion::Two } else { NiftiVersion::default() };
    let config = WriteConfig::default().with_nifti_version(version);
    write_with(&path, &volume, &config).expect("there is room for files");
    std::fs::read(path).expect("it has been written")
}

/// Headers that our writers do not write.
fn texts() -> Vec<Vec<u8>> {
    let nrrd = "NRRD0005\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: big\n";
    let meta = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n";
    let numbers = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24\n";
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let stream = zlib.write_all(&[1; 48]).and_then(|()| zlib.finish()).expect("memory takes every byte");
    let mut texts: Vec<Vec<u8>> = [
        format!("{nrrd}encoding: ascii\nspacings: 1 2 3\naxis mins: 0 0 0\ncenterings: node cell ???\n\n{numbers}"),
        format!("{nrrd}encoding: raw\nspace: RAS\nspace units: \"mm\" \"cm\" \"mm\"\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (1,2,3)\nbyte skip: -1\ndata file: s1.raw\n"),
        format!("{nrrd}encoding: raw\nspacings: 1 1 1\ndata file: s%d.raw 0 1 1\n"),
        format!("{nrrd}encoding: raw\nkinds: domain domain space\nline skip: 0\nkey:=value\ndata file: LIST 2\ns2.raw\ns3.raw\n"),
        "NRRD0004\ntype: uchar\ndimension: 4\nsizes: 1 4 3 2\nkinds: vector domain domain domain\nspace: LPS-time\nspace directions: none (1,0,0,0) (0,1,0,0) (0,0,1,0)\nencoding: raw\n\n012345678901234567890123".to_string(),
        format!("{meta}BinaryData = False\nElementDataFile = LOCAL\n{numbers}"),
        format!("{meta}ElementSize = 1 1 1\nElementByteOrderMSB = True\nHeaderSize = -1\nElementDataFile = s1.raw\n"),
        format!("{meta}Position = 1 2 3\nOrientation = 1 0 0 0 0 1 0 -1 0\nElementDataFile = s%d.raw 0 1 1\n"),
        format!("{meta}DistanceUnits = cm\nElementToIntensityFunctionSlope = 2\nElementDataFile = LIST\ns2.raw\ns3.raw\n"),
    ]
    .map(String::into_bytes)
    .into();
    texts.push(
        [format!("{meta}CompressedData = True\nElementDataFile = LOCAL\n").as_bytes(), &stream].concat(),
    );
    texts
}
