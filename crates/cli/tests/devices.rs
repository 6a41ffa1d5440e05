//! Where the command computes: what it says of the machine, and of a GPU that there is not.

mod support;

use serde_json::Value;
use support::{fail, organseg, scan, succeed, text, world};

#[test]
fn doctor_finds_every_device_well() {
    let report: Value = serde_json::from_str(&succeed(&["doctor", "--json"])).unwrap();
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    for device in report["devices"].as_array().unwrap() {
        for check in device["checks"].as_array().unwrap() {
            assert!(check["results"].as_u64().unwrap() > 20, "{check}");
            assert!(check["largest_difference"].as_f64().unwrap() <= check["limit"].as_f64().unwrap());
        }
    }
    assert_eq!(report["devices"][0]["device"], "cpu");
    assert!(!report["instructions"].as_str().unwrap().is_empty());
}

#[test]
fn a_gpu_that_is_not_there() {
    let (model, scan, folder) = (world().join("model"), scan(), tempfile::tempdir().unwrap());
    let out = folder.path().join("mask.nii.gz");
    let segment = ["segment", "--model", text(&model), text(&scan), "--out", text(&out), "--device"];
    let on = |device: &'static str| [&segment[..], &[device]].concat();
    for wrong in ["gpu", "cuda", "cuda:-1"] {
        let refused = organseg(&on(wrong));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(wrong) && said.contains("expected cpu, cuda:N or auto"), "{said}");
        assert_eq!(refused.status.code(), Some(2), "wrong usage");
    }
    let reason =
        if cfg!(feature = "cuda") { "looked for NVIDIA's driver" } else { "without its `cuda` feature" };
    // No machine has so many.
    fail(&on("cuda:99"), &["--device cuda:99", reason]);
    assert!(!out.exists());
    let auto = organseg(&on("auto"));
    assert!(auto.status.success() && out.exists());
    let said = String::from_utf8(auto.stderr).unwrap();
    assert!(said.contains("--device auto: "), "{said}");
}
