//! Asking a training to end at the next good moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A switch that is thrown once, seen by all of its clones.
///
/// ```
/// use organseg_train::StopSignal;
/// let signal = StopSignal::default();
/// let elsewhere = signal.clone();
/// assert!(!elsewhere.is_set());
/// signal.set();
/// assert!(elsewhere.is_set());
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Asks everybody who holds a clone to stop. Whether somebody had asked before.
    pub fn set(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
