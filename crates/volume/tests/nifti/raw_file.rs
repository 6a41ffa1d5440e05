//! NIfTI-1 files made byte by byte, in either byte order, sound or not.

use std::io::Write;

/// Where the fields of a NIfTI-1 header lie, in bytes.
pub(crate) mod field {
    pub(crate) const SIZEOF_HDR: usize = 0;
    pub(crate) const DIM: usize = 40;
    pub(crate) const DATATYPE: usize = 70;
    pub(crate) const BITPIX: usize = 72;
    pub(crate) const PIXDIM: usize = 76;
    pub(crate) const VOX_OFFSET: usize = 108;
    pub(crate) const SCL_SLOPE: usize = 112;
    pub(crate) const SCL_INTER: usize = 116;
    pub(crate) const XYZT_UNITS: usize = 123;
    pub(crate) const QFORM_CODE: usize = 252;
    pub(crate) const SFORM_CODE: usize = 254;
    pub(crate) const QUATERN: usize = 256;
    pub(crate) const SROW: usize = 280;
    pub(crate) const MAGIC: usize = 344;
}

/// A file in the making: a header of 352 bytes, then voxels.
#[derive(Clone)]
pub(crate) struct RawFile {
    big_endian: bool,
    pub(crate) bytes: Vec<u8>,
}

impl RawFile {
    /// An image of `size` voxels of the NIfTI type `datatype`, 1 mm apart, without sform and qform.
    pub(crate) fn new(big_endian: bool, size: &[i16], datatype: i16, bits: i16) -> Self {
        let mut file = Self { big_endian, bytes: vec![0; 352] };
        let order: [u8; 4] = if big_endian { 348i32.to_be_bytes() } else { 348i32.to_le_bytes() };
        file.put(field::SIZEOF_HDR, &order);
        file.i16s(field::DIM, &[size.len() as i16]).i16s(field::DIM + 2, size);
        file.i16s(field::DATATYPE, &[datatype]).i16s(field::BITPIX, &[bits]);
        file.f32s(field::PIXDIM, &[1.0; 8]).f32s(field::VOX_OFFSET, &[352.0]);
        file.put(field::MAGIC, b"n+1\0");
        file
    }

    /// 2×3×4 voxels of 16 bits, numbered from 0, least significant byte first.
    pub(crate) fn sound() -> Self {
        let mut file = Self::new(false, &[2, 3, 4], 4, 16);
        file.bytes.extend((0..24i16).flat_map(i16::to_le_bytes));
        file
    }

    pub(crate) fn put(&mut self, at: usize, value: &[u8]) -> &mut Self {
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self
    }

    pub(crate) fn i16s(&mut self, at: usize, values: &[i16]) -> &mut Self {
        for (i, value) in values.iter().enumerate() {
            let bytes = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
            self.put(at + 2 * i, &bytes);
        }
        self
    }

    pub(crate) fn f32s(&mut self, at: usize, values: &[f32]) -> &mut Self {
        for (i, value) in values.iter().enumerate() {
            let bytes = if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
            self.put(at + 4 * i, &bytes);
        }
        self
    }
}

/// `bytes` as a gzip stream.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory takes every byte")
}
