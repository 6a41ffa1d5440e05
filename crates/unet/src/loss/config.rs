//! The losses put together: which, how much of each, and until when.

use serde::{Deserialize, Serialize};

use super::EmptySlices;
use crate::UnetError;

/// L = `dice` · L_dice + γ · L_center + `cross_entropy` · L_ce + `focal` · L_focal + `tversky` · L_tversky,
/// where γ is `center` for the first `center_epochs` epochs and 0 from then on.
///
/// The default is the paper's: Dice + 1e-3 · center for 50 epochs, nothing else.
///
/// ```
/// use organseg_unet::LossConfig;
/// let loss = LossConfig::default();
/// assert_eq!((loss.gamma(0), loss.gamma(49), loss.gamma(50)), (1e-3, 1e-3, 0.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Weight of the two-sided Dice loss.
    pub dice: f64,
    /// γ of the center loss in the first epochs.
    pub center: f64,
    /// Number of epochs, from the first, in which the center loss counts.
    pub center_epochs: usize,
    /// What the center loss does with slices in which the truth is empty.
    pub empty_slices: EmptySlices,
    /// Weight of the cross-entropy.
    pub cross_entropy: f64,
    /// w₀: how much more a voxel at the truth's boundary weighs in the cross-entropy; 0 for all alike. 10 in
    /// Ronneberger et al. 2015. Costs a distance transform for each class and sample, a few per cent of a step.
    pub boundary: f64,
    /// σ of that weight's fall with the distance from the boundary, in voxels.
    pub boundary_sigma_voxels: f64,
    /// Weight of the focal loss.
    pub focal: f64,
    /// Its focus: the power of 1 − p.
    pub focal_gamma: f64,
    /// Weight of the Tversky loss.
    pub tversky: f64,
    /// Its cost of false positives.
    pub tversky_alpha: f64,
    /// Its cost of false negatives.
    pub tversky_beta: f64,
    /// Weight of each class in every loss, background first; empty for all alike. The background's counts in
    /// cross-entropy and focal loss alone, since the others are means over the foreground classes.
    pub class_weights: Vec<f64>,
    /// Voxels of this label count in no loss. It is none of the network's classes.
    pub ignore_label: Option<u8>,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            dice: 1.0,
            center: 1e-3,
            center_epochs: 50,
            empty_slices: EmptySlices::Skip,
            cross_entropy: 0.0,
            boundary: 0.0,
            boundary_sigma_voxels: 5.0,
            focal: 0.0,
            focal_gamma: 2.0,
            tversky: 0.0,
            tversky_alpha: 0.3,
            tversky_beta: 0.7,
            class_weights: Vec::new(),
            ignore_label: None,
        }
    }
}

impl LossConfig {
    /// γ in epoch `epoch`, counted from 0.
    #[must_use]
    pub fn gamma(&self, epoch: usize) -> f64 {
        if epoch < self.center_epochs { self.center } else { 0.0 }
    }

    /// Checks that this is a loss for a network of `classes` classes, background included.
    ///
    /// # Errors
    /// [`UnetError::LossConfig`] naming the field.
    pub fn check(&self, classes: usize) -> Result<(), UnetError> {
        let fail =
            |field, found: String, expected: String| Err(UnetError::LossConfig { field, found, expected });
        for (field, value) in [
            ("dice", self.dice),
            ("center", self.center),
            ("cross_entropy", self.cross_entropy),
            ("boundary", self.boundary),
            ("focal", self.focal),
            ("focal_gamma", self.focal_gamma),
            ("tversky", self.tversky),
            ("tversky_alpha", self.tversky_alpha),
            ("tversky_beta", self.tversky_beta),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return fail(field, value.to_string(), "0 or a positive number".into());
            }
        }
        if !(self.boundary_sigma_voxels.is_finite() && self.boundary_sigma_voxels > 0.0) {
            let found = self.boundary_sigma_voxels.to_string();
            return fail("boundary_sigma_voxels", found, "a positive number".into());
        }
        if self.dice + self.cross_entropy + self.focal + self.tversky == 0.0 {
            let expected = "a positive one: the center loss counts in the first epochs alone";
            return fail("each of dice, cross_entropy, focal and tversky", "0".into(), expected.into());
        }
        if self.boundary > 0.0 && self.cross_entropy == 0.0 {
            let expected = "0, or a cross_entropy to weigh, which is 0".into();
            return fail("boundary", self.boundary.to_string(), expected);
        }
        let weights = &self.class_weights;
        if !(weights.is_empty() || weights.len() == classes) {
            let found = format!("{weights:?}");
            return fail(
                "class_weights",
                found,
                format!("one weight for each of {classes} classes, or none"),
            );
        }
        let negative = weights.iter().any(|weight| !(weight.is_finite() && *weight >= 0.0));
        let nothing = !weights.is_empty() && weights[1..].iter().all(|weight| *weight == 0.0);
        if negative || nothing {
            let expected = "no negative weight and a positive one for a class other than the background";
            return fail("class_weights", format!("{weights:?}"), expected.into());
        }
        if let Some(label) = self.ignore_label.filter(|&label| usize::from(label) < classes) {
            let expected = format!("a label that is none of the network's classes 0 to {}", classes - 1);
            return fail("ignore_label", label.to_string(), expected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_what_was_expected() {
        let config = LossConfig::default;
        for (config, message) in [
            (LossConfig { focal: -1.0, ..config() }, "focal is -1, expected 0 or a positive number"),
            (
                LossConfig { boundary_sigma_voxels: 0.0, ..config() },
                "boundary_sigma_voxels is 0, expected a positive number",
            ),
            (
                LossConfig { dice: 0.0, center: 1.0, ..config() },
                "each of dice, cross_entropy, focal and tversky is 0, expected a positive one: the center loss \
                 counts in the first epochs alone",
            ),
            (
                LossConfig { boundary: 10.0, ..config() },
                "boundary is 10, expected 0, or a cross_entropy to weigh, which is 0",
            ),
            (
                LossConfig { class_weights: vec![1.0], ..config() },
                "class_weights is [1.0], expected one weight for each of 3 classes, or none",
            ),
            (
                LossConfig { class_weights: vec![1.0, 0.0, 0.0], ..config() },
                "class_weights is [1.0, 0.0, 0.0], expected no negative weight and a positive one for a class \
                 other than the background",
            ),
            (
                LossConfig { ignore_label: Some(2), ..config() },
                "ignore_label is 2, expected a label that is none of the network's classes 0 to 2",
            ),
        ] {
            let error = config.check(3).unwrap_err().to_string();
            assert_eq!(error, format!("loss configuration: {message}"));
        }
        LossConfig { ignore_label: Some(3), class_weights: vec![0.0, 1.0, 2.0], ..config() }
            .check(3)
            .unwrap();
    }
}
