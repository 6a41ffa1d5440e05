//! How a trained model's networks are asked, and what becomes of their answers.

use serde::{Deserialize, Serialize};

/// How a scan is segmented; the defaults are the paper's. Nothing of it changes what is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictionConfig {
    /// Whether every network also sees its image mirrored along each of the axes that its training mirrored, in
    /// all combinations; what it says is then the mean of the probabilities. Eight times the work with three axes.
    pub flips: bool,
    /// In which candidate boxes the fine network looks.
    pub boxes: Boxes,
    /// What becomes of its answers from two boxes.
    pub combine: Combine,
    /// What happens where the coarse network finds nothing.
    #[serde(skip_serializing_if = "WhenEmpty::is_default")]
    pub when_empty: WhenEmpty,
    /// Whether of each label the largest connected piece alone (26 neighbours) is kept: for organs that are one piece. The
    /// next two come after it, in their order.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_largest: bool,
    /// Connected pieces of a label (26 neighbours) with less than this volume in millilitres are left out; 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    pub least_volume_ml: f64,
    /// Whether background that one label encloses alone becomes that label.
    #[serde(skip_serializing_if = "is_default")]
    pub fill_holes: bool,
}

/// What earlier versions did, which need not read of it.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What happens where the coarse network finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenEmpty {
    /// The fine network looks at the whole scan: for organs that everybody has. It was trained on the surroundings of
    /// organs alone, and finds some in scans without one.
    #[default]
    Look,
    /// Nothing is there: for what not everybody has, such as tumours, where the training had scans without it.
    Accept,
}

impl WhenEmpty {
    /// What earlier versions did, which need not read of it.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The candidate boxes that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boxes {
    /// Both.
    #[default]
    Both,
    /// Box 1; what the fine network finds there is the answer.
    Box1,
    /// Box 2, likewise.
    Box2,
}

/// How two answers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    /// Each voxel the label that two of three masks agree on: those of the two boxes and the upsampled coarse one.
    #[default]
    Vote,
    /// Each voxel the class of the largest mean probability over the boxes that hold it, background outside both.
    Mean,
}

impl PredictionConfig {
    /// With or without mirrored images.
    #[must_use]
    pub fn with_flips(mut self, flips: bool) -> Self {
        self.flips = flips;
        self
    }

    /// With these boxes.
    #[must_use]
    pub fn with_boxes(mut self, boxes: Boxes) -> Self {
        self.boxes = boxes;
        self
    }

    /// With this answer where the coarse network finds nothing.
    #[must_use]
    pub fn with_when_empty(mut self, when_empty: WhenEmpty) -> Self {
        self.when_empty = when_empty;
        self
    }

    /// With the largest piece of each label alone, or all.
    #[must_use]
    pub fn with_keep_largest(mut self, keep_largest: bool) -> Self {
        self.keep_largest = keep_largest;
        self
    }

    /// Without pieces of a label of less than this volume in millilitres.
    #[must_use]
    pub fn with_least_volume_ml(mut self, least_volume_ml: f64) -> Self {
        self.least_volume_ml = least_volume_ml;
        self
    }

    /// With holes filled or left.
    #[must_use]
    pub fn with_fill_holes(mut self, fill_holes: bool) -> Self {
        self.fill_holes = fill_holes;
        self
    }

    /// With answers combined this way.
    #[must_use]
    pub fn with_combine(mut self, combine: Combine) -> Self {
        self.combine = combine;
        self
    }
}
