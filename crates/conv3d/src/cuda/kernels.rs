//! Kernels compiled when they are first used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use candle_core::cuda_backend::cudarc::driver::{CudaFunction, CudaStream, LaunchArgs, LaunchConfig};
use candle_core::cuda_backend::cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{Error, Result};

use super::architecture::{architecture, nvrtc_version};
use super::cards::driver_version;
use super::lists::Rule;
use super::number::CudaNumber;

/// What kernels for lists of tensors know of them.
const LISTS: &str = include_str!("kernels/lists.cu");

/// All kernels, behind what they are told about the number type.
const SOURCES: [&str; 10] = [
    include_str!("kernels/common.cuh"),
    include_str!("kernels/convolution.cu"),
    include_str!("kernels/max_pool.cu"),
    include_str!("kernels/upsample.cu"),
    include_str!("kernels/instance_norm.cu"),
    include_str!("kernels/channels_last.cu"),
    include_str!("kernels/losses.cu"),
    include_str!("kernels/layout.cu"),
    LISTS,
    include_str!("kernels/sums.cu"),
];

/// Threads of a block.
pub(super) const THREADS: u32 = 256;

/// Blocks at most: each thread then takes several elements.
const MOST_BLOCKS: usize = 1 << 16;

/// Blocks that a launch may have along its second axis.
pub(super) const MOST_BLOCKS_DOWN: usize = 65_535;

/// Shared memory that a launch may ask for without more ado.
pub(super) const FREE_SHARED_BYTES: usize = 48 << 10;

/// A kernel of a device.
#[derive(Clone)]
pub(super) struct Kernel {
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Kernel {
    /// A launch to be given its arguments.
    pub(super) fn builder(&self) -> LaunchArgs<'_> {
        self.stream.launch_builder(&self.function)
    }
}

/// Kernels that were loaded, by device, module and name. They stay to the end of the process, also for devices that
/// are gone.
type Loaded = HashMap<(DeviceId, String, String), Kernel>;

/// What was compiled, and for which architecture, by what it is and what the card can.
type Compiled = HashMap<(String, (i32, i32)), (Arc<str>, i32)>;

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);
static COMPILED: Mutex<Option<Compiled>> = Mutex::new(None);

/// The kernel `name` for numbers of type `T`.
pub(super) fn kernel<T: CudaNumber>(device: &CudaDevice, name: &str) -> Result<Kernel> {
    loaded(device, T::MODULE, name, source_of::<T>)
}

/// The kernel that changes the numbers of a list by `rule`.
pub(super) fn kernel_of_rule<T: CudaNumber>(device: &CudaDevice, rule: &Rule) -> Result<Kernel> {
    // All that the source depends on.
    let module = format!("{} {} of {}: {}", T::MODULE, rule.changes, rule.tensors, rule.statements);
    loaded(device, &module, "change_all", || source_of_rule::<T>(rule))
}

fn source_of_rule<T: CudaNumber>(rule: &Rule) -> String {
    let names = &["a", "b", "c", "d"][..rule.tensors];
    let each = |form: &dyn Fn(usize, &str) -> String, names: &[&str]| -> String {
        names.iter().enumerate().map(|(i, name)| form(i, name)).collect()
    };
    let read = each(&|i, name| format!("        A {name} = get(list.at[{i}][slot][i]);\n"), names);
    let write = |i: usize, name: &str| format!("        list.at[{i}][slot][i] = put({name});\n");
    [
        T::SOURCE,
        SOURCES[0],
        LISTS,
        "struct Constants { double s[10]; };",
        "extern \"C\" __global__ void change_all(const __grid_constant__ List list, Constants constants) {",
        "    A s[10];",
        "    for (int i = 0; i < 10; ++i) s[i] = (A)constants.s[i];",
        "    int slot = slot_of(list);",
        "    FOR_EACH_OF_CHUNK(i, list, slot) {",
        &read,
        rule.statements,
        &each(&write, &names[..rule.changes]),
        "    }",
        "}",
    ]
    .join("\n")
}

/// The kernel `name` of `source` for numbers of type `T`, with these lines of `#define` before all of it: each set of them
/// is a module of its own, called `module` and the lines. It may be given `shared_bytes` of shared memory.
pub(super) fn kernel_with<T: CudaNumber>(
    device: &CudaDevice,
    module: &str,
    defines: &str,
    source: &[&str],
    name: &str,
    shared_bytes: usize,
) -> Result<Kernel> {
    let module = format!("{}: {module}: {defines}", T::MODULE);
    loaded_with(device, &module, name, shared_bytes, || source_with::<T>(defines, source))
}

fn source_with<T: CudaNumber>(defines: &str, source: &[&str]) -> String {
    [defines, T::SOURCE, SOURCES[0]].into_iter().chain(source.iter().copied()).collect::<Vec<_>>().join("\n")
}

fn source_of<T: CudaNumber>() -> String {
    [T::SOURCE].into_iter().chain(SOURCES).collect::<Vec<_>>().join("\n")
}

/// Kernel `name` of `module`, compiled and loaded if it was not yet.
fn loaded(device: &CudaDevice, module: &str, name: &str, source: impl FnOnce() -> String) -> Result<Kernel> {
    loaded_with(device, module, name, 0, source)
}

/// As [`loaded`]; when it is loaded, the kernel is let have `shared_bytes` of shared memory that a launch asks for.
fn loaded_with(
    device: &CudaDevice,
    module: &str,
    name: &str,
    shared_bytes: usize,
    source: impl FnOnce() -> String,
) -> Result<Kernel> {
    let key = (device.id(), module.to_string(), name.to_string());
    let lock = || LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernel) = lock().get_or_insert_default().get(&key) {
        return Ok(kernel.clone());
    }
    // The driver loads into the context of the thread, and this thread may have had none.
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().map_err(Error::wrap)?;
    let (ptx, architecture) = compiled(device, module.into(), source)?;
    let function = device
        .get_or_load_custom_func(name, module, &ptx)
        .map_err(|error| error.context(not_loaded(name, architecture)))?
        .into_cuda_function();
    if shared_bytes > FREE_SHARED_BYTES {
        function
            .set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes as i32)
            .map_err(Error::wrap)?;
    }
    let kernel = Kernel { function, stream };
    lock().get_or_insert_default().insert(key, kernel.clone());
    Ok(kernel)
}

/// What to say of a kernel that does not load.
fn not_loaded(name: &str, architecture: i32) -> String {
    let of = |version: Option<(i32, i32)>| {
        version.map_or("an unknown version".into(), |(major, minor)| format!("{major}.{minor}"))
    };
    format!(
        "the kernel {name}, compiled for compute capability {}.{} by NVRTC of CUDA {}, does not load; the driver is \
         for CUDA {} and may be older than NVRTC",
        architecture / 10,
        architecture % 10,
        of(nvrtc_version().ok()),
        of(driver_version().ok())
    )
}

/// `source` as PTX for the card, and the architecture that it is for; compiled if `module` was not yet.
fn compiled(device: &CudaDevice, module: String, source: impl FnOnce() -> String) -> Result<(Arc<str>, i32)> {
    let stream = device.cuda_stream();
    let capability = stream.context().compute_capability().map_err(Error::wrap)?;
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_with(HashMap::new);
    let key = (module, capability);
    if let Some(known) = all.get(&key) {
        return Ok(known.clone());
    }
    let architecture = architecture(capability)?;
    let options = CompileOptions {
        options: vec![format!("--gpu-architecture=compute_{architecture}"), "--std=c++17".into()],
        ..CompileOptions::default()
    };
    let ptx = compile_ptx_with_opts(source(), options).map_err(Error::wrap)?;
    let known = (Arc::from(ptx.to_src()), architecture);
    all.insert(key, known.clone());
    Ok(known)
}

/// Blocks for `count` elements, one a thread where there are not too many.
pub(super) fn for_each(count: usize) -> LaunchConfig {
    let blocks = count.div_ceil(THREADS as usize).clamp(1, MOST_BLOCKS);
    LaunchConfig { grid_dim: (blocks as u32, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// Arguments of a launch, each by its address.
macro_rules! launch {
    ($kernel:expr, $config:expr, [$($argument:expr),* $(,)?]) => {{
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let kernel = $kernel;
        let mut launch = kernel.builder();
        $(launch.arg($argument);)*
        launch.launch($config).map_err(candle_core::Error::wrap).map(drop)
    }};
}
pub(super) use launch;

#[cfg(test)]
pub(super) mod tests {
    use half::{bf16, f16};

    use super::*;

    /// For the oldest cards that tensor cores are asked of, and for newer ones. Needs NVRTC, and no card.
    fn compile(source: &str) {
        for architecture in [80, 90] {
            let options = CompileOptions {
                options: vec![format!("--gpu-architecture=compute_{architecture}"), "--std=c++17".into()],
                ..CompileOptions::default()
            };
            let compiled = compile_ptx_with_opts(source, options);
            assert!(compiled.is_ok(), "{:?}: {}", compiled.err(), &source[..200.min(source.len())]);
        }
    }

    /// Compiles `source` after `defines` for numbers of type `T`.
    pub(in crate::cuda) fn compile_with<T: CudaNumber>(defines: &str, source: &[&str]) {
        compile(&source_with::<T>(defines, source));
    }

    #[test]
    fn all_kernels_compile_for_all_numbers() {
        fn of<T: CudaNumber>() {
            compile(&source_of::<T>());
            let statements = "a = s[0] * a + b; c = sqrt(d);";
            compile(&source_of_rule::<T>(&Rule { statements, tensors: 4, changes: 3 }));
        }
        of::<f32>();
        of::<f64>();
        of::<f16>();
        of::<bf16>();
    }
}
