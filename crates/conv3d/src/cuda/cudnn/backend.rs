//! cuDNN's descriptors: made, told what they are, closed, asked.
//!
//! Names are those of cuDNN's backend API. Of its older calls each builds its plan anew; here a plan is
//! built once for a shape.

use std::ffi::c_void;

use candle_core::cuda_backend::cudarc::cudnn::{result::CudnnError, sys};

pub(super) use sys::cudnnBackendAttributeName_t as Name;
pub(super) use sys::cudnnBackendAttributeType_t as Type;
pub(super) use sys::cudnnBackendDescriptorType_t as Kind;

pub(super) type Outcome<T> = Result<T, CudnnError>;

/// A descriptor of cuDNN.
pub(super) struct Descriptor(sys::cudnnBackendDescriptor_t);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was made by `new` and is destroyed here alone.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}

/// What attributes are made of.
///
/// # Safety
/// `TYPE` is what cuDNN calls `Self`.
pub(super) unsafe trait Attribute: Copy {
    const TYPE: Type;
}

macro_rules! attribute {
    ($($rust:ty: $cudnn:ident),* $(,)?) => {
        $(
            // SAFETY: by cuDNN's documentation.
            unsafe impl Attribute for $rust {
                const TYPE: Type = Type::$cudnn;
            }
        )*
    };
}

attribute! {
    i64: CUDNN_TYPE_INT64,
    f32: CUDNN_TYPE_FLOAT,
    f64: CUDNN_TYPE_DOUBLE,
    sys::cudnnDataType_t: CUDNN_TYPE_DATA_TYPE,
    sys::cudnnConvolutionMode_t: CUDNN_TYPE_CONVOLUTION_MODE,
    sys::cudnnBackendHeurMode_t: CUDNN_TYPE_HEUR_MODE,
    Note: CUDNN_TYPE_NUMERICAL_NOTE,
    sys::cudnnHandle_t: CUDNN_TYPE_HANDLE,
    Pointer: CUDNN_TYPE_VOID_PTR,
    Reference: CUDNN_TYPE_BACKEND_DESCRIPTOR,
}

/// An address on the card, or none.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Pointer(pub(super) *mut c_void);

/// A numerical note: any number, for newer versions of cuDNN have some that are not known here.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Note(u32);

impl Note {
    pub(super) const fn of(note: sys::cudnnBackendNumericalNote_t) -> Self {
        Self(note as u32)
    }
}

/// Another descriptor.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Reference(sys::cudnnBackendDescriptor_t);

impl Descriptor {
    pub(super) fn new(kind: Kind) -> Outcome<Self> {
        let mut made = std::ptr::null_mut();
        // SAFETY: cuDNN writes one pointer.
        unsafe { sys::cudnnBackendCreateDescriptor(kind, &raw mut made) }.result()?;
        Ok(Self(made))
    }

    /// With an attribute set.
    pub(super) fn with<T: Attribute>(self, name: Name, values: &[T]) -> Outcome<Self> {
        let count = values.len() as i64;
        // SAFETY: there are so many values of the type that is said.
        unsafe { sys::cudnnBackendSetAttribute(self.0, name, T::TYPE, count, values.as_ptr().cast()) }
            .result()?;
        Ok(self)
    }

    /// With another descriptor as an attribute; cuDNN takes what it needs of it.
    pub(super) fn with_descriptor(self, name: Name, other: &Self) -> Outcome<Self> {
        let other = other.reference();
        self.with(name, &[other])
    }

    /// Closed: as it is used.
    pub(super) fn finalized(self) -> Outcome<Self> {
        // SAFETY: it is alive.
        unsafe { sys::cudnnBackendFinalize(self.0) }.result()?;
        Ok(self)
    }

    fn reference(&self) -> Reference {
        Reference(self.0)
    }

    /// How many values an attribute of type `T` has.
    pub(super) fn count<T: Attribute>(&self, name: Name) -> Outcome<usize> {
        let mut count = 0i64;
        let nowhere = std::ptr::null_mut();
        // SAFETY: cuDNN writes one number, and no values, for none are asked for.
        unsafe { sys::cudnnBackendGetAttribute(self.0, name, T::TYPE, 0, &raw mut count, nowhere) }
            .result()?;
        Ok(count.max(0) as usize)
    }

    /// The values of an attribute, written over those of `values`, which may be more; how many there are.
    pub(super) fn get<T: Attribute>(&self, name: Name, values: &mut [T]) -> Outcome<usize> {
        let (most, mut count) = (values.len() as i64, 0i64);
        // SAFETY: there is room for so many values of the type that is said.
        unsafe {
            let to = values.as_mut_ptr().cast();
            sys::cudnnBackendGetAttribute(self.0, name, T::TYPE, most, &raw mut count, to).result()?;
        }
        Ok((count.max(0) as usize).min(values.len()))
    }

    /// The descriptors that an attribute has, of kind `kind`, which are `count` or fewer.
    pub(super) fn descriptors(&self, name: Name, kind: Kind, count: usize) -> Outcome<Vec<Self>> {
        let mut all = (0..count).map(|_| Self::new(kind)).collect::<Outcome<Vec<_>>>()?;
        // cuDNN fills in those that are there.
        let mut references: Vec<Reference> = all.iter().map(Self::reference).collect();
        let found = self.get(name, &mut references)?;
        all.truncate(found);
        Ok(all)
    }

    /// Runs a plan with a variant pack.
    ///
    /// # Safety
    /// The addresses of the pack are those of memory as large as the plan's tensors and workspace.
    pub(super) unsafe fn execute(&self, handle: sys::cudnnHandle_t, pack: &Self) -> Outcome<()> {
        // SAFETY: both descriptors are alive, as the handle is; the caller answers for the memory.
        unsafe { sys::cudnnBackendExecute(handle, self.0, pack.0) }.result()
    }
}
