//! Items drawn ahead in threads and handed out in order.
//!
//! ```text
//! worker:   wait until next_to_draw < next_to_yield + depth      consumer:  wait until ready has next_to_yield
//!           i = next_to_draw++                                              take it; next_to_yield++
//!           item = draw(i)            (outside the lock)                    wake the workers
//!           ready[i] = item; wake the consumer
//! ```
//! At most `depth` items are drawn and not yet handed out, and the consumer sees the indices in order,
//! whatever the number of threads. Since each item depends on its index alone, so does the outcome.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Sample, TrainError};

type Draw<T> = dyn Fn(usize) -> Result<T, TrainError> + Send + Sync;

/// An iterator over items that threads prepare ahead of it.
///
/// An error or a panic in `draw` comes out as the `Err` of that item; later items still follow.
/// Dropping the loader waits for the items being drawn and stops its threads.
///
/// ```
/// use organseg_train::PrefetchLoader;
/// let loader = PrefetchLoader::new(2..6, |index| Ok(index * index), 2, 4);
/// let items: Result<Vec<usize>, _> = loader.collect();
/// assert_eq!(items?, [4, 9, 16, 25]);
/// # Ok::<(), organseg_train::TrainError>(())
/// ```
pub struct PrefetchLoader<T: Send + 'static = Sample> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
}

struct Shared<T> {
    /// One past the last index.
    end: usize,
    depth: usize,
    draw: Box<Draw<T>>,
    queue: Mutex<Queue<T>>,
    /// Room in the queue, or the loader is gone.
    room: Condvar,
    /// An item is ready.
    ready: Condvar,
}

struct Queue<T> {
    next_to_draw: usize,
    next_to_yield: usize,
    ready: BTreeMap<usize, Result<T, TrainError>>,
    stopped: bool,
}

impl<T: Send + 'static> PrefetchLoader<T> {
    /// Loader of the items `draw(i)` for each `i` of `items`, at most `depth` (at least 1) of them ahead
    /// of the consumer. With 0 threads the consumer draws each item itself.
    pub fn new(
        items: Range<usize>,
        draw: impl Fn(usize) -> Result<T, TrainError> + Send + Sync + 'static,
        threads: usize,
        depth: usize,
    ) -> Self {
        let shared = Arc::new(Shared {
            end: items.end.max(items.start),
            depth: depth.max(1),
            draw: Box::new(draw),
            queue: Mutex::new(Queue {
                next_to_draw: items.start,
                next_to_yield: items.start,
                ready: BTreeMap::new(),
                stopped: false,
            }),
            room: Condvar::new(),
            ready: Condvar::new(),
        });
        // A thread that the system refuses is done without; with none, the consumer draws.
        let workers = (0..threads.min(items.len()))
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                let name = format!("organseg-loader-{number}");
                std::thread::Builder::new().name(name).spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, workers, waited: Duration::ZERO }
    }

    /// Seconds that the consumer has waited for items so far.
    #[must_use]
    pub fn wait_seconds(&self) -> f64 {
        self.waited.as_secs_f64()
    }
}

impl<T: Send + 'static> Iterator for PrefetchLoader<T> {
    type Item = Result<T, TrainError>;

    fn next(&mut self) -> Option<Self::Item> {
        let started = Instant::now();
        let mut queue = self.shared.lock();
        let index = queue.next_to_yield;
        if index == self.shared.end {
            return None;
        }
        let item = if self.workers.is_empty() {
            queue.next_to_yield += 1;
            drop(queue);
            self.shared.draw_caught(index)
        } else {
            let item = loop {
                if let Some(item) = queue.ready.remove(&index) {
                    break item;
                }
                queue = self.shared.ready.wait(queue).expect(UNPOISONED);
            };
            queue.next_to_yield += 1;
            drop(queue);
            self.shared.room.notify_all();
            item
        };
        self.waited += started.elapsed();
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.end - self.shared.lock().next_to_yield;
        (left, Some(left))
    }
}

impl<T: Send + 'static> ExactSizeIterator for PrefetchLoader<T> {}

impl<T: Send + 'static> Drop for PrefetchLoader<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch what `draw` throws; one that panicked all the same has nothing to add.
            let _ = worker.join();
        }
    }
}

/// `draw` runs outside the lock, so that its panics cannot poison it.
const UNPOISONED: &str = "no thread panics while it holds the queue";

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().expect(UNPOISONED)
    }

    /// What each thread does until the items run out or the loader is dropped.
    fn work(&self) {
        while let Some(index) = self.claim() {
            let item = self.draw_caught(index);
            self.lock().ready.insert(index, item);
            self.ready.notify_one();
        }
    }

    /// The next index to draw, once there is room for it.
    fn claim(&self) -> Option<usize> {
        let mut queue = self.lock();
        loop {
            if queue.stopped || queue.next_to_draw == self.end {
                return None;
            }
            if queue.next_to_draw < queue.next_to_yield + self.depth {
                queue.next_to_draw += 1;
                return Some(queue.next_to_draw - 1);
            }
            queue = self.room.wait(queue).expect(UNPOISONED);
        }
    }

    fn draw_caught(&self, index: usize) -> Result<T, TrainError> {
        catch_unwind(AssertUnwindSafe(|| (self.draw)(index)))
            .unwrap_or_else(|panic| Err(TrainError::WorkerPanicked { index, message: message_of(&*panic) }))
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use rand::RngExt;

    use super::PrefetchLoader;
    use crate::{TrainError, sample_rng};

    /// Takes longer for some indices than for others, so that threads overtake each other.
    fn uneven(index: usize) -> Result<u64, TrainError> {
        let mut rng = sample_rng(3, 0, index);
        std::thread::sleep(Duration::from_micros(rng.random_range(0..2000)));
        Ok(rng.random())
    }

    #[test]
    fn items_come_in_order_whatever_the_number_of_threads() {
        let collect = |threads, depth| -> Vec<u64> {
            PrefetchLoader::new(0..40, uneven, threads, depth).map(Result::unwrap).collect()
        };
        let expected = collect(0, 1);
        assert_eq!(expected.len(), 40);
        for (threads, depth) in [(1, 1), (1, 8), (2, 4), (7, 3), (64, 100)] {
            assert_eq!(collect(threads, depth), expected, "{threads} threads, depth {depth}");
        }
    }

    #[test]
    fn no_more_than_depth_items_are_drawn_ahead() {
        let drawn = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&drawn);
        let count = move |_| Ok(counter.fetch_add(1, Ordering::SeqCst));
        let mut loader = PrefetchLoader::new(0..100, count, 4, 3);
        for taken in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            assert!(drawn.load(Ordering::SeqCst) <= taken + 3);
            loader.next().unwrap().unwrap();
        }
        assert_eq!(loader.len(), 80);
        drop(loader);
        let after = drawn.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(drawn.load(Ordering::SeqCst), after, "a thread outlived the loader");
        assert!(after <= 23);
    }

    #[test]
    fn errors_and_panics_come_out_at_their_index() {
        let draw = |index| match index {
            1 => Err(TrainError::NoForeground),
            2 => panic!("planted {index}"),
            _ => Ok(index),
        };
        for threads in [0, 2] {
            let items: Vec<_> = PrefetchLoader::new(0..4, draw, threads, 2).collect();
            assert!(matches!(items[0], Ok(0)) && matches!(items[3], Ok(3)));
            assert!(matches!(&items[1], Err(TrainError::NoForeground)));
            let error = items[2].as_ref().unwrap_err().to_string();
            assert_eq!(error, "drawing sample 2 panicked: planted 2");
        }
    }

    #[test]
    fn waiting_is_measured() {
        let slow = |_| {
            std::thread::sleep(Duration::from_millis(10));
            Ok(())
        };
        let mut loader = PrefetchLoader::new(0..3, slow, 1, 1);
        while loader.next().is_some() {}
        // Three items of 10 ms each, of which the consumer did nothing but wait.
        assert!(loader.wait_seconds() >= 0.02, "{}", loader.wait_seconds());
        let mut loader = PrefetchLoader::new(0..3, slow, 1, 3);
        std::thread::sleep(Duration::from_millis(300));
        while loader.next().is_some() {}
        assert!(loader.wait_seconds() < 0.1, "{}", loader.wait_seconds());
    }

    #[test]
    fn an_empty_loader_ends_at_once() {
        assert!(PrefetchLoader::<()>::new(0..0, |_| unreachable!(), 2, 2).next().is_none());
    }
}
