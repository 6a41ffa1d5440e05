//! Files that SimpleITK 2.5.7 wrote, and our own, which it reads:
//!
//! ```python
//! import numpy as np, SimpleITK as sitk
//! image = sitk.GetImageFromArray(np.arange(12, dtype=np.int16).reshape(2, 2, 3) * 100 - 300)
//! image.SetSpacing((.7, .9, 1/3)); image.SetOrigin((1/3, -20, 300.5))
//! c, s = np.cos(.3), np.sin(.3)
//! image.SetDirection((c, -s, 0, 0, 0, 1, -s, -c, 0))
//! sitk.WriteImage(image, "scan.nrrd", True); sitk.WriteImage(image, "scan.mha", True)
//! ```

use organseg_volume::{Affine, Grid, Volume, read, write};

use crate::files::Files;

/// The affines agree to the last digits, since a direction is multiplied by a spacing on the way.
const TOLERANCE: f64 = 1e-15;

const NRRD: &str = "NRRD0004
# Complete NRRD file format specification at:
# http://teem.sourceforge.net/nrrd/format.html
type: short
dimension: 3
space: left-posterior-superior
sizes: 3 2 2
space directions: (0.6687355423879241,0,-0.20686414466293768) (-0.26596818599520561,0,-0.85980284021304543) (0,0.33333333333333331,0)
kinds: domain domain domain
endian: little
encoding: gzip
space origin: (0.33333333333333331,-20,300.5)

";

const NRRD_VOXELS: [u8; 45] = [
    31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 187, 242, 207, 226, 255, 156, 255, 12, 12, 41, 12, 39, 24, 116, 24, 39,
    48, 126, 97, 140, 96, 218, 195, 164, 192, 12, 0, 89, 145, 18, 0, 24, 0, 0, 0,
];

const META: &str = "ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = True
CompressedDataSize = 33
TransformMatrix = 0.95533648912560598 0 -0.29552020666133955 -0.29552020666133955 0 -0.95533648912560598 0 1 0
Offset = 0.33333333333333331 -20 300.5
CenterOfRotation = 0 0 0
AnatomicalOrientation = RSA
ElementSpacing = 0.69999999999999996 0.90000000000000002 0.33333333333333331
DimSize = 3 2 2
ElementType = MET_SHORT
ElementDataFile = LOCAL
";

const META_VOXELS: [u8; 33] = [
    120, 94, 187, 242, 207, 226, 255, 156, 255, 12, 12, 41, 12, 39, 24, 116, 24, 39, 48, 126, 97, 140, 96,
    218, 195, 164, 192, 12, 0, 137, 144, 8, 191,
];

fn expected() -> Volume<i16> {
    let affine = Affine::new([
        [-0.668_735_542_387_924_1, 0.265_968_185_995_205_6, 0.0, -1.0 / 3.0],
        [0.0, 0.0, -1.0 / 3.0, 20.0],
        [-0.206_864_144_662_937_68, -0.859_802_840_213_045_4, 0.0, 300.5],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let grid = Grid::new([3, 2, 2], affine.expect("it is invertible")).expect("it has voxels");
    Volume::from_vec(grid, (0..12).map(|i| 100 * i - 300).collect()).expect("there are twelve")
}

#[track_caller]
fn assert_same(found: &Volume<i16>, expected: &Volume<i16>) {
    assert_eq!(found.size(), expected.size());
    assert_eq!(found.voxels(), expected.voxels());
    let numbers = |volume: &Volume<i16>| volume.grid().affine().to_rows().concat();
    for (found, expected) in numbers(found).into_iter().zip(numbers(expected)) {
        assert!((found - expected).abs() <= TOLERANCE, "{found} is not {expected}");
    }
}

#[test]
fn files_of_another_program_are_read() {
    let files = Files::new();
    files.put("scan.nrrd", NRRD, &NRRD_VOXELS);
    assert_same(&files.read("scan.nrrd").unwrap(), &expected());
    files.put("scan.mha", META, &META_VOXELS);
    assert_same(&files.read("scan.mha").unwrap(), &expected());
}

#[test]
fn headers_are_those_that_another_program_reads() {
    let files = Files::new();
    let written = |name: &str, end: &str| {
        write(files.path(name), &expected()).unwrap();
        let text = String::from_utf8_lossy(&std::fs::read(files.path(name)).unwrap()).into_owned();
        let header_bytes = text.find(end).expect("the header ends so") + end.len();
        text[..header_bytes].to_string()
    };
    assert_eq!(
        written("scan.nrrd", "\n\n"),
        "NRRD0004\n\
         # Complete NRRD file format specification at:\n\
         # http://teem.sourceforge.net/nrrd/format.html\n\
         type: int16\n\
         dimension: 3\n\
         space: left-posterior-superior\n\
         sizes: 3 2 2\n\
         space directions: (0.6687355423879241,0.0,-0.20686414466293768) \
         (-0.2659681859952056,0.0,-0.8598028402130454) (0.0,0.3333333333333333,0.0)\n\
         kinds: domain domain domain\n\
         endian: little\n\
         encoding: gzip\n\
         space origin: (0.3333333333333333,-20.0,300.5)\n\n"
    );
    let bytes = std::fs::read(files.path("scan.nrrd")).unwrap();
    let header = written("scan.mha", "LOCAL\n");
    let length = std::fs::metadata(files.path("scan.mha")).unwrap().len() as usize - header.len();
    assert_eq!(
        header,
        format!(
            // The directions and spacings are taken out of the affine again, hence their last digits.
            "ObjectType = Image\n\
             NDims = 3\n\
             BinaryData = True\n\
             BinaryDataByteOrderMSB = False\n\
             CompressedData = True\n\
             CompressedDataSize = {length:<20}\n\
             TransformMatrix = 0.9553364891256061 0.0 -0.2955202066613396 \
             -0.29552020666133955 0.0 -0.955336489125606 0.0 1.0 0.0\n\
             Offset = 0.3333333333333333 -20.0 300.5\n\
             CenterOfRotation = 0 0 0\n\
             AnatomicalOrientation = RSA\n\
             ElementSpacing = 0.6999999999999998 0.9 0.3333333333333333\n\
             DimSize = 3 2 2\n\
             ElementType = MET_SHORT\n\
             ElementDataFile = LOCAL\n"
        )
    );
    assert!(written("scan.nhdr", "data file: scan.nhdr.raw\n").contains("encoding: raw\n"));
    assert!(written("scan.mhd", "ElementDataFile = scan.mhd.raw\n").contains("CompressedData = False\n"));
    // Equal volumes give equal files.
    write(files.path("again.nrrd"), &expected()).unwrap();
    assert_eq!(std::fs::read(files.path("again.nrrd")).unwrap(), bytes);
}

#[test]
fn what_is_written_is_read_again() {
    let files = Files::new();
    for name in ["a.nrrd", "b.nhdr", "c.mha", "d.mhd", "E.NRRD", "F.MHD"] {
        write(files.path(name), &expected()).unwrap();
        assert_same(&read(files.path(name)).unwrap(), &expected());
    }
    let raw = std::fs::read(files.path("b.nhdr.raw")).unwrap();
    assert_eq!(raw, std::fs::read(files.path("d.mhd.raw")).unwrap());
    assert_eq!(raw.len(), 24);
}
