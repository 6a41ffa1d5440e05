//! Where to compute, by name.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::PipelineError;

/// Where to compute: what `--device` of the command names.
///
/// ```
/// use organseg_pipeline::DeviceChoice;
/// assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Cuda(1)));
/// assert_eq!(DeviceChoice::Auto.to_string(), "auto");
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// let device = "cpu".parse::<DeviceChoice>()?.open()?;
/// assert!(device.is_cpu());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// `cpu`
    #[default]
    Cpu,
    /// `cuda:N`, the GPU of that number.
    Cuda(usize),
    /// `auto`, the first GPU if there is one and else the CPU.
    Auto,
}

impl DeviceChoice {
    /// The device itself. Asked for on several threads, a GPU is one device with one stream, which candle's own
    /// `Device::new_cuda` does not see to.
    ///
    /// # Errors
    /// [`PipelineError::Gpu`] for a GPU that is not there, [`PipelineError::NoCuda`] for any without the feature `cuda`.
    pub fn open(self) -> Result<Device, PipelineError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => gpu(number),
            Self::Auto => Ok(gpu(0).unwrap_or(Device::Cpu)),
        }
    }
}

#[cfg(feature = "cuda")]
fn gpu(number: usize) -> Result<Device, PipelineError> {
    organseg_conv3d::cuda::device(number).map_err(|source| PipelineError::Gpu { number, source })
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: usize) -> Result<Device, PipelineError> {
    Err(PipelineError::NoCuda)
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            _ => {
                let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number.map(Self::Cuda).ok_or(UnknownDevice)
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

/// A name that is no device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected cpu, cuda:N or auto")]
pub struct UnknownDevice;
