//! Smaller tiles where a GPU's memory does not do for larger ones.

use std::error::Error;

use candle_core::Device;

use crate::PipelineError;

/// Tiles are halved down to this side.
const SMALLEST_SIDE: usize = 32;

/// Calls `run` with `tile` and, as long as `device`, a GPU, has not the memory for it, with half of it along its longest
/// axis.
pub(crate) fn with_tiles_that_fit<R>(
    mut tile: [usize; 3],
    device: &Device,
    mut run: impl FnMut([usize; 3]) -> Result<R, PipelineError>,
) -> Result<R, PipelineError> {
    loop {
        match run(tile) {
            Err(error) if is_out_of_memory(&error) => match halved(tile) {
                Some(smaller) => {
                    give_back_memory(device)?;
                    tile = smaller;
                }
                None => return Err(error),
            },
            done => return done,
        }
    }
}

/// Gives back to the card what the larger tile has left.
fn give_back_memory(device: &Device) -> Result<(), PipelineError> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        organseg_conv3d::cuda::free_kept_memory(device)?;
    }
    let _ = device;
    Ok(())
}

/// Half of `tile` along its longest axis, rounded up to whole sixteens; nothing if it is as small as it may be.
fn halved(mut tile: [usize; 3]) -> Option<[usize; 3]> {
    let longest = (0..3).max_by_key(|&a| tile[a]).filter(|&a| tile[a] > SMALLEST_SIDE)?;
    tile[longest] = tile[longest].div_ceil(2).next_multiple_of(16).max(SMALLEST_SIDE);
    Some(tile)
}

/// What CUDA, cuDNN (9, and before) and cuBLAS call it.
const NAMES: [&str; 5] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
];

/// Whether one of them found no memory on the card.
fn is_out_of_memory(error: &PipelineError) -> bool {
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let text = format!("{error} {error:?}");
        if NAMES.iter().any(|name| text.contains(name)) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> PipelineError {
        candle_core::Error::Msg(text.into()).into()
    }

    #[test]
    fn tiles_are_halved_until_they_fit() {
        let mut tried = Vec::new();
        let fits = with_tiles_that_fit([160, 160, 129], &Device::Cpu, |tile| {
            tried.push(tile);
            let fits = tile.iter().product::<usize>() <= 1_000_000;
            if fits {
                Ok(tile)
            } else {
                Err(failure("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")"))
            }
        });
        assert_eq!(tried, [[160, 160, 129], [160, 80, 129], [80, 80, 129]]);
        assert_eq!(fits.unwrap(), [80, 80, 129]);
    }

    #[test]
    fn what_never_fits_and_what_is_another_failure_is_an_error() {
        let mut calls = 0;
        let mut fail = |text: &str| {
            calls = 0;
            let failed = with_tiles_that_fit([64, 64, 64], &Device::Cpu, |_| -> Result<(), _> {
                calls += 1;
                Err(failure(text))
            });
            assert!(failed.is_err());
            calls
        };
        assert_eq!(fail("CudnnError(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)"), 4);
        assert_eq!(fail("CUDA_ERROR_ILLEGAL_ADDRESS"), 1);
    }
}
