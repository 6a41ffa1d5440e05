//! The transfer syntaxes: how elements and pixels are written down.

use std::path::Path;

use super::elements::Encoding;
use crate::VolumeError;

/// A transfer syntax that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) encoding: Encoding,
    /// Whether the data set is a deflate stream.
    pub(super) deflated: bool,
    pub(super) coding: Coding,
}

/// How pixels are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// As numbers.
    Native,
    /// As numbers, in fragments.
    Encapsulated,
    Rle,
    #[cfg(feature = "jpeg")]
    Jpeg,
    #[cfg(feature = "jpeg2000")]
    Jpeg2000,
    #[cfg(feature = "jpeg-ls")]
    JpegLs,
}

impl Syntax {
    /// Explicit VR little endian, what file headers are written in.
    pub(super) const EXPLICIT: Self = Self::native(Encoding::ExplicitLittle);

    pub(super) const fn native(encoding: Encoding) -> Self {
        Self { encoding, deflated: false, coding: Coding::Native }
    }

    /// The syntax called `uid`; an error that names it and the feature that would read it, if there is
    /// one.
    pub(super) fn of(uid: &str, path: &Path) -> Result<Self, VolumeError> {
        let coded = |coding| Self { coding, ..Self::EXPLICIT };
        let feature = match uid {
            "1.2.840.10008.1.2" => return Ok(Self::native(Encoding::ImplicitLittle)),
            "1.2.840.10008.1.2.1" => return Ok(Self::EXPLICIT),
            "1.2.840.10008.1.2.2" => return Ok(Self::native(Encoding::ExplicitBig)),
            "1.2.840.10008.1.2.1.99" => return Ok(Self { deflated: true, ..Self::EXPLICIT }),
            "1.2.840.10008.1.2.1.98" => return Ok(coded(Coding::Encapsulated)),
            "1.2.840.10008.1.2.5" => return Ok(coded(Coding::Rle)),
            "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => {
                #[cfg(feature = "jpeg")]
                return Ok(coded(Coding::Jpeg));
                #[cfg(not(feature = "jpeg"))]
                Some("jpeg")
            }
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => {
                #[cfg(feature = "jpeg-ls")]
                return Ok(coded(Coding::JpegLs));
                #[cfg(not(feature = "jpeg-ls"))]
                Some("jpeg-ls")
            }
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => {
                #[cfg(feature = "jpeg2000")]
                return Ok(coded(Coding::Jpeg2000));
                #[cfg(not(feature = "jpeg2000"))]
                Some("jpeg2000")
            }
            _ => None,
        };
        let uid = uid.to_string();
        Err(VolumeError::UnsupportedSyntax { path: path.to_path_buf(), name: name(&uid), uid, feature })
    }
}

/// What a syntax is called, for messages.
fn name(uid: &str) -> &'static str {
    match uid.strip_prefix("1.2.840.10008.1.2.").unwrap_or_default() {
        "4.50" => "JPEG baseline",
        "4.51" => "JPEG extended, 12 bits",
        "4.57" | "4.70" => "JPEG lossless",
        "4.80" | "4.81" => "JPEG-LS",
        "4.90" | "4.91" => "JPEG 2000",
        "4.92" | "4.93" => "JPEG 2000 part 2",
        "4.110" | "4.111" | "4.112" => "JPEG XL",
        "4.201" | "4.202" | "4.203" => "high-throughput JPEG 2000",
        other if other.starts_with("4.10") => "video",
        _ => "not known",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_that_is_not_read_is_named() {
        let error = |uid| Syntax::of(uid, Path::new("IM1")).unwrap_err().to_string();
        assert!(error("1.2.840.10008.1.2.4.51").contains("1.2.840.10008.1.2.4.51 (JPEG extended, 12 bits)"));
        assert!(error("1.2.3").contains("1.2.3 (not known)"));
        #[cfg(not(feature = "jpeg2000"))]
        assert!(error("1.2.840.10008.1.2.4.90").contains("feature `jpeg2000`"));
        #[cfg(not(feature = "jpeg-ls"))]
        assert!(error("1.2.840.10008.1.2.4.80").contains("feature `jpeg-ls`"));
    }
}
