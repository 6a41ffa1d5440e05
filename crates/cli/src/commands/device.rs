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
    if cfg!(not(feature = "cuda")) {
        bail!("--device {name}: this organseg was built without its `cuda` feature");
    }
    let device = Device::new_cuda(number).with_context(|| {
        format!("--device {name}: looked for NVIDIA's driver and GPU number {number} of this machine (`organseg doctor` \
                 says what there is)")
    })?;
    keep_memory(&device)?;
    Ok(device)
}

/// The first GPU, or the CPU, saying which and why.
fn first_gpu() -> Device {
    let gpu = if cfg!(feature = "cuda") {
        Device::new_cuda(0)
            .map_err(anyhow::Error::from)
            .and_then(|device| keep_memory(&device).map(|()| device))
    } else {
        Err(anyhow::anyhow!("this organseg was built without its `cuda` feature"))
    };
    match gpu {
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

/// Each step asks for the memory that the one before has freed.
#[cfg(feature = "cuda")]
fn keep_memory(device: &Device) -> Result<()> {
    Ok(organseg::conv3d::cuda::keep_freed_memory(device)?)
}

#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "the build with CUDA can fail here")]
fn keep_memory(_: &Device) -> Result<()> {
    Ok(())
}
