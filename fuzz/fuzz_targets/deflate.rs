//! The voxels of an image as a deflate stream, with the right checksum behind it: a stream that another
//! decoder reads must give the same bytes, and one that it refuses must not pass.
#![no_main]

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::GzEncoder;
use organseg_fuzz::{folder, limits};
use organseg_volume::read_with_limits;

/// Longest row of a NIfTI-1 image.
const LONGEST: u64 = 32_767;

/// A compressed NIfTI-1 header of one row of bytes.
fn header(length: usize) -> Vec<u8> {
    let mut bytes = [0u8; 352];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    for (i, n) in [3, length as i16, 1, 1].into_iter().enumerate() {
        bytes[40 + 2 * i..42 + 2 * i].copy_from_slice(&n.to_le_bytes());
    }
    bytes[70] = 2;
    bytes[72] = 8;
    for i in 1..4 {
        bytes[76 + 4 * i..80 + 4 * i].copy_from_slice(&1f32.to_le_bytes());
    }
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).and_then(|()| gzip.finish()).expect("memory takes every byte")
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut decoder = DeflateDecoder::new(data);
    let mut expected = Vec::new();
    let sound = (&mut decoder).take(LONGEST + 1).read_to_end(&mut expected).is_ok();
    if expected.is_empty() || expected.len() as u64 > LONGEST {
        return;
    }
    let used = if sound { decoder.total_in() as usize } else { data.len() };
    let mut crc = flate2::Crc::new();
    crc.update(&expected);
    let mut file = header(expected.len());
    file.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    file.extend(&data[..used]);
    file.extend(crc.sum().to_le_bytes());
    file.extend((expected.len() as u32).to_le_bytes());
    let path = folder().join("row.nii.gz");
    std::fs::write(&path, file).expect("there is room for files");
    let found = read_with_limits::<u8>(&path, limits());
    if sound {
        let found = found.expect("a stream that another decoder reads can be read");
        assert!(found.voxels() == expected, "the decoders differ");
    } else {
        assert!(found.is_err(), "a stream that another decoder refuses is read");
    }
});
