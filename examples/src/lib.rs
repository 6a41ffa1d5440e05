//! What the examples share: pictures.

mod montage;

pub use montage::Montage;
