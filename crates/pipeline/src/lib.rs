//! Coarse-to-fine segmentation: find the organ at low resolution, look again at full resolution, vote.
//!
//! [`train`] makes a model folder from a dataset; [`Segmenter`] runs it on scans. The stages stand alone
//! too: [`candidate_boxes`], [`predict`], [`Segmenter::fine`].

mod candidate;
mod card;
mod cross_validation;
mod device;
mod ensemble;
mod error;
mod evaluation;
mod evaluation_fields;
mod flips;
mod ignore;
mod lock;
mod looks;
mod main_pieces;
mod margin;
mod mask;
mod model;
mod montage;
mod out_of_memory;
mod plan;
mod postprocess;
mod predict;
mod prediction;
mod report;
mod scores;
mod segmenter;
mod source;
mod sums_memory;
mod tiles;
mod training;
mod validation;
mod vote;

/// Where to compute; candle's own type.
pub use candle_core::{DType, Device};

pub use candidate::{BoxConfig, CandidateBoxes, candidate_boxes};
pub use card::{KindOfWeights, WeightsCard};
pub use cross_validation::{CrossValidation, FoldResult, cross_validate};
pub use device::{DeviceChoice, UnknownDevice};
pub use ensemble::model_folders;
pub use error::PipelineError;
pub use evaluation::{
    BoxResult, BoxStats, CaseMasks, CaseResult, DiceStats, LabelDice, ResultSummary, TwoStageResult,
    TwoStageSummary, evaluate_case,
};
pub use margin::Margin;
pub use model::{Method, ModelConfig, PlannedDataset, StageConfig, weights_path};
pub use montage::Montage;
pub use plan::{MAX_PATCH_VOXELS, Plan, plan};
pub use predict::predict;
pub use prediction::{Boxes, Combine, PredictionConfig, WhenEmpty};
pub use report::{Fallback, LabelReport, Resampled, SegmentationReport};
pub use segmenter::{PreparedScan, Segmentation, Segmenter, Sighting, TwoStages};
pub use training::{Stages, TrainRequest, TrainSummary, oracle_box, train};
