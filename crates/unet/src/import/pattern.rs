//! Names with numbers in them: `down{l}.conv{i}.weight`, `downsamples.{l-1}.conv{i+1}.conv.weight`.
//!
//! `{x}` is a number that is read where it first stands and written where it stands again; `{x+1}`,
//! `{last-x}` are sums and differences of such numbers, of `last` (the deepest level) and of constants.

use std::collections::HashMap;

/// What the numbers in a name are.
pub(super) type Numbers = HashMap<String, i64>;

/// The numbers of `name` if it is of the form `pattern`, those of `known` among them.
///
/// # Errors
/// What is wrong with the pattern.
pub(super) fn read(pattern: &str, name: &str, known: &Numbers) -> Result<Option<Numbers>, String> {
    let (mut numbers, mut rest) = (known.clone(), name);
    for part in parts(pattern)? {
        match part {
            Part::Text(text) => match rest.strip_prefix(text) {
                Some(after) => rest = after,
                None => return Ok(None),
            },
            Part::Number(expression) => {
                let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                let (found, after) = rest.split_at(digits);
                let Ok(found) = found.parse::<i64>() else { return Ok(None) };
                if is_name(expression) && !numbers.contains_key(expression) {
                    numbers.insert(expression.to_string(), found);
                } else if evaluate(expression, &numbers)? != found {
                    return Ok(None);
                }
                rest = after;
            }
        }
    }
    Ok(rest.is_empty().then_some(numbers))
}

/// `pattern` with its numbers written out.
///
/// # Errors
/// What is wrong with the pattern: a number that is not known or negative.
pub(super) fn write(pattern: &str, numbers: &Numbers) -> Result<String, String> {
    let mut name = String::new();
    for part in parts(pattern)? {
        match part {
            Part::Text(text) => name.push_str(text),
            Part::Number(expression) => match evaluate(expression, numbers)? {
                value @ 0.. => name.push_str(&value.to_string()),
                value => return Err(format!("{{{expression}}} is {value}")),
            },
        }
    }
    Ok(name)
}

enum Part<'a> {
    Text(&'a str),
    /// What stands between braces.
    Number(&'a str),
}

fn parts(pattern: &str) -> Result<Vec<Part<'_>>, String> {
    let (mut parts, mut rest) = (Vec::new(), pattern);
    while let Some((text, after)) = rest.split_once('{') {
        let Some((expression, after)) = after.split_once('}') else {
            return Err("a { without its }".into());
        };
        parts.extend([Part::Text(text), Part::Number(expression)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

fn is_name(expression: &str) -> bool {
    !expression.is_empty() && expression.chars().all(|c| c.is_ascii_alphabetic())
}

/// The value of a sum such as `last-l-1`.
fn evaluate(expression: &str, numbers: &Numbers) -> Result<i64, String> {
    let mut sum = 0;
    let mut term_starts = 0;
    let is_sign = |at: usize| matches!(expression.as_bytes()[at], b'+' | b'-');
    for end in (1..=expression.len()).filter(|&at| at == expression.len() || is_sign(at)) {
        let term = &expression[term_starts..end];
        let (sign, name) = match term.as_bytes()[0] {
            b'-' => (-1, &term[1..]),
            b'+' => (1, &term[1..]),
            _ => (1, term),
        };
        let value = match name.parse::<i64>() {
            Ok(value) => value,
            Err(_) => *numbers.get(name).ok_or_else(|| format!("nothing says what `{name}` is"))?,
        };
        sum += sign * value;
        term_starts = end;
    }
    if expression.is_empty() { Err("{} without a name".into()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Numbers {
        Numbers::from([("last".to_string(), 3)])
    }

    #[test]
    fn a_name_that_fits_is_written_with_its_numbers_counted_otherwise() {
        let numbers = read("down{l}.conv{i}.weight", "down2.conv0.weight", &known()).unwrap().unwrap();
        let name = write("stages.{last-l-1}.{l}.{i+1}", &numbers).unwrap();
        assert_eq!(name, "stages.0.2.1");
    }

    #[test]
    fn a_name_fits_only_as_a_whole() {
        let fits = |pattern, name| read(pattern, name, &known()).unwrap().is_some();
        assert!(fits("down{last}.conv{i}.weight", "down3.conv1.weight"));
        assert!(!fits("down{last}.conv{i}.weight", "down2.conv1.weight"));
        assert!(!fits("down{l}.conv{i}.weight", "down2.conv1.weight.more"));
        assert!(!fits("down{l}.conv{i}.weight", "downs.conv1.weight"));
        assert!(fits("pair{i}.{i}", "pair7.7") && !fits("pair{i}.{i}", "pair7.8"));
    }

    #[test]
    fn a_pattern_that_makes_no_sense_says_why() {
        assert_eq!(read("down{l", "down1", &known()).unwrap_err(), "a { without its }");
        assert_eq!(write("down{k}", &known()).unwrap_err(), "nothing says what `k` is");
        assert_eq!(write("down{1-last}", &known()).unwrap_err(), "{1-last} is -2");
        assert_eq!(write("down{}", &known()).unwrap_err(), "{} without a name");
    }
}
