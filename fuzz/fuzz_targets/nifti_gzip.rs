//! Compressed NIfTI. What another decoder makes of the stream must be the same image.
#![no_main]

use std::io::Read;

use flate2::read::MultiGzDecoder;
use organseg_fuzz::{check_file, folder};

/// Longest stream that is compared: beyond, trailing bytes are handled differently.
const LONGEST: u64 = 1 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = folder();
    let (packed, plain) = (folder.join("scan.nii.gz"), folder.join("plain.nii"));
    std::fs::write(&packed, data).expect("there is room for files");
    let found = check_file(&packed);
    let mut bytes = Vec::new();
    let whole = MultiGzDecoder::new(data).take(LONGEST).read_to_end(&mut bytes);
    if whole.is_ok() && (bytes.len() as u64) < LONGEST {
        std::fs::write(&plain, bytes).expect("there is room for files");
        if let Some(expected) = check_file(&plain) {
            let found = found.expect("a stream that another decoder reads can be read");
            assert_eq!(found.grid(), expected.grid());
            let same = found.voxels().iter().zip(expected.voxels()).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "the decoders differ");
        }
    }
});
