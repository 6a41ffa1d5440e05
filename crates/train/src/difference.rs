//! In which fields two configurations differ, for messages that refuse one of them.

use serde::Serialize;
use serde_json::Value;

/// The fields in which `there` and `here` differ, as `a.b is 1 there and 2 here`, joined by commas; empty if
/// they are equal.
///
/// ```
/// use organseg_train::{TrainConfig, differences};
/// let (there, here) = (TrainConfig::default(), TrainConfig::default().with_epochs(7));
/// assert_eq!(differences(&there, &here), "epochs is 100 there and 7 here");
/// ```
#[must_use]
pub fn differences<T: Serialize>(there: &T, here: &T) -> String {
    let json = |value: &T| serde_json::to_value(value).expect("a configuration is valid JSON");
    let mut found = Vec::new();
    collect(&json(there), &json(here), "", &mut found);
    found.join(", ")
}

fn collect(there: &Value, here: &Value, name: &str, found: &mut Vec<String>) {
    // What has a kind is one thing, whose other fields go with the kind.
    let kinds_differ = there.get("kind") != here.get("kind");
    match (there, here) {
        (Value::Object(a), Value::Object(b)) if !kinds_differ => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                collect(&of(a), &of(b), &name, found);
            }
        }
        _ if there != here => found.push(format!("{name} is {there} there and {here} here")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_that_differs_is_named_with_both_values() {
        let there = json!({"a": {"b": 1, "c": [1, 2]}, "d": {"kind": "x", "p": 1}, "same": 0});
        let here = json!({"a": {"b": 1, "c": [1, 3]}, "d": {"kind": "y"}, "same": 0, "new": true});
        let expected = "a.c is [1,2] there and [1,3] here, \
                        d is {\"kind\":\"x\",\"p\":1} there and {\"kind\":\"y\"} here, \
                        new is null there and true here";
        assert_eq!(differences(&there, &here), expected);
        assert_eq!(differences(&there, &there), "");
    }
}
