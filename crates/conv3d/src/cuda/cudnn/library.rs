//! cuDNN for one device and thread, and what it keeps from call to call.

use std::cell::{RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc::cudnn::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaStream, DriverError};
use candle_core::cuda_backend::{CudaDevice, DeviceId};
use candle_core::{DType, Error, Result};

use super::candidates::Candidates;
use super::plans::Way;
use crate::cuda::convolution::{Direction, Order};

/// What algorithms are listed for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) direction: Direction,
    pub(super) order: Order,
    pub(super) number: DType,
    pub(super) tf32: bool,
    pub(super) batch: usize,
    pub(super) channels: [usize; 2],
    pub(super) sizes: [[usize; 3]; 4],
}

type Known = HashMap<Key, Rc<Candidates<Way>>>;

thread_local! {
    /// A handle is of one thread. What is here stays as long as the thread does, also for devices that are gone: a
    /// program makes its devices once.
    static LIBRARIES: RefCell<HashMap<DeviceId, Rc<Library>>> = RefCell::new(HashMap::new());
}

/// cuDNN for one device and thread.
pub(super) struct Library {
    pub(super) handle: sys::cudnnHandle_t,
    /// All work of a thread goes here. It keeps the context alive in which handle and workspace are.
    pub(super) stream: Arc<CudaStream>,
    pub(super) known: RefCell<Known>,
    workspace: RefCell<Option<CudaSlice<u8>>>,
}

impl Drop for Library {
    fn drop(&mut self) {
        // What the driver and cuDNN say to this changes nothing any more.
        let _ = self.stream.context().bind_to_thread();
        // Plans go before the handle that they are for.
        self.known.borrow_mut().clear();
        // SAFETY: the handle was made by `Library::of` and is destroyed here alone; its context is alive.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Library {
    /// That of this thread for `device`, whose context is then that of the thread.
    pub(super) fn of(device: &CudaDevice) -> Result<Rc<Self>> {
        let stream = device.cuda_stream();
        stream.context().bind_to_thread().map_err(Error::wrap)?;
        if let Some(library) = LIBRARIES.with(|all| all.borrow().get(&device.id()).cloned()) {
            return Ok(library);
        }
        let handle = result::create_handle().map_err(Error::wrap)?;
        let (known, workspace) = (RefCell::default(), RefCell::default());
        let library = Rc::new(Self { handle, stream, known, workspace });
        let stream = library.stream.cu_stream().cast();
        // SAFETY: the handle was just made, and `library` keeps the stream as long as the handle.
        unsafe { result::set_stream(handle, stream).map_err(Error::wrap)? };
        LIBRARIES.with(|all| all.borrow_mut().insert(device.id(), library.clone()));
        Ok(library)
    }

    /// A workspace of at least `bytes`, for as long as it is borrowed; none if it need have none. That of the call
    /// before will do if it is large enough, for work of one stream is done one piece after the other.
    pub(super) fn workspace(&self, bytes: usize) -> std::result::Result<Workspace<'_>, DriverError> {
        let mut kept = self.workspace.borrow_mut();
        if bytes > 0 && kept.as_ref().is_none_or(|kept| kept.len() < bytes) {
            // The smaller one goes first, so that both are never there together; and if there is no memory for the
            // larger one, it is gone as well.
            *kept = None;
            // SAFETY: cuDNN writes what it reads of its workspace.
            *kept = Some(unsafe { self.stream.alloc::<u8>(bytes)? });
        }
        Ok(Workspace { kept, wanted: bytes > 0 })
    }
}

/// Memory that an algorithm may write to.
pub(super) struct Workspace<'a> {
    kept: RefMut<'a, Option<CudaSlice<u8>>>,
    wanted: bool,
}

impl Workspace<'_> {
    pub(super) fn memory(&mut self) -> Option<&mut CudaSlice<u8>> {
        self.kept.as_mut().filter(|_| self.wanted)
    }
}

/// Frees this thread's workspaces on the card of this number.
pub(in crate::cuda) fn free_workspaces(card: usize) {
    LIBRARIES.with(|all| {
        for library in all.borrow().values().filter(|library| library.stream.context().ordinal() == card) {
            *library.workspace.borrow_mut() = None;
        }
    });
}
