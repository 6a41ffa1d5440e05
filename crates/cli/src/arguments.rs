//! What can be asked for on the command line.

use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand, value_parser};

use crate::commands::{
    check, convert, cross_validate, doctor, evaluate, import_nih, import_weights, info, phantom, plan,
    resample, segment, train,
};

/// Coarse-to-fine 3D organ segmentation.
///
/// A first network finds the organ at a quarter of the resolution, a second looks again at full
/// resolution inside that region, and their masks vote.
#[derive(Parser)]
#[command(version, name = "organseg")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Threads to compute with; all of the machine's if not given. Results do not depend on it.
    #[arg(long, global = true, value_parser = value_parser!(u16).range(1..).map(usize::from))]
    pub(crate) threads: Option<usize>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Phantom(phantom::Options),
    Info(info::Options),
    Convert(convert::Options),
    Resample(resample::Options),
    Check(check::Options),
    ImportNih(import_nih::Options),
    ImportWeights(import_weights::Options),
    Plan(plan::Options),
    Train(Box<train::Options>),
    Segment(segment::Options),
    Evaluate(evaluate::Options),
    CrossValidate(Box<cross_validate::Options>),
    Doctor(doctor::Options),
}

/// Three values in one argument: `X,Y,Z`.
pub(crate) fn triple<T: std::str::FromStr>(text: &str) -> Result<[T; 3], String> {
    let parsed: Vec<T> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    match <[T; 3]>::try_from(parsed) {
        Ok(values) if text.split(',').count() == 3 => Ok(values),
        _ => Err(format!("`{text}` is not three numbers X,Y,Z")),
    }
}

/// Three positive sizes.
pub(crate) fn size(text: &str) -> Result<[usize; 3], String> {
    let size: [usize; 3] = triple(text)?;
    if size.contains(&0) {
        Err(format!("`{text}` has a zero, expected at least 1 along each axis"))
    } else {
        Ok(size)
    }
}

/// Three positive lengths in millimetres.
pub(crate) fn spacing(text: &str) -> Result<[f64; 3], String> {
    let spacing: [f64; 3] = triple(text)?;
    let valid = spacing.iter().all(|s| s.is_finite() && *s > 0.0);
    if valid { Ok(spacing) } else { Err(format!("`{text}` is not three positive lengths in millimetres")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn triples_are_three_numbers_and_nothing_else() {
        assert_eq!(size("4, 5,6"), Ok([4, 5, 6]));
        for wrong in ["4,5", "4,5,6,7", "4,x,6", "4,5,6,x", "0,1,1", ""] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(spacing("1,-1,1").is_err() && spacing("1,nan,1").is_err());
    }
}
