//! Where the voxels of an NRRD file lie: `space directions` and `space origin`, else `spacings`.

use std::path::Path;

use super::space::{Space, unnamed};
use super::vectors;
use crate::text_header::{Axis, Fields, grid_of};
use crate::{Grid, VolumeError};

/// What went wrong, before the file is named.
enum Fault {
    Header(String),
    Size,
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Header(reason)
    }
}

/// The grid of an image of `sizes` in RAS millimetres, and which field the affine is from.
///
/// Axes that do not run through space (direction `none`, or a kind such as `vector` or `time`) must have
/// one entry and are left out. Without a space the axes are those of LPS, as ITK takes them.
pub(super) fn grid_from(
    fields: &Fields,
    sizes: &[usize],
    path: &Path,
) -> Result<(Grid, &'static str), VolumeError> {
    let (axes, origin, source) = axes_of(fields, sizes).map_err(|fault| match fault {
        Fault::Header(reason) => VolumeError::Format { path: path.to_path_buf(), reason },
        Fault::Size => VolumeError::NotThreeDimensional { path: path.to_path_buf(), size: sizes.to_vec() },
    })?;
    let grid = grid_of(&axes, origin).map_err(|error| error.in_file(path))?;
    Ok((grid, source))
}

type Axes = (Vec<Axis>, [f64; 3], &'static str);

fn axes_of(fields: &Fields, sizes: &[usize]) -> Result<Axes, Fault> {
    let space = match (fields.text("space"), fields.text("space dimension")) {
        (Some(name), _) => Some(Space::named(name)?),
        (None, Some(n)) => return Err(unnamed(&format!("its space has {n} dimensions and no name")).into()),
        (None, None) => None,
    };
    let space_or_lps = space.unwrap_or(Space::LPS);
    let (steps, source) = match fields.text("space directions") {
        Some(_) if space.is_none() => {
            return Err(unnamed("it has `space directions` and no `space`").into());
        }
        Some(text) => (directions(fields, text, sizes.len(), space_or_lps)?, "space directions"),
        None => (along_the_world(fields, sizes.len(), space_or_lps)?, "spacings"),
    };
    let spatial: Vec<usize> = (0..sizes.len()).filter(|&axis| steps[axis].is_some()).take(3).collect();
    if (0..sizes.len()).any(|axis| !spatial.contains(&axis) && sizes[axis] != 1) {
        return Err(Fault::Size);
    }
    let origin = match space {
        Some(space) => space_origin(fields, space)?,
        None => axis_origin(fields, sizes.len(), &spatial, &steps)?,
    };
    let axis = |&axis: &usize| Some(Axis { size: sizes[axis], step_mm: steps[axis]? });
    Ok((spatial.iter().filter_map(axis).collect(), origin, source))
}

/// The step along each axis in RAS millimetres, from `space directions`.
fn directions(
    fields: &Fields,
    text: &str,
    axes: usize,
    space: Space,
) -> Result<Vec<Option<[f64; 3]>>, String> {
    let n = space.dimension;
    let expected =
        || fields.unexpected("space directions", &format!("{axes} vectors of {n} numbers or `none`"));
    let vectors = vectors::parse(text, axes).ok_or_else(expected)?;
    let sound = vectors.len() == axes && vectors.iter().flatten().all(|v| v.len() == n);
    if !sound {
        return Err(expected());
    }
    let millimetres = unit_scales(fields, n)?;
    let step = |vector: Option<Vec<f64>>| {
        let v = vector?;
        // The axis of time runs through no space.
        let still = n == 4 && v[..3] == [0.0; 3];
        (!still).then(|| [0, 1, 2].map(|a| v[a] * space.signs[a] * millimetres[a]))
    };
    Ok(vectors.into_iter().map(step).collect())
}

/// The step along each axis if the axes are those of the world: `spacings`, or 1.
fn along_the_world(fields: &Fields, axes: usize, space: Space) -> Result<Vec<Option<[f64; 3]>>, String> {
    let spacings = fields.numbers::<f64>("spacings", axes, "numbers")?.unwrap_or(vec![1.0; axes]);
    let kinds = match fields.text("kinds") {
        None => vec!["domain"; axes],
        Some(text) => text.split_whitespace().take(axes + 1).collect(),
    };
    if kinds.len() != axes {
        return Err(fields.unexpected("kinds", &format!("{axes} words")));
    }
    let mut steps = vec![None; axes];
    let spatial = (0..axes).filter(|&axis| runs_through_space(kinds[axis])).take(3);
    for (world, axis) in spatial.enumerate() {
        let mut step = [0.0; 3];
        step[world] = spacings[axis] * space.signs[world];
        steps[axis] = Some(step);
    }
    Ok(steps)
}

fn runs_through_space(kind: &str) -> bool {
    // The last two say that the kind is not known.
    ["domain", "space", "none", "???"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// `space origin`, or zero, in RAS millimetres.
fn space_origin(fields: &Fields, space: Space) -> Result<[f64; 3], String> {
    let Some(text) = fields.text("space origin") else { return Ok([0.0; 3]) };
    let n = space.dimension;
    let millimetres = unit_scales(fields, n)?;
    match vectors::parse(text, 1).as_deref() {
        Some([Some(v)]) if v.len() == n => Ok([0, 1, 2].map(|a| v[a] * space.signs[a] * millimetres[a])),
        _ => Err(fields.unexpected("space origin", &format!("a vector of {n} numbers"))),
    }
}

/// The first voxel's centre from `axis mins`, as ITK computes it: the minimum itself if the axis is
/// centred on nodes, else the first voxel's face.
fn axis_origin(
    fields: &Fields,
    axes: usize,
    spatial: &[usize],
    steps: &[Option<[f64; 3]>],
) -> Result<[f64; 3], String> {
    let Some(mins) = fields.numbers::<f64>("axis mins", axes, "numbers")? else { return Ok([0.0; 3]) };
    let centerings: Vec<&str> =
        fields.text("centerings").unwrap_or("").split_whitespace().take(axes).collect();
    let mut origin = [0.0; 3];
    for (world, &axis) in spatial.iter().enumerate() {
        let step = steps[axis].map_or(0.0, |step| step[world]);
        let node = centerings.get(axis).is_some_and(|word| word.eq_ignore_ascii_case("node"));
        let min = if mins[axis].is_nan() { 0.0 } else { mins[axis] * Space::LPS.signs[world] };
        let to_centre = if node || mins[axis].is_nan() { 0.0 } else { step / 2.0 };
        origin[world] = min + to_centre;
    }
    Ok(origin)
}

/// Millimetres in one of the world's units, axis by axis.
fn unit_scales(fields: &Fields, dimension: usize) -> Result<[f64; 3], String> {
    let Some(text) = fields.text("space units") else { return Ok([1.0; 3]) };
    // Units stand in quotes, with or without blanks between them.
    let units: Vec<&str> = text.split('"').skip(1).step_by(2).take(dimension + 1).collect();
    if units.len() != dimension {
        return Err(fields.unexpected("space units", &format!("{dimension} units in quotes")));
    }
    Ok([0, 1, 2].map(|axis| match units[axis].trim().to_ascii_lowercase().as_str() {
        "m" | "meter" | "metre" => 1e3,
        "cm" => 10.0,
        "um" | "\u{b5}m" | "\u{3bc}m" | "micron" => 1e-3,
        // Most writers say "mm", some nothing that means anything.
        _ => 1.0,
    }))
}
