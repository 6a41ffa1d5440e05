//! Samples of thick slices, which are turned and scaled within their slices alone.

use serde::{Deserialize, Serialize};

/// The axis along which the slices of samples are stacked, if they are so thick that what lies between two of them is not
/// to be made up: in TOML and JSON `"none"`, `"x"`, `"y"` or `"z"`.
///
/// Along that axis a sample is neither rotated nor scaled, deformed or shown at a lower resolution, but still mirrored
/// and blurred. It is what nnU-Net calls dummy 2D, but for the angles, which stay those of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThickSlices {
    /// All axes are varied alike.
    #[default]
    None,
    /// Sagittal slices.
    X,
    /// Coronal slices.
    Y,
    /// Axial slices.
    Z,
}

impl ThickSlices {
    /// Slices stacked along `axis`: 0, 1 or 2 for x, y or z.
    ///
    /// # Panics
    /// For another axis.
    #[must_use]
    pub fn along(axis: usize) -> Self {
        [Self::X, Self::Y, Self::Z][axis]
    }

    /// The axis along which they are stacked: 0, 1 or 2 for x, y or z.
    #[must_use]
    pub fn axis(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::X => Some(0),
            Self::Y => Some(1),
            Self::Z => Some(2),
        }
    }

    /// Whether samples may change along `axis` as they do along others.
    pub(super) fn vary_along(self, axis: usize) -> bool {
        self.axis() != Some(axis)
    }

    /// Whether samples may be turned about `axis`.
    pub(super) fn turn_about(self, axis: usize) -> bool {
        self.axis().is_none_or(|stacked| stacked == axis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_turned_about_the_axis_of_their_stack_alone() {
        for axis in 0..3 {
            let slices = ThickSlices::along(axis);
            assert_eq!(slices.axis(), Some(axis));
            for other in 0..3 {
                assert_eq!(
                    (slices.turn_about(other), slices.vary_along(other)),
                    (other == axis, other != axis)
                );
                assert!(ThickSlices::None.turn_about(other) && ThickSlices::None.vary_along(other));
            }
        }
        assert_eq!(serde_json::to_string(&ThickSlices::along(2)).unwrap(), r#""z""#);
        assert_eq!(serde_json::from_str::<ThickSlices>(r#""none""#).unwrap(), ThickSlices::None);
    }
}
