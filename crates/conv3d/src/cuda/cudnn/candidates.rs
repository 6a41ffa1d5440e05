//! Which of cuDNN's algorithms to try, and in what order.

use std::cell::Cell;

/// An algorithm of cuDNN's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate<W> {
    /// What cuDNN is told to do.
    pub(super) way: W,
    /// Whether the same input gives the same bits.
    pub(super) steady: bool,
    /// Bytes of workspace that it wants.
    pub(super) workspace: usize,
}

/// What there is to try for one kind of convolution.
pub(super) struct Candidates<W, S> {
    all: Vec<Candidate<W>>,
    /// The one that worked last; the first, if none has been tried.
    worked: Cell<usize>,
    /// What cuDNN said of the last one that is not among them.
    refusal: Option<S>,
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

impl<W: PartialEq, S: Copy> Candidates<W, S> {
    /// Those of cuDNN's list within `most_workspace` bytes, each once: first those that give the same bits each time,
    /// and among them, as among the others, in cuDNN's order, the fastest first.
    pub(super) fn new(listed: Vec<Candidate<W>>, most_workspace: usize, refusal: Option<S>) -> Self {
        let mut all: Vec<Candidate<W>> = Vec::new();
        for one in listed {
            if one.workspace <= most_workspace && all.iter().all(|other| other.way != one.way) {
                all.push(one);
            }
        }
        all.sort_by_key(|one| !one.steady);
        Self { all, worked: Cell::new(0), refusal }
    }

    /// Runs one after the other until one works, first the one that did the last time.
    ///
    /// # Errors
    /// What no other candidate would mend; and if some failed for memory and no other worked, the last of that: whoever
    /// asks for less gets a fast one.
    pub(super) fn try_each<E>(
        &self,
        mut run: impl FnMut(&Candidate<W>) -> Result<(), Failure<S, E>>,
    ) -> Result<Tried<S>, E> {
        let first = self.worked.get();
        let others = (0..self.all.len()).filter(|&index| index != first);
        let (mut refusal, mut no_memory) = (self.refusal, None);
        for index in self.all.get(first).map(|_| first).into_iter().chain(others) {
            match run(&self.all[index]) {
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

    fn candidate(way: u32, steady: bool, workspace: usize) -> Candidate<u32> {
        Candidate { way, steady, workspace }
    }

    fn three() -> Candidates<u32, &'static str> {
        let listed = vec![candidate(1, true, 0), candidate(2, true, 0), candidate(3, true, 0)];
        Candidates::new(listed, 0, None)
    }

    fn ways<S>(candidates: &Candidates<u32, S>) -> Vec<u32> {
        candidates.all.iter().map(|one| one.way).collect()
    }

    type Run = Result<(), Failure<&'static str, &'static str>>;

    #[test]
    fn steady_ones_come_first_and_keep_their_order() {
        let listed = vec![
            candidate(1, false, 0),
            candidate(2, true, 10),
            candidate(3, false, 0),
            candidate(4, true, 0),
            candidate(5, true, 11),
        ];
        assert_eq!(ways(&Candidates::<_, ()>::new(listed, 10, None)), [2, 4, 1, 3]);
    }

    #[test]
    fn a_way_that_is_listed_twice_is_tried_once() {
        let listed = vec![candidate(1, true, 0), candidate(2, true, 0), candidate(1, true, 0)];
        assert_eq!(ways(&Candidates::<_, ()>::new(listed, 10, None)), [1, 2]);
    }

    #[test]
    fn what_worked_is_tried_first_the_next_time() {
        let candidates = three();
        let mut tried = Vec::new();
        let mut try_all = |works: u32| {
            tried.clear();
            let done = candidates.try_each(|one| -> Run {
                tried.push(one.way);
                if one.way == works { Ok(()) } else { Err(Failure::Refused("no")) }
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
        let run = |one: &Candidate<u32>| -> Run {
            Err(if one.way == 1 { Failure::Memory("full") } else { Failure::Refused("no") })
        };
        assert_eq!(three().try_each(run), Err("full"));
        let run = |one: &Candidate<u32>| -> Run {
            if one.way == 1 { Err(Failure::Memory("full")) } else { Ok(()) }
        };
        assert_eq!(three().try_each(run), Ok(Tried::Done));
    }

    #[test]
    fn an_error_that_no_other_would_mend_ends_it() {
        let mut count = 0;
        let run = |_: &Candidate<u32>| -> Run {
            count += 1;
            Err(Failure::Other("the card is gone"))
        };
        assert_eq!(three().try_each(run), Err("the card is gone"));
        assert_eq!(count, 1);
    }

    #[test]
    fn with_nothing_to_try_it_is_what_the_list_said() {
        let none = Candidates::<u32, _>::new(Vec::new(), 10, Some("not supported"));
        let run = |_: &Candidate<u32>| -> Run { unreachable!("there is none") };
        assert_eq!(none.try_each(run), Ok(Tried::Refused(Some("not supported"))));
    }
}
