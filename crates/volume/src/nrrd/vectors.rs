//! Vectors as NRRD headers write them: `(1,0,0) none (0,0,2.5)`.

/// The vectors in `text`; nothing for `none`. `None` if they are written wrongly or there are more than
/// `most`.
pub(super) fn parse(text: &str, most: usize) -> Option<Vec<Option<Vec<f64>>>> {
    let mut vectors = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if vectors.len() == most {
            return None;
        }
        if let Some(after) = rest.strip_prefix('(') {
            let (inside, after) = after.split_once(')')?;
            let numbers: Option<Vec<f64>> = inside.split(',').map(|word| word.trim().parse().ok()).collect();
            // "not a number" in every place is another way to say `none`.
            vectors.push(numbers.map(|v| Some(v).filter(|v| !v.iter().all(|x| x.is_nan())))?);
            rest = after.trim_start();
        } else {
            let end = rest.find([' ', '\t', '(']).unwrap_or(rest.len());
            if !rest[..end].eq_ignore_ascii_case("none") {
                return None;
            }
            vectors.push(None);
            rest = rest[end..].trim_start();
        }
    }
    Some(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_with_and_without_blanks() {
        let expected = Some(vec![None, Some(vec![1.0, 0.0]), Some(vec![-2.5e-3, 7.0])]);
        assert_eq!(parse("none (1,0) (-2.5e-3,7)", 3), expected);
        assert_eq!(parse(" none( 1 , 0 )\t(-0.0025,7.) ", 3), expected);
        assert_eq!(parse("(nan,nan) (1,0) (-.0025,7)", 3), expected);
        assert_eq!(parse("", 3), Some(vec![]));
    }

    #[test]
    fn what_is_no_vector_is_refused() {
        for wrong in ["(1,0", "(1,,0)", "()", "1 0 0", "(1 0)", "(1,0) nothing", "(1,0) (2,0) (3,0)"] {
            assert_eq!(parse(wrong, 2), None, "{wrong}");
        }
    }
}
