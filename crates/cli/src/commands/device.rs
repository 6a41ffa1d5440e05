//! Where to compute, by name.

use anyhow::{Context, Result, bail};
use organseg::pipeline::Device;

/// The device called `name`: `cpu`, `cuda:N` for the GPU of that number, `auto` for the first GPU if there is one and else
/// the CPU.
pub(crate) fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(first_gpu()),
        _ => {}
    }
    let Some(number) = name.strip_prefix("cuda:").and_then(|number| number.parse().ok()) else {
        bail!("--device {name}: expected cpu, cuda:N or auto")
    };
    gpu(number).with_context(|| {
        if cfg!(feature = "cuda") {
            format!(
                "--device {name}: looked for NVIDIA's driver and GPU number {number} of this machine (`organseg doctor` \
                 says what there is)"
            )
        } else {
            format!("--device {name}")
        }
    })
}

/// The first GPU, or the CPU, saying which and why.
fn first_gpu() -> Device {
    match gpu(0) {
        Ok(device) => {
            eprintln!("--device auto: cuda:0");
            device
        }
        Err(error) => {
            eprintln!("--device auto: the CPU ({error})");
            Device::Cpu
        }
    }
}

#[cfg(feature = "cuda")]
fn gpu(number: usize) -> Result<Device> {
    Ok(organseg::conv3d::cuda::device(number)?)
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize) -> Result<Device> {
    bail!("this organseg was built without its `cuda` feature")
}
