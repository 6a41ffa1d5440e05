//! The device that `--device` names, and what is said of it.

use anyhow::{Context, Result};
use organseg::pipeline::{Device, DeviceChoice};

/// Opens it; of `auto`, says what was taken and why.
pub(crate) fn open(choice: DeviceChoice) -> Result<Device> {
    let device = choice.open().with_context(|| format!("--device {choice}"))?;
    if choice == DeviceChoice::Auto {
        match DeviceChoice::Cuda(0).open() {
            Err(error) if device.is_cpu() => eprintln!("--device auto: the CPU ({error})"),
            _ => eprintln!("--device auto: cuda:0"),
        }
    }
    Ok(device)
}
