//! Folds in which all cases of one patient lie together.
//!
//! Two scans of a patient look alike: a network that has trained on one knows more of the other than it would of a
//! stranger's, and a validation with it is too good. So groups of cases are divided, and not cases.

use std::collections::BTreeMap;
use std::path::Path;

use csv::{ReaderBuilder, Trim};

use crate::{Split, Splits, TrainError};

impl Splits {
    /// Divides the cases called `names` into `folds` folds so that those of one group lie in the same: the groups' names
    /// are divided as [`Splits::k_fold`] divides cases. These are the folds of scikit-learn's
    /// `GroupKFold(folds, shuffle=True, random_state=seed)`. Folds have equally many groups, or one more, and
    /// not equally many cases.
    ///
    /// `groups` has the group of each case, as [`Splits::read_groups`] reads it; cases that are not among `names` are passed
    /// over.
    ///
    /// # Errors
    /// [`TrainError::Config`] for a case without a group, naming it, and if there are fewer than two folds or more than
    /// groups.
    ///
    /// # Examples
    /// ```
    /// use std::collections::BTreeMap;
    /// use organseg_train::Splits;
    /// let patients = [("ann_1", "ann"), ("ann_2", "ann"), ("bob", "bob"), ("cid", "cid")];
    /// let groups = BTreeMap::from(patients.map(|(case, patient)| (case.to_string(), patient.to_string())));
    /// let splits = Splits::grouped_k_fold(&["ann_1", "ann_2", "bob", "cid"], &groups, 3, 0)?;
    /// let fold = splits.folds().iter().find(|fold| fold.val.len() == 2).expect("ann has two scans");
    /// assert_eq!(fold.val, ["ann_1", "ann_2"]);
    /// # Ok::<(), organseg_train::TrainError>(())
    /// ```
    pub fn grouped_k_fold<S: AsRef<str>>(
        names: &[S],
        groups: &BTreeMap<String, String>,
        folds: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in names.iter().map(AsRef::as_ref) {
            let Some(group) = groups.get(name) else {
                let found = format!("missing for case `{name}`");
                return Err(TrainError::Config { field: "group", found, expected: "a group for every case" });
            };
            members.entry(group).or_default().push(name);
        }
        let all: Vec<&str> = members.keys().copied().collect();
        if folds < 2 || folds > all.len() {
            let found = format!("{folds} for {} groups", all.len());
            let expected = "at least 2 and at most one a group";
            return Err(TrainError::Config { field: "folds", found, expected });
        }
        let cases_of = |groups: &[String]| {
            let mut cases: Vec<String> =
                groups.iter().flat_map(|group| &members[group.as_str()]).map(ToString::to_string).collect();
            cases.sort();
            cases
        };
        let of_groups = Self::k_fold(&all, folds, seed)?;
        let folds = of_groups.folds().iter();
        Ok(Self::from_folds(
            folds.map(|fold| Split { train: cases_of(&fold.train), val: cases_of(&fold.val) }).collect(),
        ))
    }

    /// The group of each case in the CSV file at `path`. Its first row names the columns, `case` and `group` among them.
    ///
    /// # Errors
    /// [`TrainError::Io`]; [`TrainError::DatasetFile`] for a file without these columns, a row without one of them and a case
    /// with two rows, naming file and line.
    pub fn read_groups(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>, TrainError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
        let wrong = |found: String, expected: &str| TrainError::DatasetFile {
            path: path.to_path_buf(),
            found,
            expected: expected.into(),
        };
        // Spreadsheets begin their files with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| wrong(error.to_string(), "a CSV file"))?.clone();
        let column = |name: &str| {
            let found = header.iter().position(|field| field.eq_ignore_ascii_case(name));
            found.ok_or_else(|| wrong(format!("its first row has no column `{name}`"), "case,group"))
        };
        let (case, group) = (column("case")?, column("group")?);
        let mut groups = BTreeMap::new();
        for row in reader.records() {
            let row = row.map_err(|error| wrong(error.to_string(), "a CSV file"))?;
            let line = row.position().map_or(0, csv::Position::line);
            let field = |name: &str, column: usize| {
                let field = row.get(column).filter(|field| !field.is_empty());
                let missing =
                    || wrong(format!("line {line} has no {name}"), "a case and its group in each row");
                field.map(ToString::to_string).ok_or_else(missing)
            };
            let name = field("case", case)?;
            if groups.insert(name.clone(), field("group", group)?).is_some() {
                return Err(wrong(format!("line {line} has case `{name}` again"), "one row a case"));
            }
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 17 cases of 8 patients, p0 having case 0, 8 and 16.
    fn patients() -> (Vec<String>, BTreeMap<String, String>) {
        let names: Vec<String> = (0..17).map(|i| format!("case_{i:02}")).collect();
        let groups = names.iter().enumerate().map(|(i, name)| (name.clone(), format!("p{}", i % 8)));
        let groups = groups.collect();
        (names, groups)
    }

    #[test]
    fn no_patient_is_on_both_sides_of_a_fold_and_each_validates_once() {
        let (names, groups) = patients();
        let splits = Splits::grouped_k_fold(&names, &groups, 3, 12345).unwrap();
        let mut held_back = Vec::new();
        for fold in splits.folds() {
            assert_eq!(fold.train.len() + fold.val.len(), 17);
            assert!(fold.train.is_sorted() && fold.val.is_sorted());
            assert!(fold.val.iter().all(|a| fold.train.iter().all(|b| groups[a] != groups[b])));
            held_back.extend(fold.val.clone());
        }
        held_back.sort();
        assert_eq!(held_back, names);
    }

    // Golden values: scikit-learn 1.9.1, numpy 2.4.6,
    // `[test for _, test in GroupKFold(3, shuffle=True, random_state=12345).split(x, groups=groups)]`.
    #[test]
    fn folds_are_those_of_scikit_learn() {
        let (names, groups) = patients();
        let splits = Splits::grouped_k_fold(&names, &groups, 3, 12345).unwrap();
        let expected: [&[usize]; 3] = [&[3, 4, 7, 11, 12, 15], &[0, 1, 6, 8, 9, 14, 16], &[2, 5, 10, 13]];
        for (fold, expected) in splits.folds().iter().zip(expected) {
            assert_eq!(fold.val, expected.iter().map(|&i| names[i].clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_group_for_each_case_gives_the_folds_without_groups() {
        let names: Vec<String> = (0..10).map(|i| format!("case_{i}")).collect();
        let groups = names.iter().map(|name| (name.clone(), name.clone())).collect();
        let grouped = Splits::grouped_k_fold(&names, &groups, 4, 7).unwrap();
        assert_eq!(grouped, Splits::k_fold(&names, 4, 7).unwrap());
    }

    #[test]
    fn a_case_without_a_group_and_too_many_folds_are_refused() {
        let (mut names, groups) = patients();
        let error = |names: &[String], folds| {
            Splits::grouped_k_fold(names, &groups, folds, 0).unwrap_err().to_string()
        };
        assert_eq!(
            error(&names, 9),
            "`folds` is 9 for 8 groups, expected at least 2 and at most one a group"
        );
        names.push("stranger".into());
        let message = "`group` is missing for case `stranger`, expected a group for every case";
        assert_eq!(error(&names, 3), message);
    }

    #[test]
    fn groups_are_read_from_named_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patients.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Splits::read_groups(&path).map_err(|error| error.to_string())
        };
        let groups = read("\u{feff}Group,age,case\nann,40,a1\nann,41,a2\nbob,50,b\n").unwrap();
        assert_eq!((groups.len(), groups["a2"].as_str()), (3, "ann"));
        for (text, words) in [
            ("a1,ann\n", "no column `case`"),
            ("case,patient\na1,ann\n", "no column `group`"),
            ("case,group\na1,ann\na2,\n", "line 3 has no group"),
            ("case,group\na1,ann\na1,bob\n", "line 3 has case `a1` again"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("patients.csv") && error.contains(words), "{error}");
        }
    }
}
