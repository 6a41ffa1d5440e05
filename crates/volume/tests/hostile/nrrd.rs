//! Damaged NRRD files.

use crate::corpus::{Input, cuts, gzip, gzip_bomb, noise};

const PLAIN: &str = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nendian: little\nencoding: raw\n\
                     space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n";

/// Changes to [`PLAIN`]: a text in it, and what stands there instead.
const LIES: [(&str, &str); 50] = [
    ("NRRD0004", "NRRD0009"),
    ("NRRD0004", "NRRD"),
    ("type: short\n", ""),
    ("short", "block"),
    ("short", "complex"),
    ("short", ""),
    ("dimension: 3\n", ""),
    ("dimension: 3", "dimension: 0"),
    ("dimension: 3", "dimension: -3"),
    ("dimension: 3", "dimension: 17"),
    ("dimension: 3", "dimension: 99999999999999999999"),
    ("dimension: 3", "dimension: 3\ndimension: 3"),
    ("4 3 2", "4 3"),
    ("4 3 2", "4 3 2 1"),
    ("4 3 2", "4 3 0"),
    ("4 3 2", "4 3 -2"),
    ("4 3 2", "4 3 3"),
    ("4 3 2", "4 3 x"),
    ("4 3 2", "4 3 2.5"),
    ("4 3 2", "1 1 18446744073709551615"),
    ("4 3 2", "4294967296 4294967296 4294967296"),
    ("4 3 2", "100000 100000 100000"),
    ("4 3 2", "1 1 99999999999999999999999"),
    ("endian: little\n", ""),
    ("little", "middle"),
    ("encoding: raw\n", ""),
    ("raw", "bzip2"),
    ("raw", "hex"),
    ("raw", "gzip"),
    ("raw", "text"),
    ("space: LPS\n", ""),
    ("LPS", "scanner-xyz"),
    ("LPS", "3D-left-handed"),
    ("(0,1,0)", "(0,nan,0)"),
    ("(0,1,0)", "(0,inf,0)"),
    ("(0,1,0)", "(0,0,0)"),
    ("(0,1,0)", "(2,0,0)"),
    ("(0,1,0)", "(0,1)"),
    ("(0,1,0)", "(0,1,0"),
    ("(0,1,0)", "none"),
    ("(0,1,0)", "(0,1e-300,0)"),
    ("(0,1,0)", "(0,1e999,0)"),
    ("origin: (0,0,0)", "origin: (0,0)"),
    ("origin: (0,0,0)", "origin: (nan,0,0)"),
    ("raw\n", "raw\nbyte skip: 1\n"),
    ("raw\n", "raw\nbyte skip: -2\n"),
    ("raw\n", "raw\nbyte skip: 18446744073709551615\n"),
    ("raw\n", "raw\nbyte skip: 9223372036854775807\n"),
    ("raw\n", "raw\nline skip: 18446744073709551615\n"),
    ("raw\n", "raw\nnot a field\n"),
];

/// What `data file` may lead to that is not there, not a file or not to be read from a header.
const WRONG_FILES: [&str; 22] = [
    "nowhere.raw",
    "/dev/zero",
    "/dev/stdin",
    "/etc/passwd",
    "../a.raw",
    "below/../../a.raw",
    "link.raw",
    ".",
    "",
    "a.nhdr",
    "./a.nhdr",
    "short.raw",
    "LIST\nshort.raw\nnowhere.raw",
    "LIST 2\nshort.raw\na.nhdr",
    "LIST 99\nshort.raw",
    "LIST -1\nshort.raw",
    "LIST",
    "short%d.raw 1 2 1",
    "short%d.raw 1 1000000000 1",
    "short%d.raw -9223372036854775808 9223372036854775807 1",
    "short%99999999d.raw 1 2 1",
    "short%d.raw 1 2 0",
];

pub(crate) fn inputs() -> Vec<Input> {
    let voxels = noise(48);
    let attached = |header: &str, voxels: &[u8]| [header.as_bytes(), b"\n", voxels].concat();
    let sound = attached(PLAIN, &voxels);
    let zipped = attached(&PLAIN.replace("raw", "gzip"), &gzip(&voxels));
    let mut inputs: Vec<Input> = cuts("NRRD", "a.nrrd", &sound, 20).collect();
    inputs.extend(cuts("NRRD with gzip", "a.nrrd", &zipped, 30));
    for (text, lie) in LIES {
        assert!(PLAIN.contains(text), "{text} is in the header");
        let header = PLAIN.replacen(text, lie, 1);
        inputs.push(Input::new(format!("NRRD: `{text}` is `{lie}`"), "a.nrrd", attached(&header, &voxels)));
    }
    for wrong in WRONG_FILES {
        let header = format!("{PLAIN}data file: {wrong}\n");
        let mut input =
            Input::new(format!("NRRD: its data file is `{wrong}`"), "a.nhdr", header.into_bytes())
                .with_file("short.raw", vec![0; 47]);
        input.link = Some(("link.raw", "/dev/zero"));
        inputs.push(input);
    }
    let names = |count: usize| "a.raw\n".repeat(count);
    let listed = |sizes: &str, count: usize| {
        format!("{}data file: LIST\n{}", PLAIN.replace("4 3 2", sizes), names(count)).into_bytes()
    };
    inputs.push(Input::new("NRRD: a list of a million files", "a.nhdr", listed("4 3 1000000", 1_000_000)));
    inputs.push(Input::new("NRRD: a list of sixty thousand", "a.nhdr", listed("4 3 60000", 60_000)));
    let short_names =
        format!("{}data file: LIST\n{}", PLAIN.replace("4 3 2", "1 1 2000000"), "a\n".repeat(2_000_000));
    inputs.push(Input::new("NRRD: a list of two million files", "a.nhdr", short_names.into_bytes()));
    let endless = [PLAIN.as_bytes(), &b"# and so on\n".repeat(1_000_000)].concat();
    inputs.push(Input::new("NRRD: a header of twelve megabytes", "a.nrrd", endless));
    let line = [PLAIN.as_bytes(), b"comment: ", &vec![b'a'; 12 << 20]].concat();
    inputs.push(Input::new("NRRD: a line of twelve megabytes", "a.nrrd", line));
    inputs.push(Input::new("NRRD: compressed as a whole", "a.nrrd", gzip(&sound)));
    // What is compressed may be more than there should be, or less.
    let gzipped = PLAIN.replace("raw", "gzip");
    let bomb = attached(&gzipped, &gzip_bomb(&voxels));
    inputs.push(Input::new("NRRD: a bomb behind the voxels", "a.nrrd", bomb));
    let large = gzipped.replace("4 3 2", "1024 1024 1024");
    let bomb = attached(&large, &gzip_bomb(&[]));
    inputs.push(Input::new("NRRD: a bomb of voxels", "a.nrrd", bomb).with_small_limit());
    let skipped = format!("{gzipped}byte skip: 5000000000\n");
    inputs.push(Input::new(
        "NRRD: a bomb before the voxels",
        "a.nrrd",
        attached(&skipped, &gzip_bomb(&voxels)),
    ));
    for sizes in ["1024 1024 1024", "512 512 100", "60000 60000 1"] {
        let header = gzipped.replace("4 3 2", sizes);
        let input = attached(&header, &gzip(&voxels));
        inputs.push(Input::new(format!("NRRD with gzip: 48 bytes for {sizes} voxels"), "a.nrrd", input));
    }
    // Text has at least a character a voxel.
    let text = PLAIN.replace("raw", "text");
    for (what, voxels) in [
        ("too few", "1 2 3".to_string()),
        ("too large", "1 2 3 99999".to_string()),
        ("words", "one two three".to_string()),
        ("one long word", "1".repeat(10 << 20)),
        ("blanks", " ".repeat(10 << 20)),
    ] {
        let bytes = attached(&text, voxels.as_bytes());
        inputs.push(Input::new(format!("NRRD: a text of {what}"), "a.nrrd", bytes));
    }
    let promise = attached(&text.replace("4 3 2", "1024 1024 1024"), b"1 2 3");
    inputs.push(Input::new("NRRD: three words for a billion voxels", "a.nrrd", promise));
    inputs
}
