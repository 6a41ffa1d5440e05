//! One thing made while the one before is used.

use std::sync::mpsc::sync_channel;
use std::thread;

/// Calls `take` with what `make` makes of each job, in order, until it fails. With `ahead`, `make` runs on a thread of its
/// own and begins the next thing while `take` has the one before; without, nothing is there twice.
pub(crate) fn one_ahead<J: Sync, T: Send, E>(
    jobs: &[J],
    ahead: bool,
    make: impl Fn(&J) -> T + Sync,
    mut take: impl FnMut(&J, T) -> Result<(), E>,
) -> Result<(), E> {
    if !ahead {
        return jobs.iter().try_for_each(|job| take(job, make(job)));
    }
    thread::scope(|scope| {
        // A thing is handed over when it is asked for: no more than one waits.
        let (give, given) = sync_channel(0);
        scope.spawn(|| {
            let give = give;
            for job in jobs {
                if give.send(make(job)).is_err() {
                    return;
                }
            }
        });
        // What is given to is dropped before the thread is waited for, which then makes no more.
        jobs.iter().zip(given.iter()).try_for_each(|(job, thing)| take(job, thing))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn things_come_in_order_either_way() {
        for ahead in [false, true] {
            let mut found = Vec::new();
            let done: Result<(), ()> = one_ahead(
                &[1, 2, 3],
                ahead,
                |n| n * 10,
                |&job, thing| {
                    found.push((job, thing));
                    Ok(())
                },
            );
            assert_eq!((done, found), (Ok(()), vec![(1, 10), (2, 20), (3, 30)]));
        }
    }

    #[test]
    fn after_a_failure_no_more_than_one_is_made() {
        for ahead in [false, true] {
            let made = Mutex::new(0);
            let failed = one_ahead(&[(); 100], ahead, |()| *made.lock().unwrap() += 1, |(), ()| Err("no"));
            assert_eq!(failed, Err("no"));
            assert!(*made.lock().unwrap() <= 2);
        }
    }
}
