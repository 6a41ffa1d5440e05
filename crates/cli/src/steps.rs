//! Three steps for each of many things, one beside the other.

use std::sync::mpsc::sync_channel;
use std::thread;

/// Takes each job through `first`, `second` and `third`, in order, until `third` fails. With `beside`, each step has a
/// thread of its own, `second` the caller's, and begins with the next thing while the step after it has the one before;
/// without, nothing is there twice.
pub(crate) fn three_steps<J: Sync, A: Send, B: Send, E: Send>(
    jobs: &[J],
    beside: bool,
    first: impl Fn(&J) -> A + Sync,
    mut second: impl FnMut(&J, A) -> B,
    mut third: impl FnMut(&J, B) -> Result<(), E> + Send,
) -> Result<(), E> {
    if !beside {
        return jobs.iter().try_for_each(|job| {
            let thing = first(job);
            third(job, second(job, thing))
        });
    }
    thread::scope(|scope| {
        // Things are handed over when they are asked for: before each step no more than one waits.
        let (give_first, firsts) = sync_channel(0);
        scope.spawn(|| {
            let give = give_first;
            for job in jobs {
                if give.send(first(job)).is_err() {
                    return;
                }
            }
        });
        let (give_second, seconds) = sync_channel(0);
        let last = scope.spawn(|| {
            // Of its own, to be dropped when it fails: then nothing more is sent.
            let seconds = seconds;
            jobs.iter().zip(seconds.iter()).try_for_each(|(job, thing)| third(job, thing))
        });
        for (job, thing) in jobs.iter().zip(firsts.iter()) {
            if give_second.send(second(job, thing)).is_err() {
                break;
            }
        }
        // Whoever gives or waits hears that nothing more comes.
        drop((firsts, give_second));
        last.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn things_come_in_order_either_way() {
        for beside in [false, true] {
            let mut found = Vec::new();
            let done: Result<(), ()> = three_steps(
                &[1, 2, 3],
                beside,
                |n| n * 10,
                |job, thing| job + thing,
                |&job, thing| {
                    found.push((job, thing));
                    Ok(())
                },
            );
            assert_eq!((done, found), (Ok(()), vec![(1, 11), (2, 22), (3, 33)]));
        }
    }

    #[test]
    fn after_a_failure_no_more_is_begun_than_was_on_its_way() {
        for beside in [false, true] {
            let (begun, computed) = (Mutex::new(0), Mutex::new(0));
            let failed = three_steps(
                &[(); 100],
                beside,
                |()| *begun.lock().unwrap() += 1,
                |(), ()| *computed.lock().unwrap() += 1,
                |(), ()| Err("no"),
            );
            assert_eq!(failed, Err("no"));
            assert!(*begun.lock().unwrap() <= 3);
            assert!(*computed.lock().unwrap() <= 2);
        }
    }

    #[test]
    fn all_three_steps_run_at_once() {
        // Each step waits for the two others, each with another thing: it would hang if they did not.
        let meeting = std::sync::Barrier::new(3);
        let wait = || {
            meeting.wait();
        };
        let done: Result<(), ()> = three_steps(
            &[1, 2, 3],
            true,
            |&job| {
                if job == 3 {
                    wait();
                }
            },
            |&job, ()| {
                if job == 2 {
                    wait();
                }
            },
            |&job, ()| {
                if job == 1 {
                    wait();
                }
                Ok(())
            },
        );
        assert_eq!(done, Ok(()));
    }
}
