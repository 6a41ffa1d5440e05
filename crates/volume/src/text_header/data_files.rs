//! Which files hold the voxels: the header's own, another, a list, or a numbered row of them.

use std::path::{Component, Path};

/// Most files that one image may be spread over: more slices than any scan has.
pub(crate) const MAX_FILES: usize = 1 << 16;

/// Most bytes that the names of a pattern may take together.
const MAX_NAMES_BYTES: i128 = 16 << 20;

/// Where the voxels lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DataFiles {
    /// Behind the header.
    Attached,
    /// In files of their own.
    Separate(SeparateFiles),
}

/// Files that hold the voxels one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeparateFiles {
    /// Names, relative to the header's folder.
    pub(crate) names: Vec<String>,
    /// How many axes of the image each file holds, if the header says so; else all of them for a single
    /// name, all but the last for several.
    pub(crate) axes_per_file: Option<usize>,
}

impl SeparateFiles {
    /// A single file.
    pub(crate) fn one(name: &str) -> Result<Self, String> {
        Self::checked(vec![name.to_string()], None)
    }

    /// `LIST`, perhaps with the number of axes in each file behind it (`word`), and then a name a line.
    pub(crate) fn list<'a>(
        words: &str,
        lines: impl Iterator<Item = std::borrow::Cow<'a, str>>,
    ) -> Result<Self, String> {
        let axes_per_file = match words.split_whitespace().nth(1) {
            None => None,
            Some(word) => Some(axes(word)?),
        };
        let mut names = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if names.len() == MAX_FILES {
                return Err(format!(
                    "it lists more than {MAX_FILES} data files, expected at most one a slice"
                ));
            }
            names.push(line.into_owned());
        }
        Self::checked(names, axes_per_file)
    }

    /// A pattern with `%d` in it, the first number, the last, the step, and perhaps the number of axes in
    /// each file: `slice%03d.raw 1 20 1`. `None` if there is no `%d`.
    pub(crate) fn pattern(words: &str) -> Option<Result<Self, String>> {
        let mut words = words.split_whitespace();
        let pattern = Pattern::parse(words.next()?)?;
        Some(pattern.names(words).and_then(|(names, axes_per_file)| Self::checked(names, axes_per_file)))
    }

    fn checked(names: Vec<String>, axes_per_file: Option<usize>) -> Result<Self, String> {
        if names.is_empty() {
            return Err("it names no data file".to_string());
        }
        match names.iter().find(|name| !is_below(name)) {
            None => Ok(Self { names, axes_per_file }),
            // A header from somewhere must not make us read files from anywhere.
            Some(name) => Err(format!(
                "its voxels should lie in `{name}`, expected a file in the header's own folder or below it"
            )),
        }
    }

    /// How many voxels each file holds of an image of size `sizes`.
    pub(crate) fn voxels_per_file(&self, sizes: &[usize]) -> Result<usize, String> {
        let usual = if self.names.len() == 1 { sizes.len() } else { sizes.len() - 1 };
        let axes = self.axes_per_file.unwrap_or(usual);
        if axes > sizes.len() {
            return Err(format!("each data file should hold {axes} axes, the image has {}", sizes.len()));
        }
        let product = |sizes: &[usize]| sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        let overflow = || format!("an image of size {sizes:?} is too large to count");
        let files = product(&sizes[axes..]).ok_or_else(overflow)?;
        if files != self.names.len() {
            return Err(format!(
                "it names {} data files of {axes} axes each, an image of size {sizes:?} needs {files}",
                self.names.len()
            ));
        }
        product(&sizes[..axes]).ok_or_else(overflow)
    }
}

/// Whether `name` leads from a folder to a file in it or below it.
fn is_below(name: &str) -> bool {
    let path = Path::new(name);
    path.file_name().is_some()
        && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn axes(word: &str) -> Result<usize, String> {
    word.parse().ok().filter(|axes| (1..=16).contains(axes)).ok_or_else(|| {
        format!("each data file should hold `{word}` axes, expected a whole number from 1 to 16")
    })
}

/// A name with one number in it, as C's `printf` writes it: `%d`, `%4d`, `%04d`, also with `i` or `u`.
struct Pattern<'a> {
    before: &'a str,
    zeros: bool,
    width: usize,
    after: &'a str,
}

impl<'a> Pattern<'a> {
    fn parse(word: &'a str) -> Option<Self> {
        let (before, rest) = word.split_once('%')?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, rest) = rest.split_at(digits);
        let after = rest.strip_prefix(['d', 'i', 'u'])?;
        // No number that counts files has more digits.
        let width = if digits.is_empty() { 0 } else { digits.parse().ok().filter(|&width| width <= 20)? };
        Some(Self { before, zeros: digits.starts_with('0'), width, after })
    }

    /// The names for the numbers in `words`, and the number of axes if it follows.
    fn names<'w>(
        &self,
        mut words: impl Iterator<Item = &'w str>,
    ) -> Result<(Vec<String>, Option<usize>), String> {
        let broken = || {
            "its pattern of data files should be followed by the first number, the last and the step, \
             as in `slice%03d.raw 1 20 1`"
                .to_string()
        };
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok()).ok_or_else(broken);
        let (first, last, step) = (number()?, number()?, number()?);
        let axes_per_file = words.next().map(axes).transpose()?;
        let upwards = i128::from(last) - i128::from(first);
        let step = i128::from(step);
        if step == 0 || upwards.signum() * step.signum() < 0 {
            return Err(format!("its data files go from number {first} to {last} in steps of {step}"));
        }
        let count = upwards / step + 1;
        // Every name is made before the first file is looked for.
        let bytes = count.saturating_mul((self.before.len() + self.after.len() + 20) as i128);
        if count > MAX_FILES as i128 || bytes > MAX_NAMES_BYTES {
            return Err(format!(
                "its pattern gives {count} data files, expected at most one a slice and {MAX_FILES} in all"
            ));
        }
        Ok(((0..count).map(|i| self.name(i128::from(first) + i * step)).collect(), axes_per_file))
    }

    fn name(&self, number: i128) -> String {
        let Self { before, zeros, width, after } = self;
        if *zeros {
            format!("{before}{number:0width$}{after}")
        } else {
            format!("{before}{number:width$}{after}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<String> {
        SeparateFiles::pattern(words).unwrap().unwrap().names
    }

    #[test]
    fn patterns_count_as_printf_does() {
        assert_eq!(names("s%03d.raw 9 11 1"), ["s009.raw", "s010.raw", "s011.raw"]);
        assert_eq!(names("s%d.raw 4 0 -2"), ["s4.raw", "s2.raw", "s0.raw"]);
        assert_eq!(names("s%3d.raw 5 7 5 2"), ["s  5.raw"]);
        assert!(SeparateFiles::pattern("plain.raw").is_none());
        assert!(SeparateFiles::pattern("50%off.raw 1 2 1").is_none());
    }

    #[test]
    fn rows_of_files_without_end_are_refused() {
        for words in [
            "s%d.raw",
            "s%d.raw 1 2",
            "s%d.raw 1 2 0",
            "s%d.raw 1 2 -1",
            "s%d.raw 1 x 1",
            "s%d.raw 0 1000000 1",
            "s%d.raw -9223372036854775808 9223372036854775807 1",
            "s%d.raw 1 2 1 0",
            "../s%d.raw 1 2 1",
        ] {
            assert!(SeparateFiles::pattern(words).unwrap().is_err(), "{words}");
        }
        let long = format!("{}%d.raw 1 65536 1", "a".repeat(100_000));
        assert!(SeparateFiles::pattern(&long).unwrap().is_err(), "names of 6 GB together");
        let endless = std::iter::repeat("a.raw".into());
        let error = SeparateFiles::list("LIST", endless).unwrap_err();
        assert!(error.contains("more than 65536 data files"), "{error}");
    }

    #[test]
    fn only_files_below_the_header_are_read() {
        for name in ["a.raw", "slices/a.raw", "./a.raw", "a b.raw"] {
            assert!(SeparateFiles::one(name).is_ok(), "{name}");
        }
        for name in ["/dev/zero", "../a.raw", "a/../../b.raw", "", ".", "a/.."] {
            assert!(SeparateFiles::one(name).is_err(), "{name}");
        }
    }

    #[test]
    fn files_and_sizes_must_agree() {
        let files = |count: usize, axes_per_file| SeparateFiles {
            names: vec!["a".to_string(); count],
            axes_per_file,
        };
        assert_eq!(files(1, None).voxels_per_file(&[2, 3, 4]), Ok(24));
        assert_eq!(files(4, None).voxels_per_file(&[2, 3, 4]), Ok(6));
        assert_eq!(files(12, Some(1)).voxels_per_file(&[2, 3, 4]), Ok(2));
        let error = files(3, None).voxels_per_file(&[2, 3, 4]).unwrap_err();
        assert_eq!(error, "it names 3 data files of 2 axes each, an image of size [2, 3, 4] needs 4");
        assert!(files(2, None).voxels_per_file(&[usize::MAX, 2, 2]).is_err());
        assert!(files(1, Some(9)).voxels_per_file(&[2, 3, 4]).is_err());
    }
}
