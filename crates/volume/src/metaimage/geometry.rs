//! Where the voxels of a MetaImage lie: `Offset`, `TransformMatrix` and `ElementSpacing`.

use crate::text_header::{Axis, Fields};

/// The names under which a header may give the position of the first voxel and the matrix; where there are
/// several, MetaIO takes the first of this order.
const OFFSET: [&str; 3] = ["Origin", "Position", "Offset"];
const MATRIX: [&str; 3] = ["TransformMatrix", "Rotation", "Orientation"];

/// Letters that say "left, posterior, superior" in one of two ways: those that the axes run to, as MetaIO's
/// documentation has it, or those that they come from, as ITK writes it; or that nothing is known.
const PLAIN_ORIENTATIONS: [&str; 4] = ["LPS", "RAI", "???", ""];

/// The axes and the first voxel's place in RAS millimetres, and which field the directions are from.
pub(super) fn axes_of(
    fields: &Fields,
    sizes: &[usize],
) -> Result<(Vec<Axis>, [f64; 3], &'static str), String> {
    let n = sizes.len();
    let millimetres = millimetres(fields)?;
    let numbers = |names: &[&'static str], count: usize| match fields.first_of(names) {
        Some((name, _)) => fields.numbers::<f64>(name, count, "numbers").map(|v| v.map(|v| (name, v))),
        None => Ok(None),
    };
    let spacing = numbers(&["ElementSpacing", "ElementSize"], n)?.map_or(vec![1.0; n], |(_, v)| v);
    let offset = numbers(&OFFSET, n)?.map_or(vec![0.0; n], |(_, v)| v);
    let (source, matrix) = match numbers(&MATRIX, n * n)? {
        Some(matrix) => matrix,
        None => (without_matrix(fields)?, identity(n)),
    };
    let axes = (0..n.min(3)).map(|axis| {
        let direction = &matrix[axis * n..][..n];
        Axis { size: sizes[axis], step_mm: ras(direction).map(|v| v * spacing[axis] * millimetres) }
    });
    Ok((axes.collect(), ras(&offset).map(|v| v * millimetres), source))
}

/// The first three numbers of an LPS vector, in RAS; a slice lies at 0 of the third axis.
fn ras(lps: &[f64]) -> [f64; 3] {
    let number = |axis: usize| lps.get(axis).copied().unwrap_or(0.0);
    [-number(0), -number(1), number(2)]
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect()
}

/// The axes are those of the world, unless `AnatomicalOrientation` denies it: what it says instead depends on
/// whom one asks.
fn without_matrix(fields: &Fields) -> Result<&'static str, String> {
    let name = "AnatomicalOrientation";
    let orientation = fields.text(name).unwrap_or_default();
    if PLAIN_ORIENTATIONS.iter().any(|plain| plain.eq_ignore_ascii_case(orientation)) {
        return Ok("ElementSpacing");
    }
    let expected = "a TransformMatrix beside it: the letters alone mean opposite things to different programs \
                    (ITK ignores them; add `TransformMatrix = 1 0 0 0 1 0 0 0 1` to have it ITK's way)";
    Err(fields.unexpected(name, expected))
}

/// Millimetres in the header's unit of length.
fn millimetres(fields: &Fields) -> Result<f64, String> {
    match fields.text("DistanceUnits").unwrap_or("mm").to_ascii_lowercase().as_str() {
        "mm" | "?" | "" => Ok(1.0),
        "um" => Ok(1e-3),
        "cm" => Ok(10.0),
        _ => Err(fields.unexpected("DistanceUnits", "um, mm or cm")),
    }
}
