//! Voxels in files of their own.

use organseg_volume::{ImageFormat, probe};

use crate::files::{Files, gzip, numbered, zlib};

const NRRD: &str = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\nencoding: raw\n";
const META: &str = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\n";

/// A folder with the voxels in one file, a file a slice and a file a row.
fn folder() -> Files {
    let files = Files::new();
    files.put("all voxels.raw", "", &numbered());
    for (i, slice) in numbered().chunks(12).enumerate() {
        files.put(&format!("slice{i:03}.raw"), "", slice);
        files.put(&format!("slice{i:03}.gz"), "", &gzip(slice));
        files.put(&format!("slice{i:03}.z"), "", &zlib(slice));
    }
    for (i, row) in numbered().chunks(4).enumerate() {
        files.put(&format!("row{i}.raw"), "", row);
    }
    files
}

#[test]
fn one_file_has_all_voxels() {
    let files = folder();
    files.put("a.nhdr", &format!("{NRRD}data file: all voxels.raw\n"), &[]).assert_sound("a.nhdr");
    files.put("a.mhd", &format!("{META}ElementDataFile = all voxels.raw\n"), &[]).assert_sound("a.mhd");
    assert_eq!(probe(files.path("a.nhdr")).unwrap().format, ImageFormat::NrrdDetached);
    assert_eq!(probe(files.path("a.mhd")).unwrap().format, ImageFormat::MetaImageDetached);
}

#[test]
fn a_pattern_numbers_the_files() {
    let files = folder();
    files.put("a.nhdr", &format!("{NRRD}data file: slice%03d.raw 0 3 1\n"), &[]).assert_sound("a.nhdr");
    files.put("b.nhdr", &format!("{NRRD}data file: slice%03d.raw 0 3 1 2\n"), &[]).assert_sound("b.nhdr");
    files.put("c.nhdr", &format!("{NRRD}data file: row%d.raw 0 11 1 1\n"), &[]).assert_sound("c.nhdr");
    files.put("a.mhd", &format!("{META}ElementDataFile = slice%03d.raw 0 3 1\n"), &[]).assert_sound("a.mhd");
    let gzip = NRRD.replace("raw", "gzip");
    files.put("d.nhdr", &format!("{gzip}data file: slice%03d.gz 0 3 1\n"), &[]).assert_sound("d.nhdr");
    let zlib = format!("{META}CompressedData = True\nElementDataFile = slice%03d.z 0 3 1\n");
    files.put("b.mhd", &zlib, &[]).assert_sound("b.mhd");
    // Backwards, the last slice comes first.
    files.put("e.nhdr", &format!("{NRRD}data file: slice%03d.raw 3 0 -1\n"), &[]);
    assert_eq!(files.read("e.nhdr").unwrap()[[0, 0, 0]], 18);
}

#[test]
fn a_list_names_the_files() {
    let files = folder();
    let slices = "slice000.raw\nslice001.raw\nslice002.raw\nslice003.raw\n";
    let rows: Vec<String> = (0..12).map(|i| format!("row{i}.raw")).collect();
    files.put("a.nhdr", &format!("{NRRD}data file: LIST\n{slices}"), &[]).assert_sound("a.nhdr");
    files
        .put("b.nhdr", &format!("{NRRD}data file: LIST 1\n{}\n", rows.join("\n")), &[])
        .assert_sound("b.nhdr");
    files.put("c.nhdr", &format!("{NRRD}data file: LIST 3\nall voxels.raw\n"), &[]).assert_sound("c.nhdr");
    files.put("a.mhd", &format!("{META}ElementDataFile = LIST\n{slices}"), &[]).assert_sound("a.mhd");
    files.put("b.mhd", &format!("{META}ElementDataFile = LIST 2\n{slices}"), &[]).assert_sound("b.mhd");
}

#[test]
fn files_that_are_missing_elsewhere_or_of_another_number_are_refused() {
    let files = folder();
    let refused = |data_file: &str, what: &str| {
        files.put("a.nhdr", &format!("{NRRD}data file: {data_file}\n"), &[]);
        files.assert_refused("a.nhdr", what);
        files.put("a.mhd", &format!("{META}ElementDataFile = {data_file}\n"), &[]);
        files.assert_refused("a.mhd", what);
    };
    refused("nowhere.raw", "nowhere.raw: ");
    refused("/dev/zero", "expected a file in the header's own folder or below it");
    refused("../scan.raw", "expected a file in the header's own folder or below it");
    refused(
        "slice%03d.raw 0 2 1",
        "it names 3 data files of 2 axes each, an image of size [2, 3, 4] needs 4",
    );
    refused("slice%03d.raw 0 4 1", "needs 4");
    refused("slice%03d.raw 0 3 0", "in steps of 0");
    refused("slice%03d.raw", "should be followed by the first number");
    refused("slice%03d.raw 1 4 1", "slice004.raw: ");
    refused("slice000.raw", "slice000.raw: its header promises 48 bytes of voxels, the file holds 12");
    refused("LIST 2\nslice000.raw", "it names 1 data files of 2 axes each");
    refused("LIST", "it names no data file");
    std::fs::create_dir(files.path("folder.raw")).unwrap();
    refused("folder.raw", "folder.raw: it is a folder");
    files.put("a.nhdr", NRRD, &[]);
    files.assert_refused("a.nhdr", "promises 48 bytes of voxels, the file holds 0");
    files.put("a.mhd", META, &[]);
    files.assert_refused("a.mhd", "its header has no `ElementDataFile`");
}
