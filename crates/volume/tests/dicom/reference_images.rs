//! Real series, against what SimpleITK reads from the same files.

use std::path::PathBuf;

use organseg_volume::{DicomOptions, find_dicom_series, probe, read, read_image};
use serde_json::Value;

/// Where a sampled world point, given to 1e-5 mm, may lie beside a voxel's centre, in voxels. SimpleITK
/// makes the direction cosines, which files round to six digits, orthonormal; that is 3e-4 voxels at the far
/// side of 512.
const SAMPLE_TOLERANCE_VOXELS: f64 = 1e-3;

/// Affines agree to this, in millimetres, for the same reason.
const AFFINE_TOLERANCE_MM: f64 = 1e-6;

/// The folder of real images: `ORGANSEG_DATA`, else `../shared/data` beside the checkout.
fn data_folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("ORGANSEG_DATA").map_or_else(beside, PathBuf::from);
    if folder.join("reference_geometry.json").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: no reference_geometry.json in {}", folder.display());
    None
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().expect("the reference holds numbers here")],
    }
}

#[test]
fn real_series_have_the_reference_s_geometry_and_values() {
    let Some(folder) = data_folder() else { return };
    let text = std::fs::read_to_string(folder.join("reference_geometry.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    for name in ["dicom/ct_3mm", "dicom/mr_crop", "dicom/mr_implicit_vr", "dicom/mr_oblique"] {
        let expected = &reference[name];
        assert!(expected.is_object(), "{name} is not in the reference");
        let series = find_dicom_series(folder.join(name)).unwrap();
        assert_eq!(series.len(), 1, "{name}");
        eprintln!("{name}: {}; {:?}", series[0].summary(), series[0].findings());
        let volume = series[0].read_image(&DicomOptions::default()).unwrap();
        assert_eq!(volume, read_image(folder.join(name)).unwrap());
        assert_eq!(volume.size().map(|n| n as f64).to_vec(), numbers(&expected["size"]), "{name}");
        let affine = volume.grid().affine().to_rows().concat();
        for (found, expected) in affine.iter().zip(numbers(&expected["affine_ras"])) {
            assert!((found - expected).abs() < AFFINE_TOLERANCE_MM, "{name}: {affine:?} {expected}");
        }
        let values = || volume.voxels().iter().map(|&v| f64::from(v));
        assert_eq!(values().fold(f64::INFINITY, f64::min), expected["min"].as_f64().unwrap(), "{name}");
        assert_eq!(values().fold(f64::NEG_INFINITY, f64::max), expected["max"].as_f64().unwrap(), "{name}");
        let mean = values().sum::<f64>() / volume.voxels().len() as f64;
        assert!((mean - expected["mean"].as_f64().unwrap()).abs() < 1e-6, "{name}: mean {mean}");
        let samples = expected["samples_world_ras_mm_value"].as_array().unwrap();
        assert_eq!(samples.len(), 24, "{name}");
        for sample in samples {
            let sample = numbers(sample);
            let voxel = volume.grid().world_to_voxel([sample[0], sample[1], sample[2]]);
            let nearest = voxel.map(f64::round);
            for (v, n) in voxel.into_iter().zip(nearest) {
                assert!((v - n).abs() < SAMPLE_TOLERANCE_VOXELS, "{name}: {sample:?} is at {voxel:?}");
            }
            assert_eq!(f64::from(volume[nearest.map(|v| v as usize)]), sample[3], "{name}: {sample:?}");
        }
        // Whole values are exact in the type that the header promises.
        let exact = read::<i32>(folder.join(name)).unwrap();
        assert!(exact.voxels().iter().zip(volume.voxels()).all(|(&a, &b)| a as f32 == b), "{name}");
        assert_eq!(probe(folder.join(name)).unwrap().grid, *volume.grid());
    }
}
