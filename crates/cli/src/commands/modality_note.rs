//! What is said of a DICOM series of another modality than the model's.

use organseg::train::Modality;

/// A sentence where `series`, the modality in DICOM's letters, is not what a model for `trained` has seen; none where
/// one of them is not known, or the two may be the same.
///
/// Names of datasets are free ("T2", "FLAIR"), so that of other images than CT only CT is known to be something else; and
/// nnU-Net's names of normalisations ("noNorm") say nothing of the images.
pub(crate) fn modality_note(series: &str, trained: &Modality) -> Option<String> {
    let series = series.trim().to_ascii_uppercase();
    let differs = match trained {
        Modality::Ct => series != "CT",
        Modality::Other(name) => {
            series == "CT" && !name.trim().is_empty() && !may_be_ct(name) && !is_normalisation(name)
        }
    };
    (!series.is_empty() && differs).then(|| {
        format!("the series is {series}, and the model was trained on {trained}: look at the mask twice")
    })
}

/// Whether a word of `name` is CT, as in CTA, CBCT or PET/CT.
fn may_be_ct(name: &str) -> bool {
    let name = name.to_uppercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with("CT") || word.ends_with("CT"))
}

/// Whether `name` is one of nnU-Net's for what is done with intensities.
fn is_normalisation(name: &str) -> bool {
    let names = ["zscore", "nonorm", "rescale_to_0_1", "rgb_to_0_1"];
    names.contains(&name.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ct_and_what_is_not_are_told_apart() {
        let note = |series: &str, trained: &str| modality_note(series, &Modality::from(trained.to_string()));
        for (series, trained) in [("MR", "CT"), ("mr ", "ct"), ("PT", "CT"), ("CT", "MRI"), ("CT", "T2")] {
            let said = note(series, trained).unwrap_or_default();
            assert!(said.contains("trained on"), "{series}, {trained}: {said}");
        }
        for (series, trained) in [
            ("CT", "CT"),
            ("MR", "MRI"),
            ("MR", "FLAIR"),
            ("CT", "CBCT"),
            ("CT", "PET/CT"),
            ("", "CT"),
            ("CT", ""),
            ("CT", "noNorm"),
            ("CT", "zscore"),
        ] {
            assert_eq!(note(series, trained), None, "{series}, {trained}");
        }
        assert_eq!(
            note("MR", "CT").as_deref(),
            Some("the series is MR, and the model was trained on CT: look at the mask twice")
        );
    }
}
