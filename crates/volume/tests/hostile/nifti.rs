//! Damaged NIfTI files: NIfTI-1 and NIfTI-2, single and in pairs, compressed or not.

use crate::corpus::{Input, cuts, gzip, gzip_bomb, noise};

/// Where the fields of a header lie, and how wide its numbers are: those that grew from NIfTI-1 to NIfTI-2.
struct Layout {
    version: u8,
    header_bytes: usize,
    magic: (usize, &'static [u8], &'static [u8]),
    dim: usize,
    datatype: usize,
    bitpix: usize,
    pixdim: usize,
    vox_offset: usize,
    qform_code: usize,
    sform_code: usize,
    quatern: usize,
    srow: usize,
}

const NIFTI_1: Layout = Layout {
    version: 1,
    header_bytes: 348,
    magic: (344, b"n+1\0", b"ni1\0"),
    dim: 40,
    datatype: 70,
    bitpix: 72,
    pixdim: 76,
    vox_offset: 108,
    qform_code: 252,
    sform_code: 254,
    quatern: 256,
    srow: 280,
};

const NIFTI_2: Layout = Layout {
    version: 2,
    header_bytes: 540,
    magic: (4, b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"),
    dim: 16,
    datatype: 12,
    bitpix: 14,
    pixdim: 104,
    vox_offset: 168,
    qform_code: 344,
    sform_code: 348,
    quatern: 352,
    srow: 400,
};

impl Layout {
    /// 4×3×2 voxels of 16 bits on a sound grid; the voxels in a file of their own if `separate`.
    fn sound(&self, separate: bool) -> Vec<u8> {
        let mut bytes = vec![0; self.header_bytes + 4];
        bytes[..4].copy_from_slice(&(self.header_bytes as i32).to_le_bytes());
        let (at, single, pair) = self.magic;
        let magic = if separate { pair } else { single };
        bytes[at..at + magic.len()].copy_from_slice(magic);
        for (i, n) in [3, 4, 3, 2, 1, 1, 1, 1].into_iter().enumerate() {
            self.put_size(&mut bytes, i, n);
        }
        self.put_i16(&mut bytes, self.datatype, 4);
        self.put_i16(&mut bytes, self.bitpix, 16);
        for i in 0..8 {
            self.put_float(&mut bytes, self.pixdim, i, 1.0);
        }
        self.put_offset(&mut bytes, if separate { 0 } else { self.header_bytes as i64 + 4 });
        self.put_code(&mut bytes, self.sform_code, 1);
        for i in [0, 5, 10] {
            self.put_float(&mut bytes, self.srow, i, 1.0);
        }
        bytes
    }

    fn put_i16(&self, bytes: &mut [u8], at: usize, value: i16) {
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put_size(&self, bytes: &mut [u8], i: usize, value: i64) {
        match self.version {
            1 => self.put_i16(bytes, self.dim + 2 * i, value.clamp(-32768, 32767) as i16),
            _ => bytes[self.dim + 8 * i..][..8].copy_from_slice(&value.to_le_bytes()),
        }
    }

    fn put_float(&self, bytes: &mut [u8], at: usize, i: usize, value: f64) {
        match self.version {
            1 => bytes[at + 4 * i..][..4].copy_from_slice(&(value as f32).to_le_bytes()),
            _ => bytes[at + 8 * i..][..8].copy_from_slice(&value.to_le_bytes()),
        }
    }

    fn put_offset(&self, bytes: &mut [u8], value: i64) {
        match self.version {
            1 => bytes[self.vox_offset..][..4].copy_from_slice(&(value as f32).to_le_bytes()),
            _ => bytes[self.vox_offset..][..8].copy_from_slice(&value.to_le_bytes()),
        }
    }

    fn put_code(&self, bytes: &mut [u8], at: usize, value: i16) {
        self.put_i16(bytes, at, value);
        if self.version == 2 {
            bytes[at + 2..at + 4].copy_from_slice(&if value < 0 { [0xff; 2] } else { [0; 2] });
        }
    }

    /// Headers of lies, each with what it lies about.
    fn lies(&self) -> Vec<(String, Vec<u8>)> {
        let mut lies = Vec::new();
        let mut lie = |what: String, spoil: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = self.sound(false);
            spoil(&mut bytes);
            lies.push((what, bytes));
        };
        for n in [0, -1, -32768, i64::MIN, i64::MAX, 1 << 62, 32767] {
            lie(format!("{n} entries along y"), &|bytes| self.put_size(bytes, 2, n));
            lie(format!("{n} entries along every axis"), &|bytes| {
                (1..4).for_each(|i| self.put_size(bytes, i, n));
            });
            lie(format!("{n} axes"), &|bytes| self.put_size(bytes, 0, n));
        }
        lie("four axes".to_string(), &|bytes| {
            self.put_size(bytes, 0, 4);
            self.put_size(bytes, 4, 2);
        });
        for (what, at) in [("type", self.datatype), ("bits a voxel", self.bitpix)] {
            for value in [0, 1, -1, 128, 32767] {
                lie(format!("{what} {value}"), &|bytes| self.put_i16(bytes, at, value));
            }
        }
        for (what, value) in [("NaN", f64::NAN), ("infinity", f64::INFINITY), ("0", 0.0), ("-1", -1.0)] {
            lie(format!("spacing {what} and no sform"), &|bytes| {
                self.put_code(bytes, self.sform_code, 0);
                self.put_float(bytes, self.pixdim, 2, value);
            });
        }
        for (what, value) in [("NaN", f64::NAN), ("infinity", f64::INFINITY), ("0", 0.0)] {
            lie(format!("{what} in the sform"), &|bytes| {
                [0, 4, 8].into_iter().for_each(|i| self.put_float(bytes, self.srow, i, value));
            });
        }
        lie("a qform of NaN".to_string(), &|bytes| {
            self.put_code(bytes, self.sform_code, 0);
            self.put_code(bytes, self.qform_code, 1);
            self.put_float(bytes, self.quatern, 0, f64::NAN);
        });
        for offset in [-1, 3, 100, 1 << 20, 1 << 62, i64::MIN, i64::MAX] {
            lie(format!("voxels from byte {offset} on"), &|bytes| self.put_offset(bytes, offset));
        }
        lie("a size of 0 of the header".to_string(), &|bytes| bytes[..4].fill(0));
        lie("another magic word".to_string(), &|bytes| bytes[self.magic.0..][..4].copy_from_slice(b"nope"));
        lies
    }
}

pub(crate) fn inputs() -> Vec<Input> {
    let mut inputs = vec![
        Input::new("an empty file", "a.nii", Vec::new()),
        Input::new("noise", "a.nii", noise(5000)),
        Input::new("noise, compressed", "a.nii.gz", gzip(&noise(5000))),
        Input::new("zeros", "a.nii", vec![0; 5000]),
        Input::new(
            "the beginning of gzip and then noise",
            "a.nii.gz",
            [vec![0x1f, 0x8b, 8, 0], noise(5000)].concat(),
        ),
    ];
    let voxels = noise(48);
    for layout in [NIFTI_1, NIFTI_2] {
        let what = format!("NIfTI-{}", layout.version);
        let sound = [layout.sound(false), voxels.clone()].concat();
        let zipped = gzip(&sound);
        inputs.extend(cuts(&what, "a.nii", &sound, 20));
        inputs.extend(cuts(&format!("{what} in gzip"), "a.nii.gz", &zipped, 20));
        inputs.extend(cuts(&format!("{what} cut and then compressed"), "a.nii", &sound, 12).map(
            |mut input| {
                input.files[0] = ("a.nii.gz".to_string(), gzip(&input.files[0].1));
                input
            },
        ));
        for at in [zipped.len() - 1, zipped.len() - 6, zipped.len() / 2] {
            let mut flipped = zipped.clone();
            flipped[at] ^= 0x10;
            inputs.push(Input::new(format!("{what} in gzip with byte {at} changed"), "a.nii.gz", flipped));
        }
        for (lie, header) in layout.lies() {
            let bytes = [header, voxels.clone()].concat();
            inputs.push(Input::new(format!("{what} in gzip: {lie}"), "a.nii.gz", gzip(&bytes)));
            inputs.push(Input::new(format!("{what}: {lie}"), "a.nii", bytes));
        }
        inputs.push(Input::new(format!("{what}: a bomb behind the voxels"), "a.nii.gz", gzip_bomb(&sound)));
        let mut large = layout.sound(false);
        (1..4).for_each(|i| layout.put_size(&mut large, i, 1024));
        let bomb = gzip_bomb(&large);
        inputs.push(Input::new(format!("{what}: a bomb of voxels"), "a.nii.gz", bomb).with_small_limit());
        // Pairs.
        let header = layout.sound(true)[..layout.header_bytes].to_vec();
        let pair = |what: &str, voxels: Option<Vec<u8>>| {
            let input = Input::new(what, "a.hdr", header.clone());
            match voxels {
                Some(voxels) => input.with_file("a.img", voxels),
                None => input,
            }
        };
        inputs.push(pair(&format!("{what}: a header without voxels"), None));
        for length in [0, 1, 47] {
            inputs.push(pair(
                &format!("{what}: a pair with {length} bytes of voxels"),
                Some(voxels[..length].to_vec()),
            ));
        }
        let cut = gzip(&voxels);
        inputs.push(pair(
            &format!("{what}: a pair with half a gzip stream"),
            Some(cut[..cut.len() / 2].to_vec()),
        ));
        inputs.push(Input::new(format!("{what}: voxels without a header"), "a.img", voxels.clone()));
        inputs.extend(
            cuts(&format!("{what}: header of a pair"), "a.hdr", &header, 5)
                .map(|input| input.with_file("a.img", voxels.clone())),
        );
    }
    inputs
}
