//! MetaImage, alone and beside files that its header may name.
#![no_main]

use std::sync::Once;

use organseg_fuzz::{check, folder};

static FILES: Once = Once::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    FILES.call_once(|| {
        for i in 0..4 {
            std::fs::write(folder().join(format!("s{i}.raw")), [i; 100]).expect("there is room for files");
        }
    });
    check("scan.mha", data);
});
