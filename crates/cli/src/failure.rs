//! An error as one line.

/// The error and its causes, each said once: a cause that the line has in it already is not repeated.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string().trim().replace('\n', " ");
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once_and_on_one_line() {
        let error = anyhow::anyhow!("no\nroom").context("cannot write mask.nii: no room").context("case 7");
        assert_eq!(one_line(&error), "case 7: cannot write mask.nii: no room");
    }
}
