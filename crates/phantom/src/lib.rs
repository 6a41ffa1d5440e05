//! Synthetic abdominal CT with a tortuous pancreas and its neighbours, decided by a seed.
//!
//! For tests, examples and first steps: a scan in Hounsfield units and its true mask, made in a fraction
//! of a second, without anybody's data. [`generate`] makes one, [`write_dataset`] a folder of them in
//! nnU-Net's layout.
//!
//! The pancreas is a thin bent tube whose intensity overlaps that of bowel, stomach wall and muscle
//! beside it. At a quarter of the resolution it is one or two voxels thick; at full resolution a thin and
//! patchy rim of fat tells it apart.

mod anatomy;
mod config;
mod dataset;
mod error;
mod noise;
mod organ;
mod render;
mod shape;

pub use config::PhantomConfig;
pub use dataset::{case_seed, write_dataset};
pub use error::PhantomError;
pub use organ::Organ;
pub use render::{PANCREAS, Phantom, generate};
