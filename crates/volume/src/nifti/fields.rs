//! Where the fields of a NIfTI header lie, and how wide they are: the same fields in both versions.
//!
//! Offsets from `nifti1.h` and `nifti2.h`, <https://nifti.nimh.nih.gov>.

use super::NiftiVersion;

/// The fields of one version that are read and written here, by their first byte.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) version: NiftiVersion,
    /// Length of the header, which is also its first field.
    pub(super) bytes: usize,
    /// Number of axes, then their entries; 16 or 64 bits each.
    pub(super) dim: usize,
    /// Type of the voxels; 16 bits.
    pub(super) datatype: usize,
    /// Bits of a voxel; 16 bits.
    pub(super) bitpix: usize,
    /// The sign of the third axis, then spacings.
    pub(super) pixdim: usize,
    /// First byte of the voxels; a float or 64 bits.
    pub(super) vox_offset: usize,
    /// Slope and intercept.
    pub(super) scl_slope: usize,
    /// Units of lengths and times; 8 or 32 bits.
    pub(super) xyzt_units: usize,
    /// What the quaternion leads to; 16 or 32 bits. The code of the sform follows.
    pub(super) qform_code: usize,
    /// b, c, d of the quaternion, then the origin.
    pub(super) quatern: usize,
    /// The three rows of the sform.
    pub(super) srow: usize,
    pub(super) magic: usize,
    /// What stands at `magic` if the voxels follow the header, and if they are in a file of their own.
    pub(super) magics: [&'static [u8]; 2],
    /// Bytes of a real number.
    real: usize,
    /// Bytes of a code.
    pub(super) code: usize,
}

pub(super) const ONE: Fields = Fields {
    version: NiftiVersion::One,
    bytes: 348,
    dim: 40,
    datatype: 70,
    bitpix: 72,
    pixdim: 76,
    vox_offset: 108,
    scl_slope: 112,
    xyzt_units: 123,
    qform_code: 252,
    quatern: 256,
    srow: 280,
    magic: 344,
    magics: [b"n+1\0", b"ni1\0"],
    real: 4,
    code: 2,
};

pub(super) const TWO: Fields = Fields {
    version: NiftiVersion::Two,
    bytes: 540,
    dim: 16,
    datatype: 12,
    bitpix: 14,
    pixdim: 104,
    vox_offset: 168,
    scl_slope: 176,
    xyzt_units: 500,
    qform_code: 344,
    quatern: 352,
    srow: 400,
    magic: 4,
    magics: [b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"],
    real: 8,
    code: 4,
};

/// The numbers of a header.
pub(super) struct Reader<'a> {
    pub(super) fields: &'static Fields,
    pub(super) bytes: &'a [u8],
    pub(super) big_endian: bool,
}

impl Reader<'_> {
    fn bits(&self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.bytes[at..at + width]);
        if self.big_endian {
            bytes[..width].reverse();
        }
        u64::from_le_bytes(bytes)
    }

    /// The integer of `width` bytes at `at`.
    pub(super) fn integer(&self, at: usize, width: usize) -> i64 {
        let unused = 64 - 8 * width as u32;
        ((self.bits(at, width) << unused) as i64) >> unused
    }

    /// The number of axes for 0, or the entries of an axis.
    pub(super) fn dim(&self, i: usize) -> i64 {
        let width = if self.fields.version == NiftiVersion::Two { 8 } else { 2 };
        self.integer(self.fields.dim + width * i, width)
    }

    /// The code at `at`.
    pub(super) fn code(&self, at: usize) -> i64 {
        self.integer(at, self.fields.code)
    }

    /// `N` real numbers from `at` on.
    pub(super) fn reals<const N: usize>(&self, at: usize) -> [f64; N] {
        let width = self.fields.real;
        std::array::from_fn(|i| {
            let bits = self.bits(at + width * i, width);
            if width == 8 { f64::from_bits(bits) } else { f32::from_bits(bits as u32).into() }
        })
    }

    /// First byte of the voxels, as it stands there.
    pub(super) fn vox_offset(&self) -> f64 {
        match self.fields.version {
            NiftiVersion::Two => self.integer(self.fields.vox_offset, 8) as f64,
            _ => self.reals::<1>(self.fields.vox_offset)[0],
        }
    }

    /// Units of lengths and times.
    pub(super) fn units(&self) -> u8 {
        let width = if self.fields.version == NiftiVersion::Two { 4 } else { 1 };
        self.integer(self.fields.xyzt_units, width) as u8
    }
}

/// A header in the making, least significant byte first.
pub(super) struct Writer {
    pub(super) fields: &'static Fields,
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(fields: &'static Fields) -> Self {
        let mut writer = Self { fields, bytes: vec![0; fields.bytes] };
        writer.integer(0, 4, fields.bytes as i64);
        writer
    }

    pub(super) fn put(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// The low `width` bytes of `value` at `at`.
    pub(super) fn integer(&mut self, at: usize, width: usize, value: i64) {
        self.put(at, &value.to_le_bytes()[..width]);
    }

    pub(super) fn dims(&mut self, dims: [i64; 8]) {
        let width = if self.fields.version == NiftiVersion::Two { 8 } else { 2 };
        for (i, n) in dims.into_iter().enumerate() {
            self.integer(self.fields.dim + width * i, width, n);
        }
    }

    pub(super) fn code(&mut self, at: usize, value: i64) {
        self.integer(at, self.fields.code, value);
    }

    pub(super) fn reals(&mut self, at: usize, values: impl IntoIterator<Item = f64>) {
        for (i, value) in values.into_iter().enumerate() {
            match self.fields.real {
                8 => self.put(at + 8 * i, &value.to_le_bytes()),
                _ => self.put(at + 4 * i, &(value as f32).to_le_bytes()),
            }
        }
    }

    pub(super) fn vox_offset(&mut self, offset: usize) {
        match self.fields.version {
            NiftiVersion::Two => self.integer(self.fields.vox_offset, 8, offset as i64),
            _ => self.reals(self.fields.vox_offset, [offset as f64]),
        }
    }

    pub(super) fn units(&mut self, units: u8) {
        // The bytes above it are 0.
        self.put(self.fields.xyzt_units, &[units]);
    }
}
