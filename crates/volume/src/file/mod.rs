//! Image files of every format: what they share, and how a format plugs in.
//!
//! A format is a folder beside this one (`nifti`) that knows its header and nothing else:
//!
//! - **Reading.** [`open`] looks at the first bytes of a file and hands them to the format that they
//!   belong to. The format answers with a [`StoredImage`]: size, affine, number type, scaling
//!   ([`ImageInfo`]), the byte order, and in which files the voxels lie, from which byte on and how they
//!   are compressed. It checks what the header says about itself, not whether the file keeps the
//!   promise. From that description `read` makes a `Volume<T>` the same way for every format:
//!   lengths are compared with the files before memory is taken, values are converted exactly or to the
//!   nearest, errors name the file and the voxel.
//! - **Writing.** [`write()`] picks the format by the ending. The format lays out its header and calls
//!   [`write_voxels`] within [`write_atomically`](crate::write_atomically).
//!
//! So a new format is: a variant of [`ImageFormat`], a line in [`open`], a function from a file's first
//! bytes to [`StoredImage`], a line in [`write()`], a function that writes the header. An image that is not
//! stored as one block of numbers (DICOM: a file for each slice, with its own scaling) is taken out before
//! [`open`], in [`probe`] and in `read_as`.

mod checksum;
mod decode;
mod ending;
#[cfg(feature = "libdeflate")]
mod envelope;
mod info;
mod limits;
mod load;
mod open;
mod read;
mod smallest;
mod stored;
mod stream;
mod text_voxels;
mod unpack;
mod voxels;
#[cfg(feature = "libdeflate")]
mod whole;
mod write;
mod zeros;

pub use info::{ImageFormat, ImageInfo, probe};
pub use limits::ReadLimits;
pub use read::{read, read_image, read_labels, read_with_limits};
pub use smallest::smallest_type;
pub use write::{WriteConfig, write, write_smallest, write_with};

pub(crate) use decode::Fit;
pub(crate) use ending::split_ending;
pub(crate) use info::scaling;
#[cfg(feature = "dicom")]
pub(crate) use load::MAX_EXPANSION;
pub(crate) use open::Start;
pub(crate) use read::read_as;
pub(crate) use stored::{Compression, Part, StoredImage};
pub(crate) use stream::length_of;
pub(crate) use voxels::write_voxels;
pub(crate) use write::{raw_name, write_as, write_smallest_as};
#[cfg(feature = "dicom")]
pub(crate) use zeros::zeros;
