//! Which of cuDNN's algorithms to try, and in what order.

use std::cell::Cell;

/// A way of cuDNN's list.
pub(super) struct Candidate<W> {
    /// What cuDNN is told to do.
    pub(super) way: W,
    /// Whether the same input gives the same bits.
    pub(super) steady: bool,
}

/// What there is to try for one kind of convolution.
pub(super) struct Candidates<W> {
    all: Vec<Candidate<W>>,
    /// The one that worked last; the first, if none has been tried.
    worked: Cell<usize>,
    raced: Cell<bool>,
}

/// Why a candidate did not work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure<S, E> {
    /// cuDNN says no.
    Refused(S),
    /// There is too little memory for it.
    Memory(E),
    /// It would be the same with another.
    Other(E),
}

/// How it went.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried<S> {
    /// One has worked.
    Done,
    /// None has; with what cuDNN said last, if it was asked.
    Refused(Option<S>),
}

impl<W> Candidates<W> {
    /// Those of cuDNN's list: first those that give the same bits each time, and among them, as among the others, in
    /// cuDNN's order, the fastest first.
    pub(super) fn new(mut listed: Vec<Candidate<W>>) -> Self {
        listed.sort_by_key(|one| !one.steady);
        Self { all: listed, worked: Cell::new(0), raced: Cell::new(false) }
    }

    /// Of the first `most` that work, as far as they are as steady as the first of them, the one that takes the least `time`
    /// is tried first from now on; nothing from the second call on.
    pub(super) fn race<D: PartialOrd>(&self, most: usize, mut time: impl FnMut(&W) -> Option<D>) {
        if self.raced.replace(true) {
            return;
        }
        let (mut best, mut first, mut count): (Option<(usize, D)>, _, _) = (None, None, 0);
        for (index, one) in self.all.iter().enumerate() {
            if count == most || first.is_some_and(|steady| steady != one.steady) {
                break;
            }
            let Some(time) = time(&one.way) else { continue };
            (first, count) = (Some(one.steady), count + 1);
            if best.as_ref().is_none_or(|(_, least)| time < *least) {
                best = Some((index, time));
            }
        }
        if let Some((index, _)) = best {
            self.worked.set(index);
        }
    }

    /// Runs one after the other until one works, first the one that did the last time.
    ///
    /// # Errors
    /// What no other candidate would mend; and if some failed for memory and no other worked, the last of that: whoever
    /// asks for less gets a fast one.
    pub(super) fn try_each<S, E>(
        &self,
        mut run: impl FnMut(&W) -> Result<(), Failure<S, E>>,
    ) -> Result<Tried<S>, E> {
        let first = self.worked.get();
        let others = (0..self.all.len()).filter(|&index| index != first);
        let (mut refusal, mut no_memory) = (None, None);
        for index in self.all.get(first).map(|_| first).into_iter().chain(others) {
            match run(&self.all[index].way) {
                Ok(()) => {
                    self.worked.set(index);
                    return Ok(Tried::Done);
                }
                Err(Failure::Refused(status)) => refusal = Some(status),
                Err(Failure::Memory(error)) => no_memory = Some(error),
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        no_memory.map_or(Ok(Tried::Refused(refusal)), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Candidates<u32> {
        Candidates::new([1, 2, 3].map(|way| Candidate { way, steady: true }).into())
    }

    type Run = Result<(), Failure<&'static str, &'static str>>;

    #[test]
    fn steady_ones_come_first_and_keep_their_order() {
        let listed = [(1, false), (2, true), (3, false), (4, true)];
        let listed = listed.map(|(way, steady)| Candidate { way, steady }).into();
        let ways: Vec<_> = Candidates::new(listed).all.iter().map(|one| one.way).collect();
        assert_eq!(ways, [2, 4, 1, 3]);
    }

    #[test]
    fn what_worked_is_tried_first_the_next_time() {
        let candidates = three();
        let mut tried = Vec::new();
        let mut try_all = |works: u32| {
            tried.clear();
            let done = candidates.try_each(|one| -> Run {
                tried.push(*one);
                if *one == works { Ok(()) } else { Err(Failure::Refused("no")) }
            });
            (done, tried.clone())
        };
        assert_eq!(try_all(2), (Ok(Tried::Done), vec![1, 2]));
        assert_eq!(try_all(2), (Ok(Tried::Done), vec![2]));
        assert_eq!(try_all(3), (Ok(Tried::Done), vec![2, 1, 3]));
        assert_eq!(try_all(1), (Ok(Tried::Done), vec![3, 1]));
        assert_eq!(try_all(0), (Ok(Tried::Refused(Some("no"))), vec![1, 2, 3]));
    }

    #[test]
    fn too_little_memory_is_an_error_if_nothing_else_worked() {
        let run = |one: &u32| -> Run {
            Err(if *one == 1 { Failure::Memory("full") } else { Failure::Refused("no") })
        };
        assert_eq!(three().try_each(run), Err("full"));
        let run = |one: &u32| -> Run { if *one == 1 { Err(Failure::Memory("full")) } else { Ok(()) } };
        assert_eq!(three().try_each(run), Ok(Tried::Done));
    }

    #[test]
    fn an_error_that_no_other_would_mend_ends_it() {
        let mut count = 0;
        let run = |_: &u32| -> Run {
            count += 1;
            Err(Failure::Other("the card is gone"))
        };
        assert_eq!(three().try_each(run), Err("the card is gone"));
        assert_eq!(count, 1);
    }

    /// Which of the ways 0, 1… is taken after a race of three.
    fn winner(ways: &[(bool, Option<i32>)]) -> usize {
        let listed = ways.iter().enumerate().map(|(way, &(steady, _))| Candidate { way, steady }).collect();
        let candidates = Candidates::new(listed);
        candidates.race(3, |&way: &usize| ways[way].1);
        candidates.race(3, |_| -> Option<i32> { unreachable!("once is enough") });
        let mut taken = None;
        let run = |&way: &usize| -> Run {
            taken = Some(way);
            Ok(())
        };
        assert_eq!(candidates.try_each(run), Ok(Tried::Done));
        taken.unwrap()
    }

    #[test]
    fn the_fastest_of_a_few_that_work_is_taken() {
        let steady = [None, Some(5), Some(3), None, Some(4), Some(1)].map(|time| (true, time));
        assert_eq!(winner(&steady), 2);
        assert_eq!(winner(&[(true, Some(9)), (false, Some(1)), (false, Some(2))]), 0, "a steady one wins");
        assert_eq!(winner(&[(true, None), (false, Some(2)), (false, Some(1))]), 2, "there is no steady one");
    }

    #[test]
    fn with_nothing_to_try_there_is_no_reason() {
        let none = Candidates::<u32>::new(Vec::new());
        let run = |_: &u32| -> Run { unreachable!("there is none") };
        assert_eq!(none.try_each(run), Ok(Tried::Refused(None)));
    }
}
