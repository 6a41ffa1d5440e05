//! A plan as a file for people: TOML with what was measured and which rule chose each value in comments.

use organseg_train::Fingerprint;

use super::Plan;
use super::rules::modality_name;
use super::statistics::{median, median_size};
use crate::Method;

/// Comments are broken into lines of so many characters.
const WIDTH: usize = 100;

impl Plan {
    /// The plan as commented TOML in the form of `model.toml`. Settings of stages that the method does not have are
    /// left out.
    ///
    /// ```
    /// use organseg_pipeline::{ModelConfig, Plan};
    /// let plan = Plan {
    ///     config: ModelConfig::default(),
    ///     measured: vec!["3 scans".into()],
    ///     reasons: [("decimation".to_string(), "the paper's".to_string())].into(),
    ///     warnings: Vec::new(),
    /// };
    /// let text = plan.to_toml();
    /// assert!(text.starts_with("# Plan by organseg "));
    /// assert!(text.contains("# the paper's\ndecimation = "));
    /// ```
    #[must_use]
    pub fn to_toml(&self) -> String {
        let unused = match self.config.method {
            Method::Two => &["single"][..],
            Method::Single => {
                &["coarse", "fine", "boxes", "decimation", "crop_margin_voxels", "crop_jitter_voxels"]
            }
        };
        let body = toml::to_string(&self.config).expect("a model configuration is valid TOML");
        let mut text = format!("# Plan by {}. Any value may be changed.\n#\n", self.config.software);
        self.measured.iter().for_each(|line| comment(&mut text, line));
        self.warnings.iter().for_each(|line| comment(&mut text, &format!("warning: {line}")));
        text.push('\n');
        let mut section = String::new();
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        for line in body.lines() {
            let path = if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = format!("{name}.");
                Some(name.to_string())
            } else {
                line.split_once(" = ").map(|(key, _)| format!("{section}{key}"))
            };
            let root = path.as_deref().unwrap_or(&section).split('.').next().unwrap_or_default();
            if unused.contains(&root) {
                continue;
            }
            // A reason for a table that has no line of its own stands above the first that is in it.
            let belongs = |to: &str| {
                path.as_deref()
                    .and_then(|path| path.strip_prefix(to))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let (now, later) = reasons.into_iter().partition::<Vec<_>, _>(|(to, _)| belongs(to));
            now.iter().for_each(|(_, reason)| comment(&mut text, reason));
            reasons = later;
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// Adds `words` as comment lines.
fn comment(text: &mut String, words: &str) {
    let mut length = 0;
    for word in words.split(' ') {
        if length > 0 && length + word.chars().count() < WIDTH {
            text.push(' ');
        } else {
            text.push_str(if length > 0 { "\n# " } else { "# " });
            length = 1;
        }
        text.push_str(word);
        length += word.chars().count() + 1;
    }
    text.push('\n');
}

/// What was measured, a line each.
pub(super) fn measured(fingerprint: &Fingerprint) -> Vec<String> {
    let cases = &fingerprint.cases;
    let modality = modality_name(&fingerprint.modality);
    let mut lines =
        vec![format!("Measured in {} cases of {modality}, along x (right), y (front), z (up):", cases.len())];
    let sizes: Vec<_> = cases.iter().map(|case| case.size).collect();
    lines.push(format!("size in voxels: {}", size_range(&sizes)));
    let spacing = [0, 1, 2].map(|a| {
        let along: Vec<f64> = cases.iter().map(|case| case.spacing_mm[a]).collect();
        let (low, high) = along.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &v| (l.min(v), h.max(v)));
        format!("{:.3} ({low:.3} to {high:.3})", median(&along))
    });
    lines.push(format!("spacing in mm, median (smallest to largest): {}", spacing.join(", ")));
    let organs: Vec<_> = cases.iter().filter_map(|case| case.organ_size).collect();
    if !organs.is_empty() {
        lines.push(format!("box around all labels in voxels: {}", size_range(&organs)));
    }
    let pieces: Vec<_> = cases.iter().filter_map(|case| case.piece_ml).collect();
    if !pieces.is_empty() {
        lines.push(format!(
            "half of what is labelled lies in connected pieces of at most {:.2} ml (median of the cases)",
            median(&pieces)
        ));
    }
    if let Some(range) = fingerprint.intensities {
        lines.push(format!(
            "intensities of labelled voxels: 0.5 % below {}, half below {}, 99.5 % below {}",
            range.low, range.median, range.high
        ));
    }
    let zeros: Vec<_> = cases.iter().map(|case| 100.0 * case.zero_background).collect();
    if zeros.iter().any(|&share| share >= 1.0) {
        lines.push(format!(
            "exactly 0 from the border on: {:.0} % of a scan (median of the cases)",
            median(&zeros)
        ));
    }
    for (label, name) in &fingerprint.labels {
        let volumes: Vec<f64> = cases
            .iter()
            .filter_map(|case| {
                let voxel_ml = case.spacing_mm.iter().product::<f64>() / 1000.0;
                case.labels.get(label).map(|extent| extent.voxels as f64 * voxel_ml)
            })
            .collect();
        let (n, ml) = (volumes.len(), median(&volumes));
        lines.push(format!("label {label} ({name}): in {n} cases, median {ml:.1} ml"));
    }
    lines
}

fn size_range(sizes: &[[usize; 3]]) -> String {
    let along = [0, 1, 2].map(|a| {
        let (low, high) = sizes.iter().fold((usize::MAX, 0), |(l, h), size| (l.min(size[a]), h.max(size[a])));
        format!("{} ({low} to {high})", median_size(sizes)[a])
    });
    format!("median (smallest to largest): {}", along.join(", "))
}
