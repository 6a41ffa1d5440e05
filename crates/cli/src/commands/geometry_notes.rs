//! What is out of the ordinary in where an image says that it lies.

use organseg::volume::{GEOMETRY_TOLERANCE_VOXELS, Grid, ImageInfo, RIGHT_ANGLE_TOLERANCE};

/// A sentence for each: other programs may place the image elsewhere than this one does.
pub(crate) fn geometry_notes(info: &ImageInfo) -> Vec<String> {
    let mut notes: Vec<String> = orientation_note(info).into_iter().chain(qform_note(info)).collect();
    let residual = info.orthogonality_residual;
    if residual > RIGHT_ANGLE_TOLERANCE {
        notes.push(format!(
            "the axes are not at right angles: |cosine| up to {residual:.2e}; ITK may refuse it"
        ));
    }
    notes
}

/// Said of a NIfTI file without a place in the world.
fn orientation_note(info: &ImageInfo) -> Option<String> {
    (info.affine_source == "pixdim").then(|| {
        "the file has neither a sform nor a qform and says nothing about orientation: its axes are taken as right, front and \
         up (RAS), from voxel 0 on; left and right may be exchanged"
            .to_string()
    })
}

/// Where a NIfTI file's qform leads, if that is elsewhere than its sform.
fn qform_note(info: &ImageInfo) -> Option<String> {
    let other = Grid::new(info.grid.size(), info.qform?).ok()?;
    let voxels = info.grid.corner_distances_voxels(&other);
    if voxels.iter().all(|&v| v <= GEOMETRY_TOLERANCE_VOXELS) {
        return None;
    }
    let spacing = info.grid.spacing().to_array();
    let mm = [0, 1, 2].map(|a| format!("{:.3}", voxels[a] * spacing[a])).join(", ");
    Some(format!("the qform leads elsewhere, up to ({mm}) mm along (x, y, z); other programs may take it"))
}
