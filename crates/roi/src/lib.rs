//! Regions of interest in volumes: bounding boxes, crops, connected components, voting.
//!
//! Boxes are half-open and counted in voxels along (x, y, z): `min` is inside, `max` is not. Masks are
//! volumes of labels, of which 0 is background. Whatever runs in parallel gives the same result with any
//! number of threads.
//!
//! Cut out the region around what a first look found, work on it, and put the result back:
//!
//! ```
//! use organseg_roi::{BoundingBox, Connectivity, crop, largest_component, paste};
//! use organseg_volume::{Grid, LabelVolume, Spacing, Volume};
//! let grid = Grid::with_spacing([20, 20, 10], Spacing::new([1.0, 1.0, 2.0])?)?;
//! let scan = Volume::from_fn(grid, |[x, y, z]| (x + y + z) as f32);
//! let found = LabelVolume::from_fn(grid, |[x, y, z]| u8::from(x < 4 && y < 4 && z < 4 || x == 19));
//!
//! // The organ is the largest piece: the wall at x = 19, not the cube in the corner.
//! let organ = largest_component(&found, Connectivity::TwentySix);
//! let organ_box = BoundingBox::of_mask(&organ).expect("something was found");
//! assert_eq!((organ_box.min(), organ_box.size()), ([19, 0, 0], [1, 20, 10]));
//!
//! let region = organ_box.grow_mm(5.0, grid.spacing()).clamp_to(grid.size()).expect("it meets the scan");
//! assert_eq!((region.min(), region.size()), ([14, 0, 0], [6, 20, 10]));
//! let refined = crop(&scan, &region, 0.0).map(|value| u8::from(value > 40.0));
//! let mut mask = LabelVolume::filled(grid, 0);
//! paste(&mut mask, &refined, &region)?;
//! assert_eq!((mask[[19, 19, 9]], mask[[14, 19, 7]]), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounding_box;
mod components;
mod connectivity;
mod crop;
mod error;
mod holes;
mod keep;
mod mask_box;
mod pieces;
#[cfg(test)]
mod reference;
mod runs;
mod vote;

pub use bounding_box::BoundingBox;
pub use components::{Components, connected_components};
pub use connectivity::Connectivity;
pub use crop::{crop, paste};
pub use error::RoiError;
pub use holes::{fill_holes, fill_holes_of_each_label};
pub use keep::{
    components_that_meet, largest_component, largest_component_of_each_label, remove_small_components,
    remove_small_components_of_each_label,
};
pub use vote::majority_vote;
