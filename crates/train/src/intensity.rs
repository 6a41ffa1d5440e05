//! How intensities become what the network sees.

use organseg_volume::{
    Volume, min_max_to_unit_in_place, window_to_unit_in_place, z_score_in_place, z_score_of_nonzero_in_place,
};
use serde::{Deserialize, Serialize};

use crate::{Modality, TrainError};

/// How intensities become what the network sees.
///
/// In TOML or JSON: `{ kind = "window", low = -100.0, high = 240.0 }`, `{ kind = "z_score" }`,
/// `{ kind = "z_score", nonzero = true }`, `{ kind = "rescale" }` or `{ kind = "none" }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", from = "Written")]
pub enum Intensity {
    /// Clipped to [low, high] and scaled to [0, 1]; for CT, in Hounsfield units.
    Window {
        /// What becomes 0.
        low: f32,
        /// What becomes 1.
        high: f32,
    },
    /// Mean 0 and standard deviation 1 over the voxels of the scan, for modalities without a unit.
    ZScore {
        /// Whether only voxels that are not exactly 0 count, and the others stay 0: for scans of which everything but an
        /// organ was cut away, such as skull-stripped brains, where the size of the rest would decide the mean.
        #[serde(default, skip_serializing_if = "is_false")]
        nonzero: bool,
    },
    /// The scan's smallest value becomes 0 and its largest 1.
    Rescale,
    /// As they are stored.
    None,
}

/// [`Intensity`] as it is read. serde lets a unit variant of a tagged enum have any fields, and a struct variant
/// only its own: `{ kind = "none", low = 0.0 }` is to be refused.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Window {
        low: f32,
        high: f32,
    },
    ZScore {
        #[serde(default)]
        nonzero: bool,
    },
    Rescale {},
    None {},
}

impl From<Written> for Intensity {
    fn from(written: Written) -> Self {
        match written {
            Written::Window { low, high } => Self::Window { low, high },
            Written::ZScore { nonzero } => Self::ZScore { nonzero },
            Written::Rescale {} => Self::Rescale,
            Written::None {} => Self::None,
        }
    }
}

impl Default for Intensity {
    /// The window of the method: −100 to 240 HU, soft tissue with fat as its dark end.
    fn default() -> Self {
        Self::Window { low: -100.0, high: 240.0 }
    }
}

impl Intensity {
    /// The window for CT, what the name says where it is one of nnU-Net's normalisations (`noNorm`, `rescale_to_0_1`,
    /// and `rgb_to_0_1`, which divides by 255), z-scores over all voxels for all else.
    ///
    /// ```
    /// use organseg_train::{Intensity, Modality};
    /// let of = |name: &str| Intensity::for_modality(&Modality::from(name.to_string()));
    /// assert_eq!(of("CT"), Intensity::Window { low: -100.0, high: 240.0 });
    /// assert_eq!(of("noNorm"), Intensity::None);
    /// assert_eq!(of("rescale_to_0_1"), Intensity::Rescale);
    /// assert_eq!(of("rgb_to_0_1"), Intensity::Window { low: 0.0, high: 255.0 });
    /// assert_eq!(of("T1"), Intensity::ZScore { nonzero: false });
    /// ```
    #[must_use]
    pub fn for_modality(modality: &Modality) -> Self {
        match modality {
            Modality::Ct => Self::default(),
            Modality::Other(name) => match name.trim().to_lowercase().as_str() {
                "nonorm" => Self::None,
                "rescale_to_0_1" => Self::Rescale,
                "rgb_to_0_1" => Self::Window { low: 0.0, high: 255.0 },
                _ => Self::ZScore { nonzero: false },
            },
        }
    }

    /// `image` with its intensities changed.
    ///
    /// # Errors
    /// [`TrainError::Volume`] for a window whose `low` is not below its `high`.
    pub fn apply(&self, image: &Volume<f32>) -> Result<Volume<f32>, TrainError> {
        let mut changed = image.clone();
        self.apply_in_place(&mut changed)?;
        Ok(changed)
    }

    /// [`Intensity::apply`] without a second image.
    ///
    /// # Errors
    /// As [`Intensity::apply`].
    pub fn apply_in_place(&self, image: &mut Volume<f32>) -> Result<(), TrainError> {
        match *self {
            Self::Window { low, high } => window_to_unit_in_place(image, low, high)?,
            Self::ZScore { nonzero: false } => z_score_in_place(image),
            Self::ZScore { nonzero: true } => z_score_of_nonzero_in_place(image),
            Self::Rescale => min_max_to_unit_in_place(image),
            Self::None => {}
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written_and_with_no_field_of_another() {
        for (intensity, text) in [
            (Intensity::Window { low: -1.0, high: 2.5 }, r#"{"kind":"window","low":-1.0,"high":2.5}"#),
            (Intensity::ZScore { nonzero: false }, r#"{"kind":"z_score"}"#),
            (Intensity::ZScore { nonzero: true }, r#"{"kind":"z_score","nonzero":true}"#),
            (Intensity::Rescale, r#"{"kind":"rescale"}"#),
            (Intensity::None, r#"{"kind":"none"}"#),
        ] {
            assert_eq!(serde_json::to_string(&intensity).unwrap(), text);
            assert_eq!(serde_json::from_str::<Intensity>(text).unwrap(), intensity);
            let more = text.replace('}', r#","middle":1.0}"#);
            let error = serde_json::from_str::<Intensity>(&more).unwrap_err().to_string();
            assert!(error.contains("unknown field `middle`"), "{text}: {error}");
        }
        let error = toml::from_str::<Intensity>("kind = \"z_score\"\nlow = 0.0").unwrap_err().to_string();
        assert!(error.contains("unknown field `low`"), "{error}");
    }

    #[test]
    fn each_kind_does_what_it_says() {
        let grid = Grid::with_spacing([5, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_vec(grid, vec![0.0, 0.0, 2.0, 6.0, 0.0]).unwrap();
        for (intensity, expected) in [
            (Intensity::Window { low: 1.0, high: 3.0 }, [0.0, 0.0, 0.5, 1.0, 0.0]),
            (Intensity::ZScore { nonzero: true }, [0.0, 0.0, -1.0, 1.0, 0.0]),
            (Intensity::Rescale, [0.0, 0.0, 2.0 / 6.0, 1.0, 0.0]),
            (Intensity::None, [0.0, 0.0, 2.0, 6.0, 0.0]),
        ] {
            assert_eq!(intensity.apply(&image).unwrap().voxels(), expected, "{intensity:?}");
        }
    }
}
