//! A DICOM file, alone and as the slice between two sound ones.
#![no_main]

use std::sync::Once;

use organseg_fuzz::{check, folder, limits, seed_slices};
use organseg_volume::{DicomOptions, find_dicom_series};

static FILES: Once = Once::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let series = folder().join("series");
    FILES.call_once(|| {
        std::fs::create_dir_all(&series).expect("there is room for files");
        let slices = seed_slices();
        std::fs::write(series.join("a"), &slices[0]).expect("there is room for files");
        std::fs::write(series.join("c"), &slices[2]).expect("there is room for files");
    });
    check("slice.dcm", data);
    std::fs::write(series.join("b"), data).expect("there is room for files");
    for found in find_dicom_series(&series).into_iter().flatten() {
        assert!(!found.summary().is_empty());
        let strict = DicomOptions::default().with_limits(limits());
        let lenient = strict.with_accept_irregular(true);
        for options in [strict, lenient] {
            if let Ok(volume) = found.read::<f64>(&options) {
                assert_eq!(*volume.grid(), found.grid(&options).expect("what is read has a grid"));
            }
        }
    }
});
