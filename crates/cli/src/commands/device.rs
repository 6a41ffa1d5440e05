//! Where to compute, by name.

use anyhow::{Context, Result, bail};
use organseg::pipeline::Device;

/// The device called `name`: `cpu`, or `cuda:N` for the GPU of that number.
pub(crate) fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let Some(number) = name.strip_prefix("cuda:").and_then(|number| number.parse().ok()) else {
        bail!("--device {name}: expected cpu or cuda:N")
    };
    if cfg!(not(feature = "cuda")) {
        bail!("--device {name}: this organseg was built without its `cuda` feature");
    }
    Device::new_cuda(number).with_context(|| format!("--device {name}: no such device"))
}
