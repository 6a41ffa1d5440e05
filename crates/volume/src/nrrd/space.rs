//! The world that an NRRD header measures in.

/// A patient's world: how its axes lie to right, front and head, and how many it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Space {
    /// −1 where an axis runs against that of RAS.
    pub(super) signs: [f64; 3],
    /// Numbers in a vector: 4 if time is one of them.
    pub(super) dimension: usize,
}

impl Space {
    /// Left, posterior, superior: what ITK takes a header without a space for.
    pub(super) const LPS: Self = Self { signs: [-1.0, -1.0, 1.0], dimension: 3 };

    /// The space of the name `name`, in any case.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let name = name.to_ascii_lowercase();
        let signs = match name.strip_suffix("-time").unwrap_or(&name) {
            "ras" | "rast" | "right-anterior-superior" => [1.0, 1.0, 1.0],
            "las" | "last" | "left-anterior-superior" => [-1.0, 1.0, 1.0],
            "lps" | "lpst" | "left-posterior-superior" => [-1.0, -1.0, 1.0],
            // `scanner-xyz`, `3D-right-handed` and so on.
            _ => return Err(unnamed(&format!("its `space` is `{name}`"))),
        };
        let timed = name.ends_with("-time") || matches!(name.as_str(), "rast" | "last" | "lpst");
        Ok(Self { signs, dimension: if timed { 4 } else { 3 } })
    }
}

/// Why a world is refused of which only `what` is known.
pub(super) fn unnamed(what: &str) -> String {
    format!(
        "{what}, which does not say how the patient lies in it; expected left-posterior-superior, \
         right-anterior-superior or left-anterior-superior (ITK takes every other for \
         left-posterior-superior: write that into the header if it is right)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_has_a_short_and_a_long_name_and_perhaps_time() {
        for (names, signs) in [
            (["RAS", "right-anterior-superior", "RAST", "right-anterior-superior-time"], [1.0, 1.0, 1.0]),
            (["las", "Left-Anterior-Superior", "LAST", "left-anterior-superior-time"], [-1.0, 1.0, 1.0]),
            (["LPS", "left-posterior-superior", "LPST", "left-posterior-superior-time"], [-1.0, -1.0, 1.0]),
        ] {
            for (i, name) in names.into_iter().enumerate() {
                let dimension = if i < 2 { 3 } else { 4 };
                assert_eq!(Space::named(name), Ok(Space { signs, dimension }), "{name}");
            }
        }
    }

    #[test]
    fn a_space_without_a_patient_is_refused() {
        for name in ["scanner-xyz", "3D-right-handed", "3D-left-handed-time", "RAI", ""] {
            let error = Space::named(name).unwrap_err();
            assert!(error.contains("does not say how the patient lies"), "{error}");
        }
    }
}
