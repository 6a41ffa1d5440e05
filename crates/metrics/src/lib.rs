//! How well one segmentation agrees with another: overlaps, surface distances, box overlaps, tables.
//!
//! [`evaluate`] measures one case, label by label; [`EvaluationReport`] collects cases, summarises them
//! and writes JSON, CSV and text. The single measures are there too: [`dice`], [`jaccard`], [`recall`],
//! [`precision`], and everything about surfaces through [`surface_distances`].
//!
//! Masks are [`LabelVolume`](organseg_volume::LabelVolume)s on the same grid; anything else is refused.
//! Distances are in millimetres and, like surface Dice, follow the definitions of DeepMind's
//! `surface-distance` package: surface elements are weighed by their area.
//!
//! Voxels that nobody annotated are taken out of a comparison by [`clear_ignored`].
//!
//! Empty masks are never a NaN: a label in neither mask is a perfect score that summaries leave out and
//! count apart; a label in only one of them scores 0 at an infinite distance. See [`Presence`].

mod distance_transform;
mod error;
mod evaluate;
mod ignored;
mod overlap;
mod report;
mod summary;
mod surface;
mod surface_area;
mod surface_distances;
mod table;

pub use error::MetricError;
pub use evaluate::{LabelMetrics, METRIC_NAMES, Presence, evaluate};
pub use ignored::clear_ignored;
pub use overlap::{Overlap, dice, jaccard, labels_present, precision, recall};
pub use report::{CaseReport, EvaluationReport};
pub use summary::{LabelSummaries, SkipReason, Stats, Summary, foreground_mean, summarize};
pub use surface_distances::{DirectedDistances, SurfaceDistances, surface_distances};
