//! A whole pass on one of rayon's threads.

/// Runs `pass` on a thread of rayon's current pool.
///
/// A thread outside the pool waits in the kernel for each parallel loop that it starts, and the pool's threads fall
/// asleep between them. A pass starts some hundred loops: a training step on patches of 32×48×32 went to the kernel
/// some 300 times to wait or to wake, and now does 25 times. Within the pool the thread that starts a loop works on
/// it, and the others look for work in the meantime.
pub(crate) fn on_the_pool<R: Send>(pass: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| pass())
}
