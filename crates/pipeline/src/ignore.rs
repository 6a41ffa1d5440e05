//! Which voxels losses pass over: those of the dataset's ignore label.

use organseg_train::Dataset;

use crate::{Method, ModelConfig, PipelineError};

impl ModelConfig {
    /// With the ignore label of `dataset` in the losses of the method's stages.
    ///
    /// # Errors
    /// [`PipelineError::IgnoreLabel`] for a loss that was told to ignore another label than the dataset's.
    pub fn with_ignore_label_of(mut self, dataset: &Dataset) -> Result<Self, PipelineError> {
        let stages = match self.method {
            Method::Two => vec![("coarse", &mut self.coarse), ("fine", &mut self.fine)],
            Method::Single => vec![("single", &mut self.single)],
        };
        for (name, stage) in stages {
            let loss = &mut stage.train.loss;
            if let Some(found) = loss.ignore_label.filter(|_| loss.ignore_label != dataset.ignore) {
                let (dataset, expected) = (dataset.root.clone(), dataset.ignore);
                return Err(PipelineError::IgnoreLabel { stage: name, found, dataset, expected });
            }
            loss.ignore_label = dataset.ignore;
        }
        Ok(self)
    }
}
