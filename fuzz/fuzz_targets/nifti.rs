//! NIfTI-1 and NIfTI-2, in one file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| organseg_fuzz::check("scan.nii", data));
