//! MetaImage headers, one thing at a time.

use organseg_volume::{ImageFormat, VolumeError, probe, read, read_image};

use crate::files::{Files, gzip, numbered, zlib};

/// A header without geometry and without its last line.
const PLAIN: &str = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\n";

fn local(fields: &str) -> String {
    format!("{PLAIN}{fields}\nElementDataFile = LOCAL\n")
}

/// The affine's upper three rows of a sound image whose header says `geometry`.
fn rows_of(geometry: &str) -> [[f64; 4]; 3] {
    let files = Files::new();
    files.put("scan.mha", &local(geometry), &numbered()).assert_sound("scan.mha");
    let [x, y, z, _] = probe(files.path("scan.mha")).expect("it is sound").grid.affine().to_rows();
    [x, y, z]
}

#[track_caller]
fn assert_refused(fields: &str, what: &str) {
    Files::new().put("scan.mha", &local(fields), &numbered()).assert_refused("scan.mha", what);
}

// The expected places are those that SimpleITK 2.5.7 reads from the same bytes, with x and y turned from LPS
// to RAS.

#[test]
fn the_matrix_holds_the_axes_one_after_the_other() {
    let rows = rows_of("ElementSpacing = 1 2 3\nOffset = 4 5 6\nTransformMatrix = 0 1 0 -1 0 0 0 0 1");
    assert_eq!(rows, [[0.0, 2.0, 0.0, -4.0], [-1.0, 0.0, 0.0, -5.0], [0.0, 0.0, 3.0, 6.0]]);
    let rows = rows_of("ElementSpacing = 1 2 3\nTransformMatrix = 0 0 1 1 0 0 0 1 0");
    assert_eq!(rows, [[0.0, -2.0, 0.0, 0.0], [0.0, 0.0, -3.0, 0.0], [1.0, 0.0, 0.0, 0.0]]);
    // Sheared, and with a spacing that runs backwards.
    let rows = rows_of("ElementSpacing = 1 -2 3\nTransformMatrix = 1 0 0 0.5 1 0 0 0 1");
    assert_eq!(rows, [[-1.0, 1.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]);
    // The centre of rotation is for objects that are moved, not for where the voxels are.
    let turned = rows_of("CenterOfRotation = 1 2 3\nTransformMatrix = 0 1 0 -1 0 0 0 0 1");
    assert_eq!(turned, [[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
}

#[test]
fn older_names_of_the_fields_are_known() {
    let rows = rows_of("Position = 7 8 9\nOrientation = 1 0 0 0 0 1 0 -1 0");
    assert_eq!(rows, [[-1.0, 0.0, 0.0, -7.0], [0.0, 0.0, 1.0, -8.0], [0.0, 1.0, 0.0, 9.0]]);
    assert_eq!(
        rows_of("Offset = 1 1 1\nPosition = 2 2 2\nOrigin = 3 3 3").map(|row| row[3]),
        [-3.0, -3.0, 3.0]
    );
    assert_eq!(rows_of("Rotation = -1 0 0 0 1 0 0 0 1\nOrientation = 0 1 0 1 0 0 0 0 1")[0][0], 1.0);
    let spaced = [[-2.0, 0.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];
    assert_eq!(rows_of("ElementSize = 2 2 2"), spaced);
    assert_eq!(rows_of("ElementSize = 3 3 3\nElementSpacing = 2 2 2"), spaced);
}

#[test]
fn without_a_matrix_the_axes_are_those_of_lps() {
    let plain = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    for orientation in
        ["", "AnatomicalOrientation = RAI", "AnatomicalOrientation = LPS", "AnatomicalOrientation = ???"]
    {
        assert_eq!(rows_of(orientation), plain, "{orientation}");
    }
    assert_refused("AnatomicalOrientation = ASL", "expected a TransformMatrix beside it");
    // With a matrix, the letters are not looked at.
    assert_eq!(rows_of("AnatomicalOrientation = ASL\nTransformMatrix = 1 0 0 0 1 0 0 0 1"), plain);
}

#[test]
fn lengths_in_other_units_become_millimetres() {
    let rows = rows_of("DistanceUnits = cm\nElementSpacing = 1 2 3\nOffset = 1 0 0");
    assert_eq!(rows, [[-10.0, 0.0, 0.0, -10.0], [0.0, -20.0, 0.0, 0.0], [0.0, 0.0, 30.0, 0.0]]);
    assert_refused("DistanceUnits = parsec", "expected um, mm or cm");
}

#[test]
fn a_geometry_that_is_none_is_refused() {
    assert_refused("ElementSpacing = 0 2 3", "it is singular");
    assert_refused("ElementSpacing = nan 2 3", "it holds NaN");
    assert_refused(
        "ElementSpacing = 1 2",
        "line 5 of its header: `ElementSpacing` is `1 2`, expected 3 numbers",
    );
    assert_refused("Offset = inf 0 0", "it holds -inf");
    assert_refused("TransformMatrix = 1 0 0 1 0 0 0 0 1", "it is singular");
    assert_refused("TransformMatrix = 1 0 0 0 1 0 0 0", "expected 9 numbers");
}

#[test]
fn further_axes_must_have_one_entry() {
    let files = Files::new();
    let four = PLAIN.replace("NDims = 3", "NDims = 4").replace("2 3 4", "2 3 4 1");
    let geometry =
        "ElementSpacing = 1 2 3 9\nOffset = 4 5 6 7\nTransformMatrix = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n";
    files
        .put("a.mha", &format!("{four}{geometry}ElementDataFile = LOCAL\n"), &numbered())
        .assert_sound("a.mha");
    let grid = probe(files.path("a.mha")).unwrap().grid;
    assert_eq!(grid.spacing().to_array(), [1.0, 2.0, 3.0]);
    assert_eq!(grid.affine().origin_mm(), [-4.0, -5.0, 6.0]);
    files.put(
        "b.mha",
        &format!("{}ElementDataFile = LOCAL\n", four.replace("2 3 4 1", "2 3 2 2")),
        &numbered(),
    );
    let error = files.read("b.mha").unwrap_err();
    assert!(
        matches!(&error, VolumeError::NotThreeDimensional { size, .. } if size == &[2, 3, 2, 2]),
        "{error}"
    );
    let two = PLAIN.replace("NDims = 3", "NDims = 2").replace("2 3 4", "6 4");
    files.put(
        "c.mha",
        &format!("{two}ElementSpacing = 1 2\nOffset = 4 5\nElementDataFile = LOCAL\n"),
        &numbered(),
    );
    let slice = files.read("c.mha").unwrap();
    assert_eq!(slice.size(), [6, 4, 1]);
    assert_eq!(slice.grid().affine().origin_mm(), [-4.0, -5.0, 0.0]);
}

#[test]
fn every_type_is_known() {
    for (name, bytes) in [
        ("MET_CHAR", 1),
        ("MET_UCHAR", 1),
        ("MET_ASCII_CHAR", 1),
        ("MET_SHORT", 2),
        ("MET_USHORT", 2),
        ("MET_INT", 4),
        ("MET_UINT", 4),
        ("MET_LONG", 4),
        ("MET_ULONG", 4),
        ("MET_FLOAT", 4),
        ("MET_LONG_LONG", 8),
        ("MET_ULONG_LONG", 8),
        ("MET_DOUBLE", 8),
    ] {
        let files = Files::new();
        let header = local("").replace("MET_SHORT", name);
        files.put("scan.mha", &header, &vec![0; 24 * bytes]);
        assert_eq!(read::<f64>(files.path("scan.mha")).unwrap().voxels(), [0.0; 24], "{name}");
        files.put("scan.mha", &header, &vec![0; 24 * bytes - 1]);
        files.assert_refused("scan.mha", &format!("promises {} bytes of voxels", 24 * bytes));
    }
    let files = Files::new();
    files.put("scan.mha", &local("").replace("MET_SHORT", "MET_FLOAT_ARRAY"), &numbered());
    files.assert_refused("scan.mha", "`ElementType` is `MET_FLOAT_ARRAY`, expected integers or floats");
}

#[test]
fn voxels_may_be_raw_in_either_order_zlib_gzip_or_text() {
    let files = Files::new();
    files.put("a.mha", &local(""), &numbered()).assert_sound("a.mha");
    assert_eq!(probe(files.path("a.mha")).unwrap().format, ImageFormat::MetaImage);
    let swapped: Vec<u8> = (0..24i16).flat_map(i16::to_be_bytes).collect();
    for name in ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"] {
        files.put("b.mha", &local(&format!("{name} = True")), &swapped).assert_sound("b.mha");
    }
    let zipped = zlib(&numbered());
    let sized = format!("CompressedData = True\nCompressedDataSize = {}", zipped.len());
    for fields in ["CompressedData = True", &sized] {
        files.put("c.mha", &local(fields), &zipped).assert_sound("c.mha");
        files.put("d.mha", &local(fields), &gzip(&numbered())).assert_sound("d.mha");
    }
    let text: Vec<String> = (0..24).map(|v| v.to_string()).collect();
    files.put("e.mha", &local("BinaryData = False"), text.join(" ").as_bytes()).assert_sound("e.mha");
    files.put("f.mha", &local("").replace('\n', "\r\n"), &numbered()).assert_sound("f.mha");
    // The first field tells the format where the name does not.
    files.put("g.dat", &local(""), &numbered()).assert_sound("g.dat");
    files.put("h.mha", &local("CompressedData = True"), &numbered());
    assert!(matches!(files.read("h.mha"), Err(VolumeError::DamagedGzip { .. })));
}

#[test]
fn values_are_scaled_as_the_header_says() {
    let files = Files::new();
    let scaling = "ElementToIntensityFunctionSlope = 2\nElementToIntensityFunctionOffset = -10";
    files.put("scan.mha", &local(scaling), &numbered());
    assert_eq!(read_image(files.path("scan.mha")).unwrap().voxels()[..3], [-10.0, -8.0, -6.0]);
    assert_eq!(probe(files.path("scan.mha")).unwrap().slope, 2.0);
    for (slope, intercept, third) in
        [("2", "nan", 4.0), ("2", "-inf", 4.0), ("nan", "7", 2.0), ("0", "7", 2.0)]
    {
        let scaling = format!(
            "ElementToIntensityFunctionSlope = {slope}\nElementToIntensityFunctionOffset = {intercept}"
        );
        files.put("scan.mha", &local(&scaling), &numbered());
        assert_eq!(read_image(files.path("scan.mha")).unwrap().voxels()[2], third, "{slope}, {intercept}");
    }
}

#[test]
fn other_objects_and_colours_are_refused() {
    assert_refused(
        "ElementNumberOfChannels = 3",
        "`ElementNumberOfChannels` is `3`, expected 1: one number a voxel",
    );
    let files = Files::new();
    files.put("scan.mha", &local("").replace("= Image", "= Tube"), &numbered());
    files.assert_refused("scan.mha", "an object of type `Tube`, expected Image");
    assert_refused("BinaryData = maybe", "`BinaryData` is `maybe`, expected True or False");
    assert_refused("BinaryData = False\nCompressedData = True", "expected False where BinaryData is");
}

#[test]
fn the_size_of_a_header_counts_from_the_beginning_of_its_file() {
    let files = Files::new();
    files.put("a.raw", "123456789", &numbered());
    let outside = |fields: &str| format!("{PLAIN}{fields}\nElementDataFile = a.raw\n");
    files.put("a.mhd", &outside("HeaderSize = 9"), &[]).assert_sound("a.mhd");
    files.put("b.mhd", &outside("HeaderSize = -1"), &[]).assert_sound("b.mhd");
    files.put("c.mhd", &outside("HeaderSize = 10"), &[]);
    files.assert_refused("c.mhd", "promises 48 bytes of voxels, the file holds 47");
    files.put("d.mhd", &outside("HeaderSize = -1\nCompressedData = True"), &[]);
    files.assert_refused("d.mhd", "expected a whole number, or -1 for raw voxels");
    files.put("z.raw", "123456789", &zlib(&numbered()));
    let zipped = outside("HeaderSize = 9\nCompressedData = True").replace("a.raw", "z.raw");
    files.put("e.mhd", &zipped, &[]).assert_sound("e.mhd");
    // In a single file it counts the header itself.
    let header = local("HeaderSize = 0120");
    let padding = "x".repeat(120 - header.len());
    files.put("f.mha", &format!("{header}{padding}"), &numbered()).assert_sound("f.mha");
    files.put("g.mha", &local("HeaderSize = 9"), &numbered());
    files.assert_refused("g.mha", "its voxels begin at byte 9, within its header");
    files.put("h.mha", &format!("{}padding", local("HeaderSize = -1")), &numbered()).assert_sound("h.mha");
}
