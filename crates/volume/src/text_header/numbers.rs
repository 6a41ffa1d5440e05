//! Numbers and vectors of a new header.

/// `[x, y, z]` of RAS in LPS, in as many digits as it takes to read the same doubles again (17 at most).
pub(crate) fn to_lps([x, y, z]: [f64; 3]) -> [String; 3] {
    // Adding 0 makes −0 a 0.
    [-x, -y, z].map(|value| format!("{:?}", value + 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_doubles_are_read_again() {
        assert_eq!(to_lps([0.0, -1.0, 0.1]), ["0.0", "1.0", "0.1"]);
        for value in [1.0 / 3.0, 1e-320, -1.7e308, 123_456_789.123_456_79, 0.1 + 0.2] {
            assert_eq!(to_lps([0.0, 0.0, value])[2].parse(), Ok(value));
        }
    }
}
