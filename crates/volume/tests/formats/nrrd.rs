//! NRRD headers, one thing at a time.

use organseg_volume::{ImageFormat, VolumeError, probe, read};

use crate::files::{Files, gzip, numbered};

/// A header without geometry, up to and without its empty line.
const PLAIN: &str = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\nencoding: raw\n";

/// The affine's upper three rows of a sound image whose header says `geometry`.
fn rows_of(geometry: &str) -> [[f64; 4]; 3] {
    let files = Files::new();
    let end = if geometry.is_empty() { "\n" } else { "\n\n" };
    files.put("scan.nrrd", &format!("{PLAIN}{geometry}{end}"), &numbered()).assert_sound("scan.nrrd");
    let [x, y, z, _] = probe(files.path("scan.nrrd")).expect("it is sound").grid.affine().to_rows();
    [x, y, z]
}

#[track_caller]
fn assert_refused(geometry: &str, what: &str) {
    Files::new()
        .put("scan.nrrd", &format!("{PLAIN}{geometry}\n\n"), &numbered())
        .assert_refused("scan.nrrd", what);
}

// The expected places are those that SimpleITK 2.5.7 reads from the same bytes, with x and y turned from LPS
// to RAS.

#[test]
fn each_space_is_turned_to_ras() {
    let vectors = "space directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (4,5,6)";
    let lps = [[-1.0, 0.0, 0.0, -4.0], [0.0, -2.0, 0.0, -5.0], [0.0, 0.0, 3.0, 6.0]];
    for name in ["LPS", "left-posterior-superior", "Left-posterior-Superior"] {
        assert_eq!(rows_of(&format!("space: {name}\n{vectors}")), lps, "{name}");
    }
    let ras = [[1.0, 0.0, 0.0, 4.0], [0.0, 2.0, 0.0, 5.0], [0.0, 0.0, 3.0, 6.0]];
    for name in ["RAS", "right-anterior-superior", "rAs"] {
        assert_eq!(rows_of(&format!("space: {name}\n{vectors}")), ras, "{name}");
    }
    let las = [[-1.0, 0.0, 0.0, -4.0], [0.0, 2.0, 0.0, 5.0], [0.0, 0.0, 3.0, 6.0]];
    assert_eq!(rows_of(&format!("space: LAS\n{vectors}")), las);
}

#[test]
fn a_space_without_a_patient_in_it_is_refused() {
    let vectors = "space directions: (1,0,0) (0,2,0) (0,0,3)";
    for space in ["space: scanner-xyz", "space: 3D-right-handed", "space dimension: 3"] {
        assert_refused(&format!("{space}\n{vectors}"), "does not say how the patient lies in it");
    }
    assert_refused(vectors, "it has `space directions` and no `space`");
}

#[test]
fn directions_may_be_oblique_or_sheared_and_the_origin_left_out() {
    let rows = rows_of("space: LPS\nspace directions: (1,0,0) (0.5,2,0) (0, 0, 3)");
    assert_eq!(rows, [[-1.0, -0.5, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]);
}

#[test]
fn without_a_space_the_axes_are_those_of_lps() {
    assert_eq!(rows_of(""), [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
    let spaced = [[-1.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]];
    assert_eq!(rows_of("spacings: 1 2 3"), spaced);
    // The minimum of an axis is the face of its first voxel, unless it is said to be the centre.
    let origin = |geometry| rows_of(geometry).map(|row| row[3]);
    assert_eq!(origin("spacings: 1 2 3\naxis mins: 5 5 5"), [-5.5, -6.0, 6.5]);
    assert_eq!(origin("spacings: 1 2 3\naxismins: 5 5 5\ncenters: cell cell cell"), [-5.5, -6.0, 6.5]);
    assert_eq!(origin("spacings: 1 2 3\naxis mins: 5 5 5\ncenterings: node node node"), [-5.0, -5.0, 5.0]);
}

#[test]
fn lengths_in_other_units_become_millimetres() {
    let centimetres = "space: RAS\nspace units: \"cm\" \"cm\" \"mm\"\n\
                       space directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (4,5,6)";
    assert_eq!(rows_of(centimetres), [[10.0, 0.0, 0.0, 40.0], [0.0, 20.0, 0.0, 50.0], [0.0, 0.0, 3.0, 6.0]]);
}

#[test]
fn a_geometry_that_is_none_is_refused() {
    let space = |directions: &str| format!("space: LPS\nspace directions: {directions}");
    assert_refused(&space("(1,0,0) (0,2,0)"), "expected 3 vectors of 3 numbers or `none`");
    assert_refused(&space("(1,0,0) (0,2,0) (0,0,3) (1,1,1)"), "expected 3 vectors");
    assert_refused(&space("(1,0) (0,2) (1,1)"), "expected 3 vectors");
    assert_refused(&space("(1,0,0) (0,2,0) (0,0,inf)"), "affine is not valid: it holds inf");
    assert_refused(&space("(1,0,0) (0,2,0) (0,nan,1)"), "affine is not valid: it holds NaN");
    assert_refused(&space("(1,0,0) (2,0,0) (0,0,1)"), "it is singular");
    assert_refused(&space("(1,0,0) (0,0,0) (0,0,1)"), "it is singular");
    assert_refused(&space("(1,0,0) (0,1,0) none"), "an image of size [2, 3, 4], expected three dimensions");
    assert_refused("spacings: 1 2", "line 7 of its header: `spacings` is `1 2`, expected 3 numbers");
    assert_refused("spacings: 1 0 2", "it is singular");
    assert_refused("spacings: 1 nan 2", "it holds NaN");
    assert_refused("space: LPS\nspace origin: (1,2)", "expected a vector of 3 numbers");
}

#[test]
fn axes_of_one_entry_that_run_through_no_space_are_left_out() {
    let file = |header: &str| {
        let files = Files::new();
        let header = format!("NRRD0004\ntype: short\nendian: little\nencoding: raw\n{header}\n\n");
        files.put("scan.nrrd", &header, &numbered());
        files
    };
    let vectors = "(1,0,0) (0,2,0) (0,0,3)";
    let first = file(&format!(
        "dimension: 4\nsizes: 1 2 3 4\nkinds: vector domain domain domain\nspace: LPS\nspace directions: none {vectors}"
    ));
    first.assert_sound("scan.nrrd");
    assert_eq!(first.read("scan.nrrd").unwrap().grid().spacing().to_array(), [1.0, 2.0, 3.0]);
    file(&format!("dimension: 4\nsizes: 2 3 4 1\nspace: LPS\nspace directions: {vectors} none"))
        .assert_sound("scan.nrrd");
    file("dimension: 4\nsizes: 2 3 4 1\nspacings: 1 2 3 nan").assert_sound("scan.nrrd");
    file("dimension: 4\nsizes: 1 2 3 4\nkinds: list domain domain domain").assert_sound("scan.nrrd");
    let timed = file(
        "dimension: 4\nsizes: 2 3 4 1\nspace: LPST\n\
         space directions: (1,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,1)\nspace origin: (4,5,6,7)",
    );
    timed.assert_sound("scan.nrrd");
    let grid = probe(timed.path("scan.nrrd")).unwrap().grid;
    assert_eq!(grid.affine().origin_mm(), [-4.0, -5.0, 6.0]);
    let vectors = file(&format!(
        "dimension: 4\nsizes: 2 2 3 2\nkinds: vector domain domain domain\nspace: LPS\nspace directions: none {vectors}"
    ));
    let error = vectors.read("scan.nrrd").unwrap_err();
    assert!(
        matches!(&error, VolumeError::NotThreeDimensional { size, .. } if size == &[2, 2, 3, 2]),
        "{error}"
    );
}

#[test]
fn a_single_slice_is_one_voxel_thick() {
    let files = Files::new();
    let header = "NRRD0004\ntype: short\nendian: little\nencoding: raw\ndimension: 2\nsizes: 6 4\n\
                  space: LPS\nspace directions: (0,2,0) (0,0,-1)\n\n";
    files.put("slice.nrrd", header, &numbered());
    let volume = files.read("slice.nrrd").unwrap();
    assert_eq!(volume.size(), [6, 4, 1]);
    assert_eq!(volume.grid().affine().column(2), [1.0, 0.0, 0.0]);
}

#[test]
fn every_name_of_a_type_is_known() {
    for (names, bytes) in [
        ("signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t", 1),
        ("short,short int,signed short,signed short int,int16,int16_t", 2),
        ("ushort,unsigned short,unsigned short int,uint16,uint16_t", 2),
        ("int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float", 4),
        ("longlong,long long,long long int,signed long long,signed long long int,int64,int64_t", 8),
        ("ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t,double", 8),
    ] {
        for name in names.split(',') {
            let files = Files::new();
            files.put("scan.nrrd", &format!("{}\n", PLAIN.replace("short", name)), &vec![0; 24 * bytes]);
            let volume = read::<f64>(files.path("scan.nrrd")).unwrap();
            assert_eq!(volume.voxels(), [0.0; 24], "{name}");
            files.put("scan.nrrd", &format!("{}\n", PLAIN.replace("short", name)), &vec![0; 24 * bytes - 1]);
            files.assert_refused("scan.nrrd", &format!("promises {} bytes of voxels", 24 * bytes));
        }
    }
    Files::new()
        .put("scan.nrrd", &format!("{}\n", PLAIN.replace("short", "block")), &numbered())
        .assert_refused("scan.nrrd", "line 2 of its header: `type` is `block`, expected integers or floats");
}

#[test]
fn voxels_may_be_raw_in_either_order_gzip_or_text() {
    let files = Files::new();
    files.put("a.nrrd", &format!("{PLAIN}\n"), &numbered()).assert_sound("a.nrrd");
    assert_eq!(probe(files.path("a.nrrd")).unwrap().format, ImageFormat::Nrrd);
    let swapped: Vec<u8> = (0..24i16).flat_map(i16::to_be_bytes).collect();
    files.put("b.nrrd", &format!("{}\n", PLAIN.replace("little", "big")), &swapped).assert_sound("b.nrrd");
    for name in ["gzip", "gz", "GZIP"] {
        let header = PLAIN.replace("raw", name);
        files.put("c.nrrd", &format!("{header}\n"), &gzip(&numbered())).assert_sound("c.nrrd");
    }
    let text: Vec<String> = (0..24).map(|v| v.to_string()).collect();
    for (name, between) in [("ascii", " "), ("text", "\n"), ("txt", ", ")] {
        let header = PLAIN.replace("raw", name).replace("endian: little\n", "");
        files.put("d.nrrd", &format!("{header}\n"), text.join(between).as_bytes()).assert_sound("d.nrrd");
    }
    // Lines may end as Windows ends them.
    files.put("e.nrrd", &format!("{PLAIN}\n").replace('\n', "\r\n"), &numbered()).assert_sound("e.nrrd");
    for (name, what) in [("bzip2", "`bzip2`"), ("hex", "`hex`")] {
        files.put("f.nrrd", &format!("{}\n", PLAIN.replace("raw", name)), &numbered());
        files.assert_refused("f.nrrd", &format!("`encoding` is {what}, expected raw, gzip or text"));
    }
    files.put("g.nrrd", &format!("{}\n", PLAIN.replace("endian: little\n", "")), &numbered());
    files.assert_refused("g.nrrd", "its header has no `endian`");
}

#[test]
fn text_that_is_no_voxels_is_refused() {
    let files = Files::new();
    let header = format!("{}\n", PLAIN.replace("raw", "text"));
    let with = |text: &str| {
        files.put("a.nrrd", &header, text.as_bytes());
        &files
    };
    let words = |n: usize| "7 ".repeat(n);
    let few = "its header promises 24 voxels as text, the file holds 23";
    with(&words(23).replace(' ', "  ")).assert_refused("a.nrrd", few);
    with(&format!("{}1.5", words(23)))
        .assert_refused("a.nrrd", "`1.5` among its voxels is no number of type i16");
    with(&format!("{}40000", words(23))).assert_refused("a.nrrd", "`40000` among its voxels");
    with("1 2 3 4").assert_refused("a.nrrd", "24 voxels as text, the file holds at most 4");
    with("").assert_refused("a.nrrd", "24 voxels as text, the file holds at most 0");
    // What follows the voxels is not looked at, as in raw files.
    with(&format!("{}end", words(24)));
    assert_eq!(files.read("a.nrrd").unwrap().voxels(), [7; 24]);
}

#[test]
fn lines_are_skipped_before_decompression_and_bytes_after_it() {
    let files = Files::new();
    let skip = |lines: &str, encoding: &str| format!("{}{lines}\n\n", PLAIN.replace("raw", encoding));
    let after = |before: &[u8], voxels: &[u8]| [before, voxels].concat();
    files.put("a.nrrd", &skip("line skip: 1", "raw"), &after(b"foo\n", &numbered())).assert_sound("a.nrrd");
    files.put("b.nrrd", &skip("byte skip: 3", "raw"), &after(b"foo", &numbered())).assert_sound("b.nrrd");
    files.put("c.nrrd", &skip("byte skip: -1", "raw"), &after(b"foo", &numbered())).assert_sound("c.nrrd");
    let inside = gzip(&after(b"foo", &numbered()));
    files.put("d.nrrd", &skip("byte skip: 3", "gzip"), &inside).assert_sound("d.nrrd");
    let behind = after(b"foo\n", &gzip(&numbered()));
    files.put("e.nrrd", &skip("lineskip: 1", "gzip"), &behind).assert_sound("e.nrrd");
    files.put("f.nrrd", &skip("byte skip: -1", "gzip"), &inside);
    files.assert_refused("f.nrrd", "`byte skip` is `-1`, expected a whole number, or -1 for raw voxels");
    files.put("f.nrrd", &skip("byte skip: 1000000001", "gzip"), &inside);
    files.assert_refused("f.nrrd", "`byte skip` is `1000000001`, expected at most 1000000000");
    files.put("g.nrrd", &skip("byte skip: 3", "raw"), &numbered());
    files.assert_refused("g.nrrd", "promises 48 bytes of voxels, the file holds 45");
    files.put("h.nrrd", &skip("line skip: 99", "raw"), &numbered());
    files.assert_refused("h.nrrd", "its voxels should follow after 99");
}
