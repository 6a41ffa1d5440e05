//! Real scans, against what SimpleITK reads from the same files.

use std::path::PathBuf;

use organseg_volume::{read_image, reorient};
use serde_json::Value;

/// Where a sampled world point, given to 1e-5 mm, may lie beside a voxel's centre, in voxels.
const SAMPLE_TOLERANCE_VOXELS: f64 = 1e-4;

/// The affines are equal to the bit, but JSON's digits are parsed to the last place or next to it.
const JSON_TOLERANCE: f64 = 1e-12;

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
fn real_scans_have_the_reference_s_geometry_and_values() {
    let Some(folder) = data_folder() else { return };
    let text = std::fs::read_to_string(folder.join("reference_geometry.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    for name in ["ct_abdomen/ct_3mm.nii.gz", "ct_abdomen/ct_1.5mm_lps.nii.gz"] {
        let expected = &reference[name];
        let volume = read_image(folder.join(name)).unwrap();
        assert_eq!(volume.size().map(|n| n as f64).to_vec(), numbers(&expected["size"]), "{name}");
        let affine = volume.grid().affine().to_rows().concat();
        for (found, expected) in affine.iter().zip(numbers(&expected["affine_ras"])) {
            assert!((found - expected).abs() < JSON_TOLERANCE, "{name}: {affine:?}");
        }
        assert_eq!(volume.grid().spacing().to_array().to_vec(), numbers(&expected["spacing_mm"]), "{name}");

        let values = || volume.voxels().iter().map(|&v| f64::from(v));
        assert_eq!(values().fold(f64::INFINITY, f64::min), expected["min"].as_f64().unwrap(), "{name}");
        assert_eq!(values().fold(f64::NEG_INFINITY, f64::max), expected["max"].as_f64().unwrap(), "{name}");
        let mean = values().sum::<f64>() / volume.voxels().len() as f64;
        assert!((mean - expected["mean"].as_f64().unwrap()).abs() < 1e-6, "{name}: mean {mean}");

        let samples = expected["samples_world_ras_mm_value"].as_array().unwrap();
        assert_eq!(samples.len(), 24, "{name}");
        // The same points hold the same values, however the axes run.
        for orientation in ["RAS", "LPS", "SAL"] {
            let turned = reorient(&volume, orientation.parse().unwrap());
            for sample in samples {
                let sample = numbers(sample);
                let voxel = turned.grid().world_to_voxel([sample[0], sample[1], sample[2]]);
                let nearest = voxel.map(f64::round);
                for (v, n) in voxel.into_iter().zip(nearest) {
                    assert!((v - n).abs() < SAMPLE_TOLERANCE_VOXELS, "{name}: {sample:?} is at {voxel:?}");
                }
                let found = f64::from(turned[nearest.map(|v| v as usize)]);
                assert_eq!(found, sample[3], "{name} {orientation}: {sample:?}");
            }
        }
    }
}
