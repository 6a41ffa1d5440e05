//! What is said of a proof in the report.

use super::{HeaderClaim, OrientationProof, OrientationRule, Verdict};

/// Why a case that no other decides is left open.
pub(super) fn open_reason(proof: &OrientationProof, rule: &OrientationRule) -> String {
    let Verdict::Open { orientations } = &proof.verdict else { return String::new() };
    let names: Vec<_> = orientations.iter().map(ToString::to_string).collect();
    match (&names[..], proof.scores.first()) {
        ([one], Some(best)) => {
            let (found, expected) = (best.contrast, rule.proof_contrast);
            format!("only {one} fits, with a contrast of {found:.2}, expected at least {expected}")
        }
        _ => format!("{} fit, none better than the others by {}", names.join(", "), rule.margin),
    }
}

/// Why no orientation is considered.
pub(super) fn no_fit(proof: &OrientationProof, rule: &OrientationRule) -> String {
    let best = proof.scores.first().map_or(String::new(), |best| {
        format!(
            "{} has a contrast of {:.2} and {:.2} soft tissue",
            best.orientation, best.contrast, best.soft_tissue
        )
    });
    format!(
        "the mask is no organ's outline in any; the best, {best}, expected at least {} and {}",
        rule.min_contrast, rule.min_soft_tissue
    )
}

/// What the label's header claims, and whether it is right.
pub(super) fn header_note(proof: &OrientationProof) -> String {
    match (&proof.header, &proof.verdict) {
        (HeaderClaim::OnGrid { orientation }, Verdict::Proved { orientation: true_one })
            if orientation == true_one =>
        {
            format!("label's header: stored {orientation}, which is right")
        }
        (HeaderClaim::OnGrid { orientation }, Verdict::Proved { .. }) => {
            format!("label's header: stored {orientation}, which is wrong")
        }
        (HeaderClaim::OnGrid { orientation }, _) => format!("label's header: stored {orientation}"),
        (HeaderClaim::OffGrid { distance_voxels }, _) => {
            format!("label's header: {distance_voxels:.1} voxels off the scan, which is wrong")
        }
    }
}
