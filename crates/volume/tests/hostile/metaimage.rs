//! Damaged MetaImage files.

use crate::corpus::{Input, cuts, gzip, gzip_bomb, noise, zlib, zlib_bomb};

const PLAIN: &str = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n\
                     CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n\
                     ElementSpacing = 1 1 1\nDimSize = 4 3 2\nElementType = MET_SHORT\n";

/// Changes to [`PLAIN`]: a text in it, and what stands there instead.
const LIES: [(&str, &str); 45] = [
    ("= Image", "= Mesh"),
    ("NDims = 3\n", ""),
    ("NDims = 3", "NDims = 0"),
    ("NDims = 3", "NDims = -3"),
    ("NDims = 3", "NDims = 1"),
    ("NDims = 3", "NDims = 11"),
    ("NDims = 3", "NDims = 99999999999999999999"),
    ("NDims = 3", "NDims = 3\nNDims = 3"),
    ("BinaryData = True", "BinaryData = Perhaps"),
    ("BinaryData = True", "BinaryData = False"),
    ("CompressedData = False", "CompressedData = True"),
    ("OrderMSB = False", "OrderMSB = 2"),
    ("DimSize = 4 3 2\n", ""),
    ("4 3 2", "4 3"),
    ("4 3 2", "4 3 2 1"),
    ("4 3 2", "4 3 0"),
    ("4 3 2", "4 3 -2"),
    ("4 3 2", "4 3 3"),
    ("4 3 2", "4 3 x"),
    ("4 3 2", "1 1 18446744073709551615"),
    ("4 3 2", "4294967296 4294967296 4294967296"),
    ("4 3 2", "100000 100000 100000"),
    ("4 3 2", "1 1 99999999999999999999999"),
    ("ElementType = MET_SHORT\n", ""),
    ("MET_SHORT", "MET_STRING"),
    ("MET_SHORT", "MET_DOUBLE_ARRAY"),
    ("MET_SHORT", "MET_DOUBLE"),
    ("MET_SHORT", "MET_SHORT\nElementNumberOfChannels = 3"),
    ("MET_SHORT", "MET_SHORT\nElementNumberOfChannels = -1"),
    ("MET_SHORT", "MET_SHORT\nHeaderSize = -2"),
    ("MET_SHORT", "MET_SHORT\nHeaderSize = 1"),
    ("MET_SHORT", "MET_SHORT\nHeaderSize = 9223372036854775807"),
    ("MET_SHORT", "MET_SHORT\nHeaderSize = 99999999999999999999"),
    ("MET_SHORT", "MET_SHORT\nElementToIntensityFunctionSlope = x"),
    ("MET_SHORT", "MET_SHORT\nDistanceUnits = furlong"),
    ("MET_SHORT", "MET_SHORT\nnot a field"),
    ("Spacing = 1 1 1", "Spacing = 1 0 1"),
    ("Spacing = 1 1 1", "Spacing = 1 nan 1"),
    ("Spacing = 1 1 1", "Spacing = 1 inf 1"),
    ("Spacing = 1 1 1", "Spacing = 1 1"),
    ("Offset = 0 0 0", "Offset = 0 nan 0"),
    ("Offset = 0 0 0", "Offset = 0 1e999 0"),
    ("1 0 0 0 1 0 0 0 1", "1 0 0 1 0 0 0 0 1"),
    ("1 0 0 0 1 0 0 0 1", "1 0 0 0 nan 0 0 0 1"),
    ("1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 0"),
];

/// What `ElementDataFile` may lead to that is not there, not a file or not to be read from a header.
const WRONG_FILES: [&str; 20] = [
    "nowhere.raw",
    "/dev/zero",
    "/dev/stdin",
    "/etc/passwd",
    "../a.raw",
    "below/../../a.raw",
    "link.raw",
    ".",
    "",
    "a.mhd",
    "./a.mhd",
    "short.raw",
    "LIST\nshort.raw\nnowhere.raw",
    "LIST 99\nshort.raw",
    "LIST x\nshort.raw",
    "LIST",
    "short%d.raw 1 2 1",
    "short%d.raw 1 1000000000 1",
    "short%d.raw -9223372036854775808 9223372036854775807 1",
    "short%d.raw 1 2 0",
];

pub(crate) fn inputs() -> Vec<Input> {
    let voxels = noise(48);
    let local =
        |header: &str, voxels: &[u8]| [header.as_bytes(), b"ElementDataFile = LOCAL\n", voxels].concat();
    let compressed = PLAIN.replace("CompressedData = False", "CompressedData = True");
    let mut inputs: Vec<Input> = cuts("MetaImage", "a.mha", &local(PLAIN, &voxels), 20).collect();
    inputs.extend(cuts("MetaImage with zlib", "a.mha", &local(&compressed, &zlib(&voxels)), 30));
    inputs.extend(cuts("MetaImage with gzip", "a.mha", &local(&compressed, &gzip(&voxels)), 10));
    inputs.push(Input::new("MetaImage of noise", "a.mha", noise(5000)));
    inputs.push(Input::new("MetaImage of nothing", "a.mhd", Vec::new()));
    for (text, lie) in LIES {
        assert!(PLAIN.contains(text), "{text} is in the header");
        let header = PLAIN.replacen(text, lie, 1);
        inputs.push(Input::new(format!("MetaImage: `{text}` is `{lie}`"), "a.mha", local(&header, &voxels)));
    }
    for wrong in WRONG_FILES {
        let header = format!("{PLAIN}ElementDataFile = {wrong}\n");
        let name = format!("MetaImage: its data file is `{wrong}`");
        let mut input = Input::new(name, "a.mhd", header.into_bytes()).with_file("short.raw", vec![0; 47]);
        input.link = Some(("link.raw", "/dev/zero"));
        inputs.push(input);
    }
    let listed = |sizes: &str, names: String| {
        format!("{}ElementDataFile = LIST\n{names}", PLAIN.replace("4 3 2", sizes)).into_bytes()
    };
    let million = listed("4 3 1000000", "a.raw\n".repeat(1_000_000));
    inputs.push(Input::new("MetaImage: a list of a million files", "a.mhd", million));
    let endless = [PLAIN.as_bytes(), &b"Comment = and so on\n".repeat(1_000_000)].concat();
    inputs.push(Input::new("MetaImage: a header of twenty megabytes", "a.mha", endless));
    inputs.push(Input::new("MetaImage: compressed as a whole", "a.mha", gzip(&local(PLAIN, &voxels))));
    let mut flipped = local(&compressed, &zlib(&voxels));
    *flipped.last_mut().expect("it has bytes") ^= 1;
    inputs.push(Input::new("MetaImage with zlib: another checksum", "a.mha", flipped));
    for (what, bomb) in [("gzip", gzip_bomb(&voxels)), ("zlib", zlib_bomb(&voxels))] {
        inputs.push(Input::new(
            format!("MetaImage: a bomb of {what} behind the voxels"),
            "a.mha",
            local(&compressed, &bomb),
        ));
        let large = compressed.replace("4 3 2", "1024 1024 240");
        inputs.push(
            Input::new(format!("MetaImage: a bomb of {what} of voxels"), "a.mha", local(&large, &bomb))
                .with_small_limit(),
        );
    }
    for sizes in ["1024 1024 1024", "512 512 100"] {
        let header = compressed.replace("4 3 2", sizes);
        let input = local(&header, &zlib(&voxels));
        inputs.push(Input::new(format!("MetaImage with zlib: 48 bytes for {sizes} voxels"), "a.mha", input));
    }
    let text = PLAIN.replace("BinaryData = True", "BinaryData = False");
    inputs.push(Input::new("MetaImage: a text of three words", "a.mha", local(&text, b"1 2 three")));
    inputs
}
