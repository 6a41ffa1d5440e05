//! What NVRTC compiles for.

use std::ffi::c_int;

use candle_core::cuda_backend::cudarc::nvrtc::sys;
use candle_core::{Error, Result, bail};

/// The compute capability to compile for, such as 90 for (9, 0), on a card of `capability`: the newest that NVRTC
/// knows and that is not beyond the card's. A card that is newer than NVRTC reads what was compiled for an older one.
pub(super) fn architecture((major, minor): (c_int, c_int)) -> Result<c_int> {
    let known = known()?;
    let Some(newest) = newest(10 * major + minor, &known) else {
        bail!("the card has compute capability {major}.{minor}, NVRTC compiles for {known:?} (tenths) alone")
    };
    Ok(newest)
}

/// The largest of `known` that is not above `card`.
fn newest(card: c_int, known: &[c_int]) -> Option<c_int> {
    known.iter().copied().filter(|&one| one <= card).max()
}

/// Compute capabilities that NVRTC compiles for.
fn known() -> Result<Vec<c_int>> {
    let mut count = 0;
    // SAFETY: NVRTC writes one number.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count).result() }.map_err(Error::wrap)?;
    let mut all = vec![0; count.max(0) as usize];
    // SAFETY: NVRTC writes as many numbers as it said.
    unsafe { sys::nvrtcGetSupportedArchs(all.as_mut_ptr()).result() }.map_err(Error::wrap)?;
    Ok(all)
}

/// The version of CUDA that NVRTC is of, such as (13, 0).
pub(super) fn nvrtc_version() -> Result<(c_int, c_int)> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: NVRTC writes two numbers.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor).result() }.map_err(Error::wrap)?;
    Ok((major, minor))
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn a_card_that_nvrtc_knows_gets_its_own() {
        assert_eq!(newest(90, &[75, 80, 86, 90, 100]), Some(90));
    }

    #[test]
    fn a_card_newer_than_nvrtc_gets_the_newest_before_it() {
        assert_eq!(newest(120, &[75, 80, 86, 90, 100]), Some(100));
        assert_eq!(newest(89, &[90, 86, 80]), Some(86));
    }

    #[test]
    fn a_card_older_than_nvrtc_gets_none() {
        assert_eq!(newest(61, &[75, 80]), None);
    }
}
