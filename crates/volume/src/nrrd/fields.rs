//! The lines of an NRRD header, as fields and as where the voxels lie.

use crate::text_header::{DataFiles, Fields, SeparateFiles, lines_of};

/// The fields that are looked at; all others say nothing about values or places.
const KNOWN: [&str; 17] = [
    "axis mins",
    "byte skip",
    "centerings",
    "data file",
    "dimension",
    "encoding",
    "endian",
    "kinds",
    "line skip",
    "sizes",
    "space",
    "space dimension",
    "space directions",
    "space origin",
    "space units",
    "spacings",
    "type",
];

/// Reads the lines of a header, from the magic word to the empty line or the end of the file.
pub(super) fn fields_of(header: &[u8]) -> Result<(Fields, DataFiles), String> {
    let mut lines = lines_of(header).take_while(|(number, line)| *number == 1 || !line.is_empty());
    let magic = lines.next().map(|(_, line)| line).unwrap_or_default();
    if !matches!(magic.strip_prefix("NRRD000"), Some("1" | "2" | "3" | "4" | "5")) {
        let magic: String = magic.chars().take(20).collect();
        return Err(format!("its first line is `{magic}`, expected NRRD0001 to NRRD0005"));
    }
    let mut fields = Fields::default();
    let mut files = DataFiles::Attached;
    while let Some((number, line)) = lines.next() {
        if line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!("line {number} of its header is no field, expected `name: value`"));
        };
        // `key:=value` is of the writer's own.
        let name = canonical(name).filter(|_| !value.starts_with('='));
        let (Some(name), value) = (name, value.trim()) else { continue };
        fields.insert(name, number, value)?;
        if name == "data file" {
            files = DataFiles::Separate(if value.split_whitespace().next() == Some("LIST") {
                // The rest of the header are names.
                SeparateFiles::list(value, lines.by_ref().map(|(_, line)| line))?
            } else if let Some(row) = SeparateFiles::pattern(value) {
                row?
            } else {
                SeparateFiles::one(value)?
            });
        }
    }
    Ok((fields, files))
}

/// The name in [`KNOWN`] that `name` means: in any case, with or without blanks, or an older word.
fn canonical(name: &str) -> Option<&'static str> {
    let bare = |name: &str| name.replace(' ', "").to_ascii_lowercase();
    let name = match bare(name).as_str() {
        "centers" => "centerings".to_string(),
        other => other.to_string(),
    };
    KNOWN.into_iter().find(|known| bare(known) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &str) -> Result<(Fields, DataFiles), String> {
        fields_of(format!("NRRD0004\n{lines}").as_bytes())
    }

    #[test]
    fn fields_are_read_up_to_the_empty_line() {
        let text = "# type: double\r\ntype: short\r\nSizes:2 3\r\nDICOM_0010:=type: x\r\nDataFile: a b.raw\r\n\r\nline skip: 1";
        let (fields, files) = parsed(text).unwrap();
        assert_eq!(fields.text("type"), Some("short"));
        assert_eq!(fields.text("sizes"), Some("2 3"));
        assert_eq!(fields.text("line skip"), None);
        assert_eq!(files, DataFiles::Separate(SeparateFiles::one("a b.raw").unwrap()));
    }

    #[test]
    fn a_list_of_files_is_the_rest_of_the_header() {
        let (_, files) = parsed("data file: LIST 2\na.raw\nb.raw\n").unwrap();
        let DataFiles::Separate(files) = files else { panic!("the files are separate") };
        assert_eq!(files.names, ["a.raw", "b.raw"]);
        assert_eq!(files.axes_per_file, Some(2));
        let (_, files) = parsed("data file: s%02d.raw 1 2 1\ntype: short\n").unwrap();
        let DataFiles::Separate(files) = files else { panic!("the files are separate") };
        assert_eq!(files.names, ["s01.raw", "s02.raw"]);
    }

    #[test]
    fn other_files_are_told_from_nrrd() {
        for magic in ["NRRD0006", "NRRD", "NRRD00.01", "nrrd0004", ""] {
            let error = fields_of(format!("{magic}\ntype: short\n\n").as_bytes()).unwrap_err();
            assert_eq!(error, format!("its first line is `{magic}`, expected NRRD0001 to NRRD0005"));
        }
        assert!(parsed("type short\n").unwrap_err().starts_with("line 2 of its header is no field"));
        assert!(parsed("type: short\ntype: int\n").unwrap_err().contains("lines 2 and 3"));
    }
}
