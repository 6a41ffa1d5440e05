//! Regions of interest in volumes: bounding boxes, crops, connected components, voting.
//!
//! Boxes are half-open and counted in voxels along (x, y, z): `min` is inside, `max` is not.

mod bounding_box;
mod components;
mod crop;
mod error;
mod holes;
mod mask_box;
mod vote;

pub use bounding_box::BoundingBox;
pub use components::{
    Components, Connectivity, connected_components, largest_component, remove_small_components,
};
pub use crop::{crop, paste};
pub use error::RoiError;
pub use holes::fill_holes;
pub use vote::majority_vote;
