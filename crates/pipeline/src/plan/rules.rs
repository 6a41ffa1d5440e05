//! The rules, one after the other: each sets what nobody has set, and says why.

use std::collections::BTreeMap;

use organseg_train::{Fingerprint, Intensity, Modality, Precision, Preprocessing, ThickSlices};
use toml::Table;

use super::shape::{
    Margins, axis_of_slices, channels, decimation, patch_within, strides, strides_of_levels, voxels,
};
use super::spacing::{KEEP_WITHIN, at_spacing, size_at, working_spacing};
use super::statistics::{median, median_size};
use super::{is_set, laterality, table_at};
use crate::{Margin, Method, ModelConfig, WhenEmpty};

/// Samples a step: nnU-Net's least. Steps of more take as much longer on a CPU and learn less a minute.
const BATCH: usize = 2;

/// Where so much of each scan is exactly 0 from its border on, an organ was cut out of its surroundings. nnU-Net looks at
/// the box of all that is not 0, and takes the same share.
const CUT_AWAY: f64 = 0.25;

/// Weight of the cross-entropy, as in nnU-Net. On MR of the hippocampus, fold 0, some five minutes gave a mean DSC of
/// 0.861 with Dice + cross-entropy, 0.855 with center loss too, 0.852 with Dice + center: one seed each.
const CROSS_ENTROPY: f64 = 1.0;

/// Weight of the center loss of the network that has the last word; the paper has it in both. On fold 1 of the same MR five
/// minutes with the paper's weight gave one network 0.875, without it 0.879, on fold 0 some five minutes 0.855 and 0.861. In
/// short trainings on phantoms it cost the fine one of two 5 to 11 points, and the coarse one nothing.
const CENTER_OF_LAST: f64 = 0.0;

/// The first level's channels for which the limit of a patch is meant.
const USUAL_CHANNELS: usize = 16;

/// Fits `config` where `settled` leaves it open, and returns which rule chose each setting, and what a person should know.
pub(super) fn apply(
    config: &mut ModelConfig,
    fingerprint: &Fingerprint,
    method: Option<Method>,
    settled: &Table,
    max_voxels: usize,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut rules = Rules { settled, max_voxels, reasons: BTreeMap::new(), warnings: Vec::new() };
    rules.intensity(config, fingerprint);
    rules.spacing(config, fingerprint);
    let scan = Scan::of(fingerprint, &config.preprocessing);
    rules.method(config, method, &scan);
    if config.method == Method::Two {
        rules.decimation(config, &scan);
        if let Some(why) = scan.too_small(config.decimation) {
            rules.warnings.push(format!("{why}: one stage (--stages single) may find more"));
        }
        rules.margins(config, &scan);
        rules.when_empty(config, fingerprint);
    }
    for stage in stages(config.method) {
        rules.stage(config, stage, &scan);
        rules.mirroring(config, stage, fingerprint);
    }
    (rules.reasons, rules.warnings)
}

/// Names of the stages of `method`.
pub(super) fn stages(method: Method) -> &'static [&'static str] {
    match method {
        Method::Two => &["coarse", "fine"],
        Method::Single => &["single"],
    }
}

/// The median scan at the working spacing.
struct Scan {
    size: [usize; 3],
    spacing_mm: [f64; 3],
    /// Size of the box around everything labelled, of each case that has something.
    organs: Vec<[usize; 3]>,
    /// Half of what is labelled lies in pieces of at most this; the median over those cases.
    piece_ml: f64,
}

/// Voxels of the decimated scan that a piece of an organ must have for the coarse network to know it: 3 along each axis.
const COARSE_PIECE_VOXELS: f64 = 27.0;

impl Scan {
    fn of(fingerprint: &Fingerprint, preprocessing: &Preprocessing) -> Self {
        let cases = &fingerprint.cases;
        let spacing_mm = preprocessing.spacing_mm.unwrap_or_else(|| {
            [0, 1, 2].map(|a| median(&cases.iter().map(|case| case.spacing_mm[a]).collect::<Vec<_>>()))
        });
        // What is not resampled counts as it is.
        let target = |own: [f64; 3]| preprocessing.working_spacing_mm(own);
        let sizes: Vec<_> = cases.iter().map(|case| size_at(case, target(case.spacing_mm))).collect();
        let organ = |case: &organseg_train::CaseFingerprint| {
            let to = target(case.spacing_mm);
            case.organ_size.map(|n| [0, 1, 2].map(|a| at_spacing(n[a], case.spacing_mm[a], to[a])))
        };
        let pieces: Vec<f64> = cases.iter().filter_map(|case| case.piece_ml).collect();
        Self {
            size: median_size(&sizes),
            spacing_mm,
            organs: cases.iter().filter_map(organ).collect(),
            piece_ml: median(&pieces),
        }
    }

    /// Why the coarse network would see little of what is labelled, decimated by `factors`; none if it sees it.
    fn too_small(&self, factors: [usize; 3]) -> Option<String> {
        let voxel_ml = (0..3).map(|a| self.spacing_mm[a] * factors[a] as f64).product::<f64>() / 1000.0;
        let least = COARSE_PIECE_VOXELS * voxel_ml;
        let seen = self.organs.is_empty() || self.piece_ml >= least;
        (!seen).then(|| {
            format!(
                "half of what is labelled lies in pieces of at most {:.2} ml, and of less than {least:.2} ml a scan decimated \
                 by {factors:?} shows nearly nothing",
                self.piece_ml
            )
        })
    }

    /// What the organ's box with `margin` voxels around it is in each case, where the scan ends at the latest.
    fn crops(&self, margin: [usize; 3]) -> Vec<[usize; 3]> {
        let with_margin = |organ: &[usize; 3]| {
            [0, 1, 2].map(|a| (organ[a] + 2 * margin[a]).min(self.size[a].max(organ[a])))
        };
        self.organs.iter().map(with_margin).collect()
    }
}

struct Rules<'a> {
    settled: &'a Table,
    max_voxels: usize,
    reasons: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Rules<'_> {
    /// Whether the setting at `path` is open; if not, that somebody has set it is noted.
    fn open(&mut self, path: &str) -> bool {
        let set = is_set(self.settled, path);
        if set {
            self.because(path, "set by hand");
        }
        !set
    }

    fn because(&mut self, path: &str, reason: impl Into<String>) {
        self.reasons.insert(path.to_string(), reason.into());
    }

    fn intensity(&mut self, config: &mut ModelConfig, fingerprint: &Fingerprint) {
        const PATH: &str = "preprocessing.intensity";
        if !self.open(PATH) {
            return;
        }
        let (intensity, reason) = intensity(fingerprint);
        config.preprocessing.intensity = intensity;
        self.because(PATH, reason);
    }

    fn spacing(&mut self, config: &mut ModelConfig, fingerprint: &Fingerprint) {
        const PATH: &str = "preprocessing.spacing_mm";
        const KEEP: &str = "preprocessing.keep_within";
        if !self.open(PATH) {
            return;
        }
        let (spacing, reason) = working_spacing(fingerprint);
        config.preprocessing.spacing_mm = Some(spacing);
        self.because(PATH, format!("spacing: {reason}"));
        // Beside a spacing by hand nothing is kept unasked.
        if self.open(KEEP) {
            config.preprocessing.keep_within = KEEP_WITHIN;
            self.because(
                KEEP,
                "a scan whose spacing is another by no more than this factor keeps its voxels",
            );
        }
    }

    fn method(&mut self, config: &mut ModelConfig, asked: Option<Method>, scan: &Scan) {
        let fits = voxels(scan.size) <= self.max_voxels;
        let factors = match is_set(self.settled, "decimation") {
            true => config.decimation,
            false => self.wanted_decimation(scan),
        };
        let too_small = scan.too_small(factors);
        let [x, y, z] = scan.size;
        let scan = format!("the median scan, {x} × {y} × {z} voxels at the working spacing,");
        let (method, reason) = match asked {
            Some(method) => (method, "asked for".to_string()),
            None if fits => (Method::Single, format!("{scan} is no larger than a patch may be: one look")),
            None => match too_small {
                Some(why) => {
                    (Method::Single, format!("{scan} is larger than a patch may be, but {why}: one look"))
                }
                None => (Method::Two, format!("{scan} is larger than a patch may be: a coarse look first")),
            },
        };
        config.method = method;
        self.because("method", format!("{reason} (at most {} voxels a patch)", self.max_voxels));
    }

    fn decimation(&mut self, config: &mut ModelConfig, scan: &Scan) {
        if !self.open("decimation") {
            return;
        }
        let organ = median_size(&scan.organs);
        config.decimation = self.wanted_decimation(scan);
        self.because(
            "decimation",
            format!(
                "4 along the finest axis, others towards the same coarse spacing; less where the median scan \
                 ({:?}) would keep fewer than 16 or the organ ({organ:?}) fewer than 3 coarse voxels; more until \
                 the coarse scan fits",
                scan.size
            ),
        );
    }

    fn wanted_decimation(&self, scan: &Scan) -> [usize; 3] {
        decimation(scan.size, scan.spacing_mm, median_size(&scan.organs), self.max_voxels)
    }

    /// Margins around the organ.
    fn margins(&mut self, config: &mut ModelConfig, scan: &Scan) {
        let wanted = Margins::new(scan.spacing_mm, config.decimation);
        let settings = [
            ("crop_margin_voxels", &mut config.crop_margin_voxels, wanted.crop),
            ("crop_jitter_voxels", &mut config.crop_jitter_voxels, wanted.jitter),
            ("boxes.box1_margin_coarse_voxels", &mut config.boxes.box1_margin_coarse_voxels, wanted.box1),
            ("boxes.box2_margin_voxels", &mut config.boxes.box2_margin_voxels, wanted.crop),
        ];
        for (path, margin, wanted) in settings {
            let planned = Margin::from(wanted);
            if self.open(path) && *margin != planned {
                *margin = planned;
                self.because(path, "as long as the paper's along the finest axis, where its voxels are much shorter or longer");
            }
        }
    }

    /// What a coarse mask without an organ means.
    fn when_empty(&mut self, config: &mut ModelConfig, fingerprint: &Fingerprint) {
        const PATH: &str = "prediction.when_empty";
        let empty = fingerprint.without_foreground().len();
        if empty > 0 && self.open(PATH) {
            config.prediction.when_empty = WhenEmpty::Accept;
            let reason =
                format!("{empty} of the cases have nothing, and the coarse stage learns it from them");
            self.because(PATH, reason);
        }
    }

    /// Network, patch and batch of the stage called `name`.
    fn stage(&mut self, config: &mut ModelConfig, name: &str, scan: &Scan) {
        let (factors, margin) = (config.decimation, config.crop_margin_voxels.along());
        let crops = scan.crops(margin);
        let (seen, what) = match name {
            "coarse" => ([0, 1, 2].map(|a| scan.size[a].div_ceil(factors[a])), "decimated scan"),
            "fine" => (median_size(&crops), "crop around the organ"),
            _ => (scan.size, "scan"),
        };
        let jitter = config.crop_jitter_voxels.along();
        let stage = config.stage_mut(name);
        let path = |field: &str| format!("{name}.{field}");
        let spacing_mm = match name {
            "coarse" => [0, 1, 2].map(|a| scan.spacing_mm[a] * factors[a] as f64),
            _ => scan.spacing_mm,
        };
        // On GPUs numbers of sixteen bits are for networks that lower all axes alike.
        let spacing_of_levels = if stage.train.precision == Precision::F32 { spacing_mm } else { [1.0; 3] };
        let wanted = strides(seen, spacing_of_levels);
        let open = self.open(&path("network.channels"));
        if open {
            // Strides by hand say how many levels there are.
            let by_hand = is_set(self.settled, &path("network.strides")) && !stage.network.strides.is_empty();
            stage.network.channels = channels(if by_hand { &stage.network.strides } else { &wanted });
            let reason = format!(
                "halved while the shortest side of the median {what}, {seen:?}, keeps 3 voxels, 4 times at most; \
                 16 channels first, twice as many a level"
            );
            self.because(&path("network.channels"), reason);
        }
        if self.open(&path("network.strides")) {
            let levels = stage.network.levels();
            let strides = if open { wanted } else { strides_of_levels(seen, spacing_of_levels, levels) };
            let even = strides.iter().all(|stride| *stride == [2; 3]);
            stage.network.strides = if even { Vec::new() } else { strides };
            if !even {
                let reason = "slices at least twice as far apart as the finest voxels are halved when those have caught \
                              up, and no more when too few are left";
                self.because(&path("network.strides"), reason);
            }
        }
        let first = stage.network.channels.first().copied().unwrap_or(USUAL_CHANNELS);
        let limit = self.max_voxels * USUAL_CHANNELS / first.max(USUAL_CHANNELS);
        let too_large = match name {
            "coarse" => voxels(seen) > limit,
            "fine" => {
                scan.crops([0, 1, 2].map(|a| margin[a] + jitter[a])).iter().any(|&crop| voxels(crop) > limit)
            }
            _ => true,
        };
        if self.open(&path("patch_size")) {
            let multiple = stage.network.size_multiple();
            stage.patch_size = too_large.then(|| patch_within(seen, spacing_mm, multiple, limit));
            if too_large {
                let reason = format!(
                    "the median {what}, {seen:?}, rounded down to multiples of {multiple:?}, and shrunk along the \
                     axis longest in millimetres to {limit} voxels at most"
                );
                self.because(&path("patch_size"), reason);
            } else {
                let reason = format!("no patch_size: a {what} of at most {limit} voxels goes through whole");
                self.because(name, reason);
            }
        }
        let shown = stage.patch_size.unwrap_or(seen);
        let slices = path("train.augment.thick_slices");
        if let Some(axis) = axis_of_slices(shown, spacing_mm).filter(|_| self.open(&slices)) {
            stage.train.augment.thick_slices = ThickSlices::along(axis);
            let reason = format!(
                "samples of {shown:?} voxels, {spacing_mm:.1?} mm apart, are turned and scaled within their slices alone: \
                 out of their plane there are too few to show what lies between them"
            );
            self.because(&slices, reason);
        }
        if self.open(&path("train.batch")) {
            stage.train.batch = BATCH;
            self.because(&path("train.batch"), "nnU-Net's least; on a CPU larger ones learn less a minute");
        }
        // Who sets any part of the loss knows which one is wanted; the ignore label is the dataset's.
        let loss = path("train.loss");
        let only_ignored =
            table_at(self.settled, &loss).is_some_and(|t| t.keys().all(|k| k == "ignore_label"));
        if only_ignored || self.open(&loss) {
            stage.train.loss.cross_entropy = CROSS_ENTROPY;
            self.because(
                &path("train.loss.cross_entropy"),
                "besides Dice: each voxel has a gradient of its own",
            );
            if name != "coarse" {
                stage.train.loss.center = CENTER_OF_LAST;
                self.because(
                    &path("train.loss.center"),
                    "the paper's, in the first look alone: measured on MR and on phantoms, the last word learns less by it",
                );
            }
        }
    }

    fn mirroring(&mut self, config: &mut ModelConfig, name: &str, fingerprint: &Fingerprint) {
        let path = format!("{name}.train.augment.mirror_axes");
        if !self.open(&path) {
            return;
        }
        let why_not = laterality::why_sides_differ(fingerprint);
        config.stage_mut(name).train.augment.mirror_axes = [why_not.is_none(), true, true];
        let reason = why_not.map_or_else(
            || "all: neither names nor places of the labels tell left from right".to_string(),
            |why| format!("not x: {why}"),
        );
        self.because(&path, reason);
    }
}

/// How intensities are changed, and why.
fn intensity(fingerprint: &Fingerprint) -> (Intensity, String) {
    if fingerprint.modality != Modality::Ct {
        return intensity_without_unit(fingerprint);
    }
    let fixed = Intensity::default();
    let (Intensity::Window { low, high }, Some(range)) = (fixed, fingerprint.intensities) else {
        return (fixed, "the method's window for soft tissue".into());
    };
    let measured = format!("99 % of the labelled voxels have {} to {} HU", range.low, range.high);
    if low <= range.low && range.high <= high {
        return (fixed, format!("the method's window for soft tissue, which holds them: {measured}"));
    }
    let (low, high) = (range.low.floor(), range.high.ceil());
    let window = Intensity::Window { low, high: if low < high { high } else { low + 1.0 } };
    (window, format!("percentiles 0.5 and 99.5, for the method's window does not hold them: {measured}"))
}

/// The same of images that are not CT.
fn intensity_without_unit(fingerprint: &Fingerprint) -> (Intensity, String) {
    let name = modality_name(&fingerprint.modality);
    let named = Intensity::for_modality(&fingerprint.modality);
    if !matches!(named, Intensity::ZScore { .. }) {
        return (named, format!("the channel's name, {name}, is a normalisation of nnU-Net's"));
    }
    let zeros = fingerprint.cases.iter().map(|case| case.zero_background);
    let least = zeros.reduce(f64::min).unwrap_or(0.0);
    if least < CUT_AWAY {
        return (named, format!("z-scores: {name} has no unit"));
    }
    let reason = format!(
        "z-scores of the voxels that are not 0, for {name} has no unit and at least {:.0} % of each scan is exactly 0 \
         from its border on: what was cut away",
        (100.0 * least).floor()
    );
    (Intensity::ZScore { nonzero: true }, reason)
}

pub(super) fn modality_name(modality: &Modality) -> String {
    match modality.to_string() {
        name if name.is_empty() => "a modality without a name".into(),
        name => name,
    }
}
