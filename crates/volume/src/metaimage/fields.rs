//! The lines of a MetaImage header, as fields and as where the voxels lie.

use crate::text_header::{DataFiles, Fields, SeparateFiles, lines_of};

/// The last field of a header: voxels follow, or the names of files.
const LAST: &str = "ElementDataFile";

/// The fields that are looked at; all others say nothing about values or places.
const KNOWN: [&str; 23] = [
    "AnatomicalOrientation",
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "CompressedData",
    "DimSize",
    "DistanceUnits",
    "ElementByteOrderMSB",
    LAST,
    "ElementNumberOfChannels",
    "ElementSize",
    "ElementSpacing",
    "ElementToIntensityFunctionOffset",
    "ElementToIntensityFunctionSlope",
    "ElementType",
    "HeaderSize",
    "NDims",
    "ObjectType",
    "Offset",
    "Orientation",
    "Origin",
    "Position",
    "Rotation",
    "TransformMatrix",
];

/// Whether `line` ends the header. A list of files goes on to the end of the file.
pub(super) fn is_last(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    field_of(&line).is_some_and(|(name, value)| name == LAST && !is_list(value))
}

/// Reads the lines of a header.
pub(super) fn fields_of(header: &[u8]) -> Result<(Fields, DataFiles), String> {
    let mut lines = lines_of(header);
    let mut fields = Fields::default();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = field_of(&line) else {
            return Err(format!("line {number} of its header is no field, expected `name = value`"));
        };
        let Some(name) = KNOWN.into_iter().find(|known| *known == name) else { continue };
        fields.insert(name, number, value)?;
        if name == LAST {
            return Ok((fields, files_of(value, lines.map(|(_, line)| line))?));
        }
    }
    Err(format!("its header has no `{LAST}`"))
}

/// Name and value of a line; a colon will do for the equals sign, as in MetaIO.
fn field_of(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(['=', ':'])?;
    Some((name.trim(), value.trim()))
}

fn is_list(value: &str) -> bool {
    value.split_whitespace().next() == Some("LIST")
}

fn files_of<'a>(
    value: &str,
    lines: impl Iterator<Item = std::borrow::Cow<'a, str>>,
) -> Result<DataFiles, String> {
    if value.eq_ignore_ascii_case("local") {
        return Ok(DataFiles::Attached);
    }
    Ok(DataFiles::Separate(if is_list(value) {
        SeparateFiles::list(value, lines)?
    } else if let Some(row) = SeparateFiles::pattern(value) {
        row?
    } else {
        SeparateFiles::one(value)?
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_up_to_the_data_file() {
        let header =
            b"ObjectType = Image\r\nNDims: 3\nComment = x = y\nDimSize=2 3 4\nElementDataFile = LOCAL\nNDims";
        let (fields, files) = fields_of(header).unwrap();
        assert_eq!(fields.text("NDims"), Some("3"));
        assert_eq!(fields.text("DimSize"), Some("2 3 4"));
        assert_eq!(files, DataFiles::Attached);
        assert!(is_last(b"ElementDataFile = LOCAL") && is_last(b"ElementDataFile=a.raw"));
        assert!(!is_last(b"ElementDataFile = LIST 2") && !is_last(b"DimSize = 1 2 3"));
    }

    #[test]
    fn the_voxels_may_lie_in_one_file_or_many() {
        let names = |text: &str| match fields_of(text.as_bytes()).unwrap().1 {
            DataFiles::Separate(files) => files.names,
            DataFiles::Attached => vec![],
        };
        assert_eq!(names("ElementDataFile = a b.raw\n"), ["a b.raw"]);
        assert_eq!(names("ElementDataFile = LIST\na.raw\nb.raw\n"), ["a.raw", "b.raw"]);
        assert_eq!(names("ElementDataFile = s%02d.raw 1 2 1\n"), ["s01.raw", "s02.raw"]);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(fields_of(b"NDims = 3\n").unwrap_err(), "its header has no `ElementDataFile`");
        assert!(fields_of(b"NDims 3\n").unwrap_err().starts_with("line 1 of its header is no field"));
        assert!(fields_of(b"NDims = 3\nNDims = 3\n").is_err());
    }
}
