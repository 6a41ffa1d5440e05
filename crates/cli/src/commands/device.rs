//! Where to compute, by name.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use organseg::pipeline::Device;

/// What `--device` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// `cpu`
    Cpu,
    /// `cuda:N`, the GPU of that number.
    Cuda(usize),
    /// `auto`, the first GPU if there is one and else the CPU.
    Auto,
}

impl FromStr for DeviceChoice {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            _ => {
                let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number.map(Self::Cuda).ok_or("expected cpu, cuda:N or auto")
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl DeviceChoice {
    /// The device itself.
    pub(crate) fn open(self) -> Result<Device> {
        let number = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Auto => return Ok(first_gpu()),
            Self::Cuda(number) => number,
        };
        gpu(number).with_context(|| {
            if cfg!(feature = "cuda") {
                format!(
                    "--device {self}: looked for NVIDIA's driver and GPU number {number} of this machine (`organseg \
                     doctor` says what there is)"
                )
            } else {
                format!("--device {self}")
            }
        })
    }
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
    anyhow::bail!("this organseg was built without its `cuda` feature")
}
