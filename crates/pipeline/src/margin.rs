//! A number of voxels along each axis, written as one number where it is the same along all.

use serde::{Deserialize, Serialize};

/// Voxels along (x, y, z).
///
/// ```
/// use organseg_pipeline::Margin;
/// assert_eq!(Margin::from(10).along(), [10, 10, 10]);
/// // Slices five times as far apart as their pixels: 10 mm are as many voxels less.
/// assert_eq!(Margin::from([10, 10, 2]).along(), [10, 10, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Margin([usize; 3]);

/// As it stands in files.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of voxels, or three along x, y, z")]
enum Written {
    Same(usize),
    Each([usize; 3]),
}

impl Margin {
    /// Voxels along (x, y, z).
    #[must_use]
    pub fn along(self) -> [usize; 3] {
        self.0
    }
}

impl From<usize> for Margin {
    fn from(voxels: usize) -> Self {
        Self([voxels; 3])
    }
}

impl From<[usize; 3]> for Margin {
    fn from(voxels: [usize; 3]) -> Self {
        Self(voxels)
    }
}

impl From<Written> for Margin {
    fn from(written: Written) -> Self {
        match written {
            Written::Same(voxels) => voxels.into(),
            Written::Each(voxels) => voxels.into(),
        }
    }
}

impl From<Margin> for Written {
    fn from(Margin(voxels): Margin) -> Self {
        let [x, y, z] = voxels;
        if x == y && y == z { Self::Same(x) } else { Self::Each(voxels) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxConfig;

    #[test]
    fn one_number_or_three_are_read_and_written_as_they_are() {
        let read = |text: &str| toml::from_str::<BoxConfig>(text);
        let config = read("box2_margin_voxels = 7").unwrap();
        assert_eq!(config.box2_margin_voxels, Margin::from(7));
        assert!(toml::to_string(&config).unwrap().contains("box2_margin_voxels = 7\n"));
        let config = read("box2_margin_voxels = [7, 7, 2]").unwrap();
        assert_eq!(config.box2_margin_voxels, Margin::from([7, 7, 2]));
        assert!(toml::to_string(&config).unwrap().contains("box2_margin_voxels = [7, 7, 2]\n"));
        for wrong in ["-1", "[1, 2]", "\"wide\"", "1.5"] {
            let error = read(&format!("box2_margin_voxels = {wrong}")).unwrap_err().to_string();
            assert!(error.contains("a number of voxels, or three along x, y, z"), "{error}");
        }
    }
}
