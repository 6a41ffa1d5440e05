//! Asking a trained model in another way than its `model.toml` says.

use clap::{Args, ValueEnum};
use organseg::pipeline::{Boxes, Combine, PredictionConfig, WhenEmpty};

/// What the arguments change; without them the model's own settings stand.
#[derive(Args)]
pub(crate) struct PredictionChoice {
    /// See each image mirrored too, along the axes that training mirrored: mean of the probabilities.
    #[arg(long)]
    flips: bool,
    /// Candidate boxes in which the fine network looks [default: the model's, which is both]
    #[arg(long, value_enum)]
    boxes: Option<BoxesArgument>,
    /// What becomes of its answers from both boxes [default: the model's, which is vote]
    #[arg(long, value_enum)]
    combine: Option<CombineArgument>,
    /// What happens where the coarse network finds nothing [default: the model's, which is look unless cases that it was
    /// planned for had nothing]
    #[arg(long, value_enum)]
    when_empty: Option<WhenEmptyArgument>,
    /// Keep of each label its largest connected piece alone.
    #[arg(long)]
    keep_largest: bool,
    /// Leave out connected pieces of a label with less than this volume in millilitres [default: the model's, which is 0]
    #[arg(long, value_name = "ML", value_parser = millilitres)]
    least_volume_ml: Option<f64>,
    /// Fill background that one label encloses.
    #[arg(long)]
    fill_holes: bool,
}

/// Millilitres, 0 or more.
fn millilitres(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ml) if ml.is_finite() && ml >= 0.0 => Ok(ml),
        _ => Err(format!("`{text}` is not a number of millilitres")),
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum BoxesArgument {
    Both,
    Box1,
    Box2,
}

#[derive(Clone, Copy, ValueEnum)]
enum WhenEmptyArgument {
    /// The fine network looks at the whole scan: for organs that everybody has.
    Look,
    /// Nothing is there: for what not everybody has.
    Accept,
}

#[derive(Clone, Copy, ValueEnum)]
enum CombineArgument {
    /// The label that two of three agree on: both boxes' masks and the coarse one.
    Vote,
    /// The class of the largest mean probability over the boxes.
    Mean,
}

impl PredictionChoice {
    /// `model` with what the arguments change.
    pub(crate) fn over(&self, model: PredictionConfig) -> PredictionConfig {
        let boxes = self.boxes.map(|boxes| match boxes {
            BoxesArgument::Both => Boxes::Both,
            BoxesArgument::Box1 => Boxes::Box1,
            BoxesArgument::Box2 => Boxes::Box2,
        });
        let combine = self.combine.map(|combine| match combine {
            CombineArgument::Vote => Combine::Vote,
            CombineArgument::Mean => Combine::Mean,
        });
        let when_empty = self.when_empty.map(|when_empty| match when_empty {
            WhenEmptyArgument::Look => WhenEmpty::Look,
            WhenEmptyArgument::Accept => WhenEmpty::Accept,
        });
        model
            .with_when_empty(when_empty.unwrap_or(model.when_empty))
            .with_flips(self.flips || model.flips)
            .with_boxes(boxes.unwrap_or(model.boxes))
            .with_combine(combine.unwrap_or(model.combine))
            .with_keep_largest(self.keep_largest || model.keep_largest)
            .with_least_volume_ml(self.least_volume_ml.unwrap_or(model.least_volume_ml))
            .with_fill_holes(self.fill_holes || model.fill_holes)
    }
}
