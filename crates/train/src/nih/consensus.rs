//! What the proved cases say about those that are not proved.
//!
//! 1. If at least [`OrientationRule::witnesses`] cases are proved and all are stored in one orientation,
//!    which is among those that the case's voxels leave, it is that one: all labels of the set come from
//!    one conversion.
//! 2. Else, if the headers of as many proved cases put them on their scan's grid in the orientation that was
//!    proved, and no header of a proved case is wrong, and the case's header names one of the orientations
//!    that its voxels leave, it is that one.
//! 3. Else nothing decides the case.

use organseg_volume::Orientation;

use super::{Evidence, HeaderClaim, NihCase, NihOutcome, OrientationProof, OrientationRule, Verdict};

/// What the proved cases have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witnesses {
    /// The orientation that all are stored in, if there are enough of them.
    pub(super) consensus: Option<Orientation>,
    /// Whether the headers of enough of them were right and none was wrong.
    pub(super) headers_are_right: bool,
}

impl Witnesses {
    /// What those of `cases` say that were proved by their voxels.
    pub(super) fn among<'a>(cases: impl Iterator<Item = &'a NihCase>, rule: &OrientationRule) -> Self {
        let proved: Vec<_> = cases.filter_map(|case| Some((proved(case)?, case.proof.as_ref()?))).collect();
        let enough = proved.len() >= rule.witnesses;
        let first = proved.first().map(|&(orientation, _)| orientation);
        let agree = proved.iter().all(|&(orientation, _)| Some(orientation) == first);
        let right = |&(orientation, proof): &(Orientation, &OrientationProof)| {
            proof.header == HeaderClaim::OnGrid { orientation }
        };
        Self {
            consensus: first.filter(|_| enough && agree),
            headers_are_right: enough && proved.iter().all(right),
        }
    }

    /// The orientation of an open case, and what decides it.
    pub(super) fn decide(&self, proof: &OrientationProof) -> Option<(Orientation, Evidence)> {
        let Verdict::Open { orientations } = &proof.verdict else { return None };
        let (orientation, by) = match (self.consensus, &proof.header) {
            (Some(orientation), _) => (orientation, Evidence::Consensus),
            (None, &HeaderClaim::OnGrid { orientation }) if self.headers_are_right => {
                (orientation, Evidence::Header)
            }
            _ => return None,
        };
        orientations.contains(&orientation).then_some((orientation, by))
    }
}

/// Whether the case was judged and left open by its voxels.
pub(super) fn is_open(case: &NihCase) -> bool {
    let judged = matches!(case.outcome, NihOutcome::Written { .. } | NihOutcome::Undecided { .. });
    judged && case.proof.as_ref().is_some_and(|proof| matches!(proof.verdict, Verdict::Open { .. }))
}

/// The orientation of a case that its voxels proved and that is in the dataset.
fn proved(case: &NihCase) -> Option<Orientation> {
    match case.outcome {
        NihOutcome::Written { orientation, by: Evidence::Voxels, .. } => Some(orientation),
        _ => None,
    }
}
