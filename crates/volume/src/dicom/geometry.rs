//! Where the slices of a stack lie: order, spacing, and what is irregular about it.
//!
//! With the direction cosines X and Y of a slice and its position P, all in millimetres of DICOM's LPS
//! world, pixel (i, j) lies at P + X Δx i + Y Δy j (PS3.3, C.7.6.2.1.1). Slices are sorted by P · N along
//! the normal N = X × Y. The step from slice to slice is (P_last − P_first) / (n − 1), so that the first
//! and the last slice lie where they say, and a gantry tilt is part of it; if it leaves the normal by less
//! than a thousandth of a pixel over all slices, it is taken to be along it. The crate's world is RAS: the first two
//! rows change sign.

use std::ops::Range;
use std::path::PathBuf;

use super::DicomFinding;
use super::frame::Frame;
use super::turns::mixed_acquisitions;
use crate::{Affine, Grid, RIGHT_ANGLE_TOLERANCE, VolumeError};

/// Slices closer to each other than this share of the usual distance are at one place.
const SAME_PLACE: f64 = 0.05;

/// A distance along the normal below this share of a pixel is rounding and tells nothing of the usual one: no slices
/// lie so close, and positions that were computed echo by echo, or written with three digits, differ by less. Not a
/// share of the largest gap: beside a slice that is far away those between thin slices are as small.
const ROUNDING_PIXELS: f64 = 0.01;

/// A gap this close to a multiple of the usual distance, as a share of that distance, has missing slices
/// in it.
const MULTIPLE_TOLERANCE: f64 = 0.1;

/// No scan misses as many slices at a stretch: a larger gap is something else.
const MAX_STEPS: f64 = 1000.0;

/// Slices further than this share of the spacing from where they should be are reported; it is the
/// tolerance within which two grids are the same.
const REPORTED_DEVIATION: f64 = crate::GEOMETRY_TOLERANCE_VOXELS;

/// A tilt is reported if it moves the last slice against the first by more than this many pixels: less is
/// rounding of positions and cosines.
const REPORTED_DRIFT_PIXELS: f64 = 0.1;

/// A drift below this is laid along the normal: cosines of six digits and positions of three are not at
/// right angles to the last digit, and the grid is the same.
const ROUNDING_DRIFT_PIXELS: f64 = crate::GEOMETRY_TOLERANCE_VOXELS;

/// Direction cosines that had to be made unit vectors at right angles are reported if that moved the far corner by more
/// than this many pixels: six digits of 512 pixels are a thousandth of one.
const REPORTED_CORNER_PIXELS: f64 = 0.1;

/// Pixel spacings that differ by less, as a share, are the same.
const PIXEL_SPACING_TOLERANCE: f64 = 1e-4;

type Vector = [f64; 3];

/// The slices in order along their normal; those at one place by their number, then by file.
pub(super) fn ordered(mut frames: Vec<Frame>) -> Vec<Frame> {
    let Some(first) = frames.first() else { return frames };
    let normal = first.normal();
    frames.sort_by(|a, b| {
        let along = dot(a.position, normal).total_cmp(&dot(b.position, normal));
        along.then(a.instance.cmp(&b.instance)).then_with(|| a.place_in_files().cmp(&b.place_in_files()))
    });
    frames
}

/// The places along the normal, each as the range of the slices, which are in order, that lie there.
pub(super) fn places(frames: &[Frame]) -> Vec<Range<usize>> {
    let Some(first) = frames.first() else { return Vec::new() };
    let along: Vec<f64> = frames.iter().map(|frame| dot(frame.position, first.normal())).collect();
    let usual = usual_gap(&along, first);
    let mut places: Vec<Range<usize>> = Vec::new();
    for i in 0..along.len() {
        match places.last_mut() {
            Some(place) if usual == 0.0 || along[i] - along[place.start] <= SAME_PLACE * usual => {
                place.end = i + 1;
            }
            _ => places.push(i..i + 1),
        }
    }
    places
}

/// The median of the gaps between slices such as `frame` that are none of rounding; 0 if there is none.
fn usual_gap(along: &[f64], frame: &Frame) -> f64 {
    let rounding = ROUNDING_PIXELS * frame.smaller_pixel_spacing();
    let mut gaps: Vec<f64> =
        along.windows(2).map(|pair| pair[1] - pair[0]).filter(|&gap| gap > rounding).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(0.0)
}

/// What the positions of the slices, in order and one at each place, say.
pub(super) struct Arrangement {
    /// The grid, if there can be one.
    pub(super) grid: Result<Grid, VolumeError>,
    pub(super) findings: Vec<DicomFinding>,
}

/// Looks at `frames` of `modality`, in order and one at each place.
pub(super) fn arrange(frames: &[&Frame], modality: &str) -> Arrangement {
    let (first, last) = (frames[0], frames[frames.len() - 1]);
    let normal = first.normal();
    let mut findings = mixed(frames, modality);
    let step = if frames.len() == 1 {
        let (spacing_mm, from) = match (first.spacing_between, first.thickness) {
            (Some(spacing), _) => (spacing, "SpacingBetweenSlices"),
            (None, Some(thickness)) => (thickness, "SliceThickness"),
            (None, None) => (1.0, "nothing"),
        };
        findings.push(DicomFinding::SingleSlice { spacing_mm, from });
        normal.map(|v| v * spacing_mm)
    } else {
        findings.extend(spacing_of(frames, normal));
        minus(last.position, first.position).map(|v| v / (frames.len() - 1) as f64)
    };
    let along = dot(step, normal);
    let across = minus(step, normal.map(|v| v * along));
    let drift = length(across) * (frames.len() - 1) as f64 / first.smaller_pixel_spacing();
    let step = if drift <= ROUNDING_DRIFT_PIXELS { normal.map(|v| v * length(step)) } else { step };
    let leans = drift > ROUNDING_DRIFT_PIXELS && length(across) > RIGHT_ANGLE_TOLERANCE * length(step);
    if drift > REPORTED_DRIFT_PIXELS || leans {
        findings.push(DicomFinding::GantryTilt { degrees: length(across).atan2(along).to_degrees() });
    }
    let [x, y] = first.orientation;
    let [dx, dy] = first.pixel_spacing;
    let columns = [x.map(|v| v * dx), y.map(|v| v * dy), step, first.position];
    let row = |axis: usize, sign: f64| columns.map(|column| sign * column[axis] + 0.0);
    let affine = Affine::new([row(0, -1.0), row(1, -1.0), row(2, 1.0), [0.0, 0.0, 0.0, 1.0]]);
    let size = [first.size[0], first.size[1], frames.len()];
    Arrangement { grid: affine.and_then(|affine| Grid::new(size, affine)), findings }
}

/// Missing slices and uneven distances.
fn spacing_of(frames: &[&Frame], normal: Vector) -> Vec<DicomFinding> {
    let along: Vec<f64> = frames.iter().map(|frame| dot(frame.position, normal)).collect();
    let gaps: Vec<f64> = along.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let usual = usual_gap(&along, frames[0]);
    let mut findings = Vec::new();
    // The number of each slice, counting those that are missing.
    let mut numbers = vec![0usize];
    let mut missing = Vec::new();
    for (gap, start) in gaps.iter().zip(&along) {
        let steps = steps_in(*gap, usual);
        missing.extend((1..steps).map(|k| start + gap * k as f64 / steps as f64));
        numbers.push(numbers[numbers.len() - 1] + steps);
    }
    if !missing.is_empty() {
        findings.push(DicomFinding::MissingSlices { spacing_mm: usual, positions_mm: missing });
    }
    let (first, last) = (frames[0].position, frames[frames.len() - 1].position);
    let step = minus(last, first).map(|v| v / numbers[numbers.len() - 1] as f64);
    let deviations = frames
        .iter()
        .zip(&numbers)
        .map(|(frame, &number)| length(minus(frame.position, plus(first, step.map(|v| v * number as f64)))));
    let (worst, deviation_mm) =
        deviations.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b)).expect("there are two slices");
    let spacing_mm = dot(step, normal);
    if deviation_mm > REPORTED_DEVIATION * spacing_mm {
        findings.push(DicomFinding::UnevenSpacing {
            spacing_mm,
            smallest_mm: gaps.iter().copied().fold(f64::INFINITY, f64::min),
            largest_mm: gaps.iter().copied().fold(0.0, f64::max),
            deviation_mm,
            file: frames[worst].path(),
        });
    }
    findings
}

/// How many steps from slice to slice a gap is, if it is a multiple of the usual one; else 1.
fn steps_in(gap: f64, usual: f64) -> usize {
    let multiple = (gap / usual).round();
    let is_multiple = (gap / usual - multiple).abs() <= MULTIPLE_TOLERANCE;
    if is_multiple && (2.0..MAX_STEPS).contains(&multiple) { multiple as usize } else { 1 }
}

/// What is not the same in all slices and should be, and what values and directions lack.
fn mixed(frames: &[&Frame], modality: &str) -> Vec<DicomFinding> {
    let mut findings = Vec::new();
    let sizes = kinds(frames, |frame| frame.size, |a, b| a == b);
    if sizes.len() > 1 {
        findings.push(DicomFinding::MixedSizes { sizes });
    }
    let near = |a: &[f64; 2], b: &[f64; 2]| {
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= PIXEL_SPACING_TOLERANCE * a.abs())
    };
    let spacings = kinds(frames, |frame| frame.pixel_spacing, near);
    if spacings.len() > 1 {
        findings.push(DicomFinding::MixedPixelSpacing { spacings });
    }
    findings.extend(mixed_acquisitions(frames));
    let count = |of: fn(&Frame) -> bool| frames.iter().filter(|frame| of(frame)).count();
    let tables = count(|frame| frame.value_table);
    if tables > 0 {
        findings.push(DicomFinding::ValueTable { count: tables });
    }
    let unscaled = count(|frame| !frame.rescaled && !frame.value_table);
    if modality == "CT" && unscaled > 0 {
        findings.push(DicomFinding::NoRescale { count: unscaled });
    }
    let moved_pixels = frames.iter().map(|frame| frame.corner_moved_pixels).fold(0.0, f64::max);
    if moved_pixels > REPORTED_CORNER_PIXELS {
        findings.push(DicomFinding::InexactDirections { moved_pixels });
    }
    let rescales = kinds(frames, |frame| [frame.slope, frame.intercept], |a, b| a == b);
    if rescales.len() > 1 {
        findings.push(DicomFinding::MixedRescale { count: rescales.len() });
    }
    if frames.iter().any(|frame| frame.inverted) {
        findings.push(DicomFinding::Inverted);
    }
    if frames.iter().any(|frame| frame.lossy) {
        findings.push(DicomFinding::Lossy);
    }
    findings
}

/// A slice is compared with so many kinds, those met last: a file may claim a hundred thousand.
pub(super) const MOST_COMPARED: usize = 256;

/// The kinds of what `of` gives, how many slices have each, and the first file that does.
fn kinds<K: Copy>(
    frames: &[&Frame],
    of: impl Fn(&Frame) -> K,
    same: impl Fn(&K, &K) -> bool,
) -> Vec<(K, usize, PathBuf)> {
    let mut kinds: Vec<(K, usize, PathBuf)> = Vec::new();
    for frame in frames {
        let kind = of(frame);
        match kinds.iter_mut().rev().take(MOST_COMPARED).find(|(known, ..)| same(known, &kind)) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((kind, 1, frame.path())),
        }
    }
    kinds
}

impl Frame {
    /// X × Y, of unit length.
    fn normal(&self) -> Vector {
        let [x, y] = self.orientation;
        let normal = cross(x, y);
        let norm = length(normal);
        normal.map(|v| v / norm)
    }

    fn smaller_pixel_spacing(&self) -> f64 {
        self.pixel_spacing[0].min(self.pixel_spacing[1])
    }

    /// What tells it from all others: file, then frame.
    pub(super) fn place_in_files(&self) -> (&std::path::Path, usize) {
        (&self.source.path, self.index)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.source.path.to_path_buf()
    }
}

fn dot(u: Vector, v: Vector) -> f64 {
    u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
}

fn cross(u: Vector, v: Vector) -> Vector {
    [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
}

fn plus(u: Vector, v: Vector) -> Vector {
    [u[0] + v[0], u[1] + v[1], u[2] + v[2]]
}

fn minus(u: Vector, v: Vector) -> Vector {
    [u[0] - v[0], u[1] - v[1], u[2] - v[2]]
}

fn length(u: Vector) -> f64 {
    dot(u, u).sqrt()
}
