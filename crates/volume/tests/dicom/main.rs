//! DICOM series of every kind, and what becomes of those that are wrong.
#![cfg(feature = "dicom")]

mod compressed;
mod enhanced;
mod geometry;
mod hostile;
mod pixels;
mod reference_images;
mod series;
mod writer;
