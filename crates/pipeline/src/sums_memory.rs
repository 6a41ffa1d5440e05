//! Whether class sums fit into memory, before they are asked for: a process that takes what is not there is killed, and with
//! it the scans after this one.

use organseg_volume::ReadLimits;

use crate::PipelineError;

/// Share of the machine's memory that class sums may take; the rest is for the scan, the networks and the system.
const SHARE: f64 = 0.75;

/// Checks that there is memory for sums of `classes` classes in `voxels` voxels.
pub(crate) fn check_sums_fit(classes: usize, voxels: usize) -> Result<(), PipelineError> {
    check(classes, voxels, (ReadLimits::default().max_bytes as f64 * SHARE) as u64)
}

fn check(classes: usize, voxels: usize, limit: u64) -> Result<(), PipelineError> {
    let bytes = (size_of::<f32>() as u64).saturating_mul(classes as u64).saturating_mul(voxels as u64);
    if bytes <= limit { Ok(()) } else { Err(PipelineError::SumsTooLarge { classes, voxels, bytes, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_sums_than_memory_are_refused_with_both_numbers() {
        assert!(check(118, 1000, 4 * 118_000).is_ok());
        let said = check(118, 1000, 4 * 118_000 - 1).unwrap_err().to_string();
        assert!(
            said.contains("118 classes in 1000 voxels would take 472000 bytes") && said.contains("471999"),
            "{said}"
        );
        assert!(check(usize::MAX, usize::MAX, u64::MAX - 1).is_err(), "no overflow");
        assert!(check_sums_fit(2, 1000).is_ok());
    }
}
