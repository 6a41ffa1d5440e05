//! Values of attributes: bytes into numbers and text.

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::text::{SpecificCharacterSet, TextCodec};

use super::elements::DataSet;

/// Data sets in which an attribute is looked for, the first that has it counts.
pub(super) struct Attributes<'a> {
    pub(super) sets: Vec<&'a DataSet>,
    pub(super) big_endian: bool,
}

impl Attributes<'_> {
    fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        let found = self.sets.iter().find_map(|set| set.values.get(&tag))?;
        Some(found.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// Whether there is a sequence `tag` with something in it.
    pub(super) fn has_sequence(&self, tag: Tag) -> bool {
        self.sets.iter().any(|set| set.sequences.get(&tag).is_some_and(|items| !items.is_empty()))
    }

    /// Text without the padding around it; nothing if it is empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let charset = self.bytes(tags::SPECIFIC_CHARACTER_SET).and_then(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            SpecificCharacterSet::from_code(text.split('\\').next_back()?.trim_matches(PADDING))
        });
        let bytes = self.bytes(tag)?;
        let text = charset
            .unwrap_or_default()
            .decode(bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned());
        Some(text.trim_matches(PADDING).to_string()).filter(|text| !text.is_empty())
    }

    /// The first number of an IS, or another whole number in text.
    pub(super) fn integer(&self, tag: Tag) -> Option<i64> {
        self.text(tag)?.split('\\').next()?.trim().parse().ok()
    }

    /// The number of a US.
    pub(super) fn unsigned(&self, tag: Tag) -> Result<u16, String> {
        match self.bytes(tag) {
            None => Err(lacks(tag)),
            Some(&[a, b, ..]) => {
                Ok(if self.big_endian { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) })
            }
            Some(_) => Err(format!("its {} is no number of 16 bits", name(tag))),
        }
    }

    /// The number of an FD.
    pub(super) fn double(&self, tag: Tag) -> Option<f64> {
        let bytes: [u8; 8] = self.bytes(tag)?.get(..8)?.try_into().ok()?;
        Some(if self.big_endian { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) })
    }

    /// The `N` numbers of a DS, all of them finite; nothing if there are none.
    pub(super) fn decimals<const N: usize>(&self, tag: Tag) -> Result<Option<[f64; N]>, String> {
        let Some(text) = self.text(tag) else { return Ok(None) };
        let numbers: Vec<f64> = text
            .split('\\')
            .filter_map(|part| part.trim_matches(PADDING).parse().ok())
            .filter(|number: &f64| number.is_finite())
            .collect();
        match <[f64; N]>::try_from(numbers) {
            Ok(numbers) if text.split('\\').count() == N => Ok(Some(numbers)),
            _ => {
                let shown: String = text.chars().take(60).collect();
                Err(format!(
                    "its {} is `{shown}`, expected {N} number{}",
                    name(tag),
                    if N == 1 { "" } else { "s" }
                ))
            }
        }
    }

    /// The `N` numbers of a DS that must be there.
    pub(super) fn required<const N: usize>(&self, tag: Tag) -> Result<[f64; N], String> {
        self.decimals(tag)?.ok_or_else(|| lacks(tag))
    }
}

/// What values are padded with to an even length, and sometimes beyond.
const PADDING: [char; 2] = [' ', '\0'];

/// Says that an attribute is not there.
pub(super) fn lacks(tag: Tag) -> String {
    format!("it lacks {}", name(tag))
}

/// An attribute's name and number.
fn name(tag: Tag) -> String {
    let entry = StandardDataDictionary.by_tag(tag);
    format!("{} {tag}", entry.map_or("attribute", |entry| entry.alias()))
}
