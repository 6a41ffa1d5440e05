//! k-fold cross-validation: which cases train and which validate.
//!
//! Names are sorted, shuffled and cut into folds exactly as nnU-Net does it with scikit-learn's
//! `KFold(folds, shuffle=True, random_state=seed)`, and written in the layout of its
//! `splits_final.json`, so that figures can be compared fold by fold.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::mersenne_twister::MersenneTwister;

/// One way to divide the cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Names of the cases to train on, sorted.
    pub train: Vec<String>,
    /// Names of the cases to validate on, sorted; none for a training on every case.
    pub val: Vec<String>,
}

/// The folds of a cross-validation; as JSON, a list of `{"train": [...], "val": [...]}`.
///
/// ```
/// use organseg_train::Splits;
/// let names: Vec<String> = (0..10).map(|i| format!("case_{i}")).collect();
/// let splits = Splits::k_fold(&names, 4, 0)?;
/// assert_eq!(splits.folds().len(), 4);
/// // sklearn: KFold(4, shuffle=True, random_state=0) on ten samples
/// assert_eq!(splits.folds()[0].val, ["case_2", "case_4", "case_8"]);
/// assert_eq!(splits.folds()[3].val, ["case_0", "case_5"]);
/// assert_eq!(splits.folds()[3].train.len(), 8);
/// # Ok::<(), organseg_train::TrainError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Splits {
    folds: Vec<Split>,
}

impl Splits {
    /// Divides `names` into `folds` folds; each name validates in one of them. With n names the first
    /// n mod k folds have ⌊n / k⌋ + 1 validation cases and the others ⌊n / k⌋.
    ///
    /// The names are sorted first, so that their order here does not matter. Seeds up to 2³² − 1 give
    /// scikit-learn's folds; larger ones, which it refuses, work too.
    ///
    /// # Errors
    /// [`TrainError::Config`] if there are fewer than two folds, more folds than names, or a name twice.
    pub fn k_fold<S: AsRef<str>>(names: &[S], folds: usize, seed: u64) -> Result<Self, TrainError> {
        let unique: BTreeSet<&str> = names.iter().map(AsRef::as_ref).collect();
        if unique.len() < names.len() {
            let found = format!("{} names, {} of them different", names.len(), unique.len());
            return Err(TrainError::Config { field: "names", found, expected: "each case once" });
        }
        if folds < 2 || folds > names.len() {
            let found = format!("{folds} for {} cases", names.len());
            return Err(TrainError::Config {
                field: "folds",
                found,
                expected: "at least 2 and at most one a case",
            });
        }
        let names: Vec<&str> = unique.into_iter().collect();
        let mut order: Vec<usize> = (0..names.len()).collect();
        MersenneTwister::new(seed).shuffle(&mut order);

        let (share, larger) = (names.len() / folds, names.len() % folds);
        let mut start = 0;
        let mut result = Vec::with_capacity(folds);
        for fold in 0..folds {
            let end = start + share + usize::from(fold < larger);
            let held_out: BTreeSet<usize> = order[start..end].iter().copied().collect();
            let (val, train): (Vec<usize>, _) = (0..names.len()).partition(|i| held_out.contains(i));
            let named = |indices: Vec<usize>| indices.into_iter().map(|i| names[i].to_string()).collect();
            result.push(Split { train: named(train), val: named(val) });
            start = end;
        }
        Ok(Self { folds: result })
    }

    /// The folds in order.
    #[must_use]
    pub fn folds(&self) -> &[Split] {
        &self.folds
    }

    /// Fold `index`, from 0.
    ///
    /// # Errors
    /// [`TrainError::Config`] if there is no such fold.
    pub fn fold(&self, index: usize) -> Result<&Split, TrainError> {
        self.folds.get(index).ok_or_else(|| TrainError::Config {
            field: "fold",
            found: format!("{index} of {}", self.folds.len()),
            expected: "a number from 0, below the number of folds",
        })
    }

    /// Folds as they are given.
    pub(crate) fn from_folds(folds: Vec<Split>) -> Self {
        Self { folds }
    }

    /// One fold that trains on all of `names` and validates with none, as nnU-Net's `-f all`.
    ///
    /// ```
    /// use organseg_train::Splits;
    /// let all = Splits::all(&["b", "a"]);
    /// assert_eq!(all.folds()[0].train, ["a", "b"]);
    /// assert!(all.folds()[0].val.is_empty());
    /// ```
    #[must_use]
    pub fn all<S: AsRef<str>>(names: &[S]) -> Self {
        let mut train: Vec<String> = names.iter().map(|name| name.as_ref().to_string()).collect();
        train.sort();
        Self { folds: vec![Split { train, val: Vec::new() }] }
    }

    /// Reads the JSON file at `path`, whatever cases it names. ([`Splits::read_for`] reads one for a dataset.)
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Json`], naming the file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
        serde_json::from_str(&text).map_err(|source| TrainError::Json {
            path: path.to_path_buf(),
            expected: "splits, a list of {\"train\": [names], \"val\": [names]}",
            source,
        })
    }

    /// The splits as JSON text, indented as in nnU-Net's file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("lists of strings are valid JSON") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::Splits;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("case_{i:03}")).collect()
    }

    fn validation(splits: &Splits) -> Vec<Vec<usize>> {
        let number = |name: &String| name[5..].parse().unwrap();
        splits.folds.iter().map(|fold| fold.val.iter().map(number).collect()).collect()
    }

    // Golden values: scikit-learn 1.x on numpy 2.4,
    // `[test for _, test in KFold(k, shuffle=True, random_state=seed).split(np.zeros(n))]`.
    #[test]
    fn folds_are_those_of_scikit_learn() {
        let splits = Splits::k_fold(&names(20), 5, 12345).unwrap();
        let expected: [[usize; 4]; 5] =
            [[3, 8, 13, 16], [0, 10, 12, 15], [6, 7, 11, 17], [9, 14, 18, 19], [1, 2, 4, 5]];
        assert_eq!(validation(&splits), expected);
        let splits = Splits::k_fold(&names(10), 4, 0).unwrap();
        let expected: [&[usize]; 4] = [&[2, 4, 8], &[1, 6, 9], &[3, 7], &[0, 5]];
        assert_eq!(validation(&splits), expected);
    }

    /// The folds that figures on the hippocampus are given for: 200 names, nnU-Net's seed. scikit-learn 1.9.1, numpy
    /// 2.4.6: the first fold, and the sum of the indices in each.
    #[test]
    fn folds_of_two_hundred_cases_are_those_of_scikit_learn() {
        let folds = validation(&Splits::k_fold(&names(200), 5, 12345).unwrap());
        let first = [
            10, 16, 17, 20, 27, 50, 52, 54, 55, 56, 61, 73, 95, 100, 102, 106, 122, 127, 130, 132, 135, 139,
            140, 141, 144, 145, 149, 155, 156, 157, 158, 171, 173, 174, 178, 183, 189, 191, 195, 198,
        ];
        assert_eq!(folds[0], first);
        let sums: Vec<usize> = folds.iter().map(|fold| fold.iter().sum()).collect();
        assert_eq!(sums, [4676, 3761, 3578, 3736, 4149]);
        let folds = validation(&Splits::k_fold(&names(203), 5, 12345).unwrap());
        assert_eq!(folds.iter().map(Vec::len).collect::<Vec<_>>(), [41, 41, 41, 40, 40]);
        assert_eq!(folds[2][..8], [8, 9, 15, 18, 21, 25, 28, 37]);
    }

    #[test]
    fn each_case_validates_once_and_never_trains_in_that_fold() {
        let splits = Splits::k_fold(&names(23), 5, u64::MAX).unwrap();
        let mut seen: Vec<_> = splits.folds.iter().flat_map(|fold| fold.val.clone()).collect();
        seen.sort();
        assert_eq!(seen, names(23));
        for fold in &splits.folds {
            assert_eq!(fold.train.len() + fold.val.len(), 23);
            assert!(fold.val.iter().all(|name| !fold.train.contains(name)));
            assert!(fold.train.is_sorted() && fold.val.is_sorted());
        }
    }

    #[test]
    fn order_of_the_names_does_not_matter() {
        let mut backwards = names(9);
        backwards.reverse();
        assert_eq!(Splits::k_fold(&backwards, 3, 1).unwrap(), Splits::k_fold(&names(9), 3, 1).unwrap());
    }

    #[test]
    fn impossible_folds_are_refused() {
        for folds in [0, 1, 4] {
            let error = Splits::k_fold(&names(3), folds, 0).unwrap_err().to_string();
            assert!(error.contains(&format!("{folds} for 3 cases")), "{error}");
        }
        let error = Splits::k_fold(&["a", "b", "a"], 2, 0).unwrap_err().to_string();
        assert!(error.contains("3 names, 2 of them different"), "{error}");
        assert!(Splits::k_fold(&names(4), 2, 0).unwrap().fold(2).is_err());
    }

    #[test]
    fn json_round_trip_in_the_layout_of_nnunet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("splits.json");
        let splits = Splits::k_fold(&names(4), 2, 3).unwrap();
        std::fs::write(&path, splits.to_json()).unwrap();
        assert_eq!(Splits::read(&path).unwrap(), splits);
        let value: serde_json::Value = serde_json::from_str(&splits.to_json()).unwrap();
        assert_eq!(value[1]["val"].as_array().unwrap().len(), 2);
        std::fs::write(&path, "{}").unwrap();
        assert!(Splits::read(&path).unwrap_err().to_string().contains("splits.json"));
    }
}
