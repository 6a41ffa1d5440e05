//! Figures as they lie in a file, to be read: those of two stages beside the others, all of them there or none.
//!
//! `serde(flatten)` writes them so and cannot read them: what is flattened passes through a form in which the labels, keys
//! of a JSON object, are texts and no numbers, and an option of what cannot be read is silently none.

use serde::Deserialize;

use crate::evaluation::{
    BoxResult, BoxStats, CaseResult, DiceStats, LabelDice, ResultSummary, TwoStageResult, TwoStageSummary,
};
use crate::report::Fallback;

/// [`CaseResult`].
#[derive(Deserialize)]
pub(crate) struct CaseFields {
    case: String,
    refined: LabelDice,
    coarse: Option<LabelDice>,
    oracle: Option<LabelDice>,
    box1: Option<BoxResult>,
    box2: Option<BoxResult>,
    fallback: Option<Fallback>,
}

impl TryFrom<CaseFields> for CaseResult {
    type Error = String;

    fn try_from(fields: CaseFields) -> Result<Self, String> {
        let CaseFields { case, refined, coarse, oracle, box1, box2, fallback } = fields;
        let two_stages = match (coarse, oracle) {
            (Some(coarse), Some(oracle)) => Some(TwoStageResult { coarse, oracle, box1, box2, fallback }),
            (None, None) if box1.is_none() && box2.is_none() && fallback.is_none() => None,
            _ => return Err(format!("case {case}: {ALL_OR_NONE}")),
        };
        Ok(Self { case, refined, two_stages })
    }
}

/// [`ResultSummary`].
#[derive(Deserialize)]
pub(crate) struct SummaryFields {
    refined: DiceStats,
    coarse: Option<DiceStats>,
    oracle: Option<DiceStats>,
    box1: Option<BoxStats>,
    box2: Option<BoxStats>,
    fallbacks: Option<usize>,
}

impl TryFrom<SummaryFields> for ResultSummary {
    type Error = String;

    fn try_from(fields: SummaryFields) -> Result<Self, String> {
        let SummaryFields { refined, coarse, oracle, box1, box2, fallbacks } = fields;
        let two_stages = match (coarse, oracle, box1, box2, fallbacks) {
            (Some(coarse), Some(oracle), Some(box1), Some(box2), Some(fallbacks)) => {
                Some(TwoStageSummary { coarse, oracle, box1, box2, fallbacks })
            }
            (None, None, None, None, None) => None,
            _ => return Err(format!("summary: {ALL_OR_NONE}")),
        };
        Ok(Self { refined, two_stages })
    }
}

const ALL_OR_NONE: &str = "some figures of two stages are missing, expected all of them or none";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{CrossValidation, FoldResult};

    fn results(two: bool) -> CrossValidation {
        let dice = |mean| LabelDice { mean: Some(mean), labels: BTreeMap::from([(1, mean), (12, 0.5)]) };
        let boxes = Some(BoxResult { recall: 0.75, iou: 0.25 });
        let case = |case: &str, box2| CaseResult {
            case: case.into(),
            refined: dice(0.875),
            two_stages: two.then(|| TwoStageResult {
                coarse: dice(0.625),
                oracle: dice(1.0),
                box1: boxes,
                box2,
                fallback: Some(Fallback::OrganCutByBox),
            }),
        };
        let cases = vec![case("a", boxes), case("b", None)];
        let summary = ResultSummary::of(&cases).expect("cases with labels");
        CrossValidation { folds: vec![FoldResult { cases, summary: summary.clone() }], summary }
    }

    #[test]
    fn figures_survive_their_file() {
        for two in [true, false] {
            let results = results(two);
            assert_eq!(results.summary.two_stages.is_some(), two);
            let text = serde_json::to_string(&results).unwrap();
            assert_eq!(serde_json::from_str::<CrossValidation>(&text).unwrap(), results);
        }
    }

    #[test]
    fn half_of_the_figures_of_two_stages_are_an_error() {
        let text = serde_json::to_string(&results(true)).unwrap().replace("\"oracle\"", "\"other\"");
        let error = serde_json::from_str::<CrossValidation>(&text).unwrap_err().to_string();
        assert!(error.contains("case a: some figures of two stages are missing"), "{error}");
    }
}
