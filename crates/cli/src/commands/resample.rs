//! `organseg resample`

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use organseg::volume::{
    AntiAliasing, Grid, Interpolation, ReadLimits, ResampleConfig, Spacing, Volume, Voxel, grid_with_size,
    grid_with_spacing, probe, resample_with, write,
};

use super::dicom::SeriesChoice;
use super::typed::{ForAnyType, with_stored_type};
use crate::arguments::{size, spacing};

/// Put an image on another grid.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
pub(crate) struct Options {
    /// Image to read, or a folder of DICOM files.
    input: PathBuf,
    /// Image to write.
    output: PathBuf,
    /// Spacing in millimetres; the region stays.
    #[arg(long, value_name = "X,Y,Z", value_parser = spacing, group = "target")]
    spacing: Option<[f64; 3]>,
    /// Size in voxels; the region stays.
    #[arg(long, value_name = "X,Y,Z", value_parser = size, group = "target")]
    size: Option<[usize; 3]>,
    /// Size, spacing and place of another image; the input's smallest value where it does not reach.
    #[arg(long, value_name = "IMAGE", group = "target")]
    like: Option<PathBuf>,
    /// nearest (for labels), linear, cubic, or area: the mean over each new voxel, for shrinking.
    #[arg(long, value_name = "HOW", default_value_t = Interpolation::Linear)]
    interpolation: Interpolation,
    /// Another interpolation along the axis of the input's largest spacing, for scans of thick slices.
    #[arg(long, value_name = "HOW")]
    across_slices: Option<Interpolation>,
    /// Blur before shrinking, so that detail that the new grid cannot hold does not come back as a pattern.
    #[arg(long)]
    anti_alias: bool,
    #[command(flatten)]
    series: SeriesChoice,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    with_stored_type(&options.input, &options.series, &Resampler(options))
}

struct Resampler<'a>(&'a Options);

impl ForAnyType for Resampler<'_> {
    fn run<T: Voxel>(&self, image: &Volume<T>) -> Result<()> {
        let options = self.0;
        let grid: Grid = if let Some(spacing) = options.spacing {
            grid_with_spacing(image.grid(), Spacing::new(spacing)?)?
        } else if let Some(size) = options.size {
            grid_with_size(image.grid(), size)?
        } else {
            let like = options.like.as_ref().expect("one of the three is required");
            probe(like)?.grid
        };
        let bytes = (grid.voxel_count() as u64).saturating_mul(size_of::<T>() as u64);
        let limit = ReadLimits::default().max_bytes;
        ensure!(
            bytes <= limit,
            "{}: {:?} voxels would take {bytes} bytes of memory, the limit is {limit}",
            options.output.display(),
            grid.size()
        );
        let smallest =
            image.voxels().iter().copied().reduce(|a, b| if b.to_f64() < a.to_f64() { b } else { a });
        let fill = smallest.expect("an image has voxels");
        let mut config = ResampleConfig::new(options.interpolation);
        config.across_slices = options.across_slices;
        if options.anti_alias {
            config.anti_aliasing = AntiAliasing::Gaussian;
        }
        Ok(write(&options.output, &resample_with(image, &grid, &config, fill))?)
    }
}
