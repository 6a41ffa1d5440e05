//! Fields of a header: a name, and a value in words or numbers.

use std::collections::HashMap;
use std::str::FromStr;

/// The fields of one header by name. Every error says which line it is about.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    by_name: HashMap<String, Field>,
}

#[derive(Debug)]
struct Field {
    line: usize,
    value: String,
}

impl Fields {
    /// Adds a field from line number `line`; a name that has been there is refused.
    pub(crate) fn insert(&mut self, name: &str, line: usize, value: &str) -> Result<(), String> {
        let field = Field { line, value: value.to_string() };
        match self.by_name.insert(name.to_string(), field) {
            None => Ok(()),
            Some(first) => Err(format!("lines {} and {line} of its header both say `{name}`", first.line)),
        }
    }

    /// The value of the first of `names` that is there.
    pub(crate) fn first_of(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        names.iter().find_map(|&name| Some((name, self.text(name)?)))
    }

    /// The value of `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|field| field.value.as_str())
    }

    /// The value of `name`, which must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, String> {
        self.text(name).ok_or_else(|| format!("its header has no `{name}`"))
    }

    /// The `count` numbers of `name`, if it is there. `kind` says in an error what was expected.
    pub(crate) fn numbers<N: FromStr>(
        &self,
        name: &str,
        count: usize,
        kind: &str,
    ) -> Result<Option<Vec<N>>, String> {
        let Some(value) = self.text(name) else { return Ok(None) };
        // One more than expected is enough to know that there are too many.
        let words: Vec<&str> = value.split_whitespace().take(count + 1).collect();
        let numbers: Option<Vec<N>> = words.iter().map(|word| word.parse().ok()).collect();
        match numbers.filter(|numbers| numbers.len() == count) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.unexpected(name, &format!("{count} {kind}"))),
        }
    }

    /// The one number of `name`, if it is there.
    pub(crate) fn number<N: FromStr>(&self, name: &str, kind: &str) -> Result<Option<N>, String> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.unexpected(name, kind))
    }

    /// Whether `name` says yes; `None` if it is not there.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.text(name) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(self.unexpected(name, "True or False")),
        }
    }

    /// What is to be said of a field that is there and holds something else than `expected`.
    pub(crate) fn unexpected(&self, name: &str, expected: &str) -> String {
        let Field { line, value } = &self.by_name[name];
        format!("line {line} of its header: `{name}` is `{}`, expected {expected}", shortened(value))
    }
}

/// `value`, cut to a length that an error message can carry.
fn shortened(value: &str) -> String {
    const LONGEST: usize = 60;
    if value.chars().count() <= LONGEST {
        return value.to_string();
    }
    value.chars().take(LONGEST).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &str) -> Fields {
        let mut fields = Fields::default();
        fields.insert("sizes", 3, value).unwrap();
        fields
    }

    #[test]
    fn numbers_are_as_many_as_expected_or_refused() {
        let whole = |value: &str| fields(value).numbers::<usize>("sizes", 3, "whole numbers");
        assert_eq!(whole("4 3  2"), Ok(Some(vec![4, 3, 2])));
        for wrong in ["4 3", "4 3 2 1", "4 3 x", "4 3 -2", "4 3 99999999999999999999999", ""] {
            let expected = format!("line 3 of its header: `sizes` is `{wrong}`, expected 3 whole numbers");
            assert_eq!(whole(wrong), Err(expected));
        }
        assert_eq!(Fields::default().numbers::<usize>("sizes", 3, "whole numbers"), Ok(None));
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        let error = fields("1").insert("sizes", 8, "1").unwrap_err();
        assert_eq!(error, "lines 3 and 8 of its header both say `sizes`");
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let message = fields(&"9 ".repeat(1000)).unexpected("sizes", "3 whole numbers");
        assert!(message.len() < 200, "{message}");
    }
}
