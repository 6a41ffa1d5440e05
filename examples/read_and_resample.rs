//! Reads a scan, says where it lies in the world, and writes it again with cubic voxels.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use organseg::phantom::{PhantomConfig, generate};
use organseg::pipeline::Montage;
use organseg::volume::{Interpolation, Orientation, Spacing, grid_with_spacing, read_image, resample, write};

/// Puts a scan on a grid of another spacing.
#[derive(Parser)]
struct Arguments {
    /// A NIfTI scan; a phantom if none is given.
    scan: Option<PathBuf>,
    /// Distance between voxels along all axes in millimetres.
    #[arg(long, default_value_t = 1.5)]
    spacing: f64,
    /// Where the result goes.
    #[arg(long, default_value = "out/read_and_resample")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let path = match arguments.scan {
        Some(path) => path,
        None => {
            let path = arguments.out.join("phantom.nii.gz");
            write(&path, &generate(&PhantomConfig::default(), 1)?.image)?;
            path
        }
    };
    let scan = read_image(&path)?;
    println!("{}", path.display());
    println!("  size         {:?} voxels", scan.size());
    println!("  spacing      {:.3?} mm", scan.grid().spacing().to_array());
    println!("  orientation  {}", Orientation::of(scan.grid().affine()));
    println!("  first voxel  {:.1?} mm (right, front, head)", scan.grid().voxel_to_world([0.0; 3]));

    let grid = grid_with_spacing(scan.grid(), Spacing::isotropic(arguments.spacing)?)?;
    let air = scan.voxels().iter().copied().fold(f32::INFINITY, f32::min);
    let resampled = resample(&scan, &grid, Interpolation::Cubic, air);
    let written = arguments.out.join("resampled.nii.gz");
    write(&written, &resampled)?;
    println!("{}\n  size         {:?} voxels", written.display(), resampled.size());

    // The same slices before and after, without an outline.
    let mut montage = Montage::default();
    for volume in [&scan, &resampled] {
        montage.add_row(volume, &[], 4);
    }
    let picture = arguments.out.join("before_and_after.png");
    montage.save(&picture)?;
    println!("{}", picture.display());
    Ok(())
}
