//! Cuts the region of an organ out of a scan, works on it, and puts the result back where it was.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use organseg::phantom::{PhantomConfig, generate};
use organseg::pipeline::Montage;
use organseg::roi::{BoundingBox, Connectivity, crop, largest_component, paste};
use organseg::volume::{LabelVolume, read_image, read_labels, write};

/// Crops a scan to the box of a mask.
#[derive(Parser)]
struct Arguments {
    /// A NIfTI scan; a phantom if none is given.
    #[arg(requires = "mask")]
    scan: Option<PathBuf>,
    /// The organ's mask on the same grid.
    mask: Option<PathBuf>,
    /// Margin on every side in millimetres.
    #[arg(long, default_value_t = 15.0)]
    margin_mm: f64,
    /// Where the crop goes.
    #[arg(long, default_value = "out/crop_to_organ")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let (scan, mask) = match (&arguments.scan, &arguments.mask) {
        (Some(scan), Some(mask)) => (read_image(scan)?, read_labels(mask)?),
        _ => {
            let phantom = generate(&PhantomConfig::default(), 1)?;
            (phantom.image, phantom.labels)
        }
    };
    scan.grid().check_same(mask.grid())?;
    let organ = BoundingBox::of_mask(&mask).context("the mask is empty")?;
    let place = organ
        .grow_mm(arguments.margin_mm, scan.grid().spacing())
        .clamp_to(scan.size())
        .context("the box lies outside the scan")?;
    println!("organ  {:?} to {:?}", organ.min(), organ.max());
    let share = 100.0 * place.voxel_count() as f64 / scan.voxels().len() as f64;
    println!("crop   {:?} to {:?}: {share:.1} % of the scan", place.min(), place.max());

    // What one would do in the crop: here, everything between 0 and 100 HU that hangs together.
    let small = crop(&scan, &place, -1000.0);
    let soft = small.map(|hu| u8::from((0.0..100.0).contains(&hu)));
    let found = largest_component(&soft, Connectivity::Six);

    // Back on the scan's grid. The crop knows where it lies: both open at the same place in any viewer.
    let mut whole = LabelVolume::filled(*scan.grid(), 0);
    paste(&mut whole, &found, &place)?;
    let written =
        ["crop.nii.gz", "found_in_crop.nii.gz", "found_in_scan.nii.gz"].map(|n| arguments.out.join(n));
    write(&written[0], &small)?;
    write(&written[1], &found)?;
    write(&written[2], &whole)?;
    let mut montage = Montage::default();
    montage.add_row(&scan, &[(&mask, [60, 220, 60]), (&whole, [255, 180, 60])], 4);
    let picture = arguments.out.join("crop.png");
    montage.save(&picture)?;
    for path in written.iter().chain([&picture]) {
        println!("{}", path.display());
    }
    Ok(())
}
