//! State dicts that are damaged, hostile or laid out in another way: a clear error, or the right numbers.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use organseg_unet::import::read_state_dict;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The archive of `entries`, as `torch.save` writes it.
fn archive(folder: &Path, entries: &[(&str, &[u8])]) -> PathBuf {
    let path = folder.join("net.pt");
    let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(format!("net/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    path
}

fn text(text: &str) -> Vec<u8> {
    [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", items.concat().as_slice(), b"t"].concat()
}

/// A call of `_rebuild_tensor_v2` with `arguments`.
fn call(arguments: &[Vec<u8>]) -> Vec<u8> {
    [b"ctorch._utils\n_rebuild_tensor_v2\n", tuple(arguments).as_slice(), b"R"].concat()
}

/// A tensor of numbers of storage 0.
fn tensor(offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let ints = |values: &[i64]| tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>());
    let class = b"ctorch\nFloatStorage\n".to_vec();
    let storage = [tuple(&[text("storage"), class, text("0"), text("cpu"), int(6)]), b"Q".to_vec()].concat();
    call(&[storage, int(offset), ints(size), ints(stride), b"\x89".to_vec(), b")".to_vec()])
}

/// A state dict of one tensor `w`.
fn state_dict(tensor: &[u8]) -> Vec<u8> {
    [b"\x80\x02}", text("w").as_slice(), tensor, b"s."].concat()
}

fn read(pickle: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let path =
        archive(folder.path(), &[("data.pkl", pickle), ("byteorder", b"little"), ("data/0", &numbers)]);
    read_state_dict(&path, None).map_err(|error| error.to_string())
}

#[test]
fn a_flipped_bit_is_an_error_that_names_file_entry_and_tensor() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/basic_unet.pt");
    let bytes = std::fs::read(&golden).unwrap();
    let mut zip = ZipArchive::new(std::fs::File::open(&golden).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.pt");
    for (entry, named) in [("data.pkl", "entry basic_unet/data.pkl"), ("data/3", "entry basic_unet/data/3")] {
        let file = zip.by_name(&format!("basic_unet/{entry}")).unwrap();
        // In the last number, or in the end of the description.
        let place = (file.data_start().unwrap() + file.size() - 2) as usize;
        drop(file);
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let message = read_state_dict(&path, None).unwrap_err().to_string();
        assert!(message.contains("net.pt") && message.contains(named), "{message}");
        assert!(message.contains("checksum"), "{message}");
        assert_eq!(message.contains("tensor `"), entry == "data/3", "{message}");
    }
}

#[test]
fn numbers_of_the_other_byte_order_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pickle = state_dict(&tensor(0, &[6], &[1]));
    let path = archive(folder.path(), &[("data.pkl", &pickle), ("byteorder", b"big"), ("data/0", &[0; 24])]);
    let message = read_state_dict(&path, None).unwrap_err().to_string();
    assert!(
        message.contains("net.pt") && message.ends_with("the byte order is big, expected little"),
        "{message}"
    );
}

#[test]
fn tensors_are_laid_out_as_their_strides_say() {
    let of = |offset, size: &[i64], stride: &[i64]| {
        let tensor = read(&state_dict(&tensor(offset, size, stride))).unwrap().remove("w").unwrap();
        assert_eq!(tensor.dims(), size.iter().map(|&n| n as usize).collect::<Vec<_>>());
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(of(0, &[2, 3], &[3, 1]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(of(0, &[2, 3], &[1, 2]), [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    assert_eq!(of(1, &[1, 2], &[77, 3]), [1.0, 4.0]);
    assert_eq!(of(5, &[], &[]), [5.0]);
    assert!(of(6, &[0, 3], &[3, 1]).is_empty());
}

#[test]
fn a_tensor_that_cannot_be_is_an_error_that_names_it() {
    for (tensor, reason) in [
        (
            tensor(0, &[7], &[1]),
            "sizes [7] with strides [1] from number 0 on do not fit its storage of 6 numbers",
        ),
        (
            tensor(5, &[2], &[1]),
            "sizes [2] with strides [1] from number 5 on do not fit its storage of 6 numbers",
        ),
        (
            tensor(0, &[2, 2], &[i64::MAX, i64::MAX]),
            "sizes [2, 2] with strides [9223372036854775807, 9223372036854775807] from number 0 on do not fit its storage \
             of 6 numbers",
        ),
        (
            tensor(0, &[1 << 40, 1 << 40], &[0, 0]),
            "sizes [1099511627776, 1099511627776], whose product is too large",
        ),
        (
            tensor(0, &[1 << 40, 1 << 40, 0], &[0, 0, 0]),
            "sizes [1099511627776, 1099511627776, 0], whose product is too large",
        ),
        (tensor(0, &[-1], &[1]), "a size of -1, expected 0 or more"),
        (tensor(0, &[2, 3], &[1]), "sizes [2, 3] with strides [1], expected as many of both"),
        (tensor(0, &[1; 17], &[1; 17]), "17 axes, expected at most 16"),
        (call(&[int(0)]), "_rebuild_tensor_v2 has 1 arguments, expected at least 4"),
        (call(&[int(0), int(0), int(0), int(0)]), "without a storage"),
        (
            b"ctorch._utils\n_rebuild_parameter\n)R".to_vec(),
            "_rebuild_parameter has 0 arguments, expected at least 1",
        ),
    ] {
        let message = read(&state_dict(&tensor)).unwrap_err();
        assert!(
            message.contains("net.pt") && message.ends_with(&format!("tensor `w`: {reason}")),
            "{message}"
        );
    }
    // A whole storage for each of many names, or more numbers than any storage has.
    let message = read(&state_dict(&tensor(0, &[1 << 40], &[0]))).unwrap_err();
    assert!(message.contains("the tensors take 4398046511104 bytes, expected at most "), "{message}");
}

#[test]
fn hostile_pickles_are_errors_that_name_file_and_place() {
    let nest = [b"\x80\x02)".as_slice(), &b"\x85".repeat(1 << 20), b"."].concat();
    let message = read(&nest).unwrap_err();
    assert!(message.contains("net.pt") && message.contains("no tensors"), "{message}");
    let message = read(b"\x80\x02X\xff\xff\xff\xff").unwrap_err();
    assert!(
        message.ends_with(
            "entry net/data.pkl, byte 2: 4294967295 bytes more expected, found 0 before the end of the file"
        ),
        "{message}"
    );
    let message = read(&vec![b'N'; (8 << 20) + 1]).unwrap_err();
    assert!(
        message.ends_with("entry net/data.pkl: more than 8388608 bytes, expected at most so many"),
        "{message}"
    );
}

#[test]
fn an_archive_of_something_else_and_one_without_the_numbers_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let message = read_state_dict(&archive(folder.path(), &[("word/document.xml", b"")]), None)
        .unwrap_err()
        .to_string();
    assert!(message.ends_with("the archive has no data.pkl, expected what torch.save writes"), "{message}");
    let pickle = state_dict(&tensor(0, &[6], &[1]));
    let message =
        read_state_dict(&archive(folder.path(), &[("data.pkl", &pickle)]), None).unwrap_err().to_string();
    assert!(message.contains("tensor `w`, entry net/data/0: "), "{message}");
}
