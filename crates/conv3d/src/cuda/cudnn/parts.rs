//! A batch in parts that cuDNN can count.

use std::ops::Range;

/// Numbers that a tensor may have: cuDNN counts in 32 bits.
pub(super) const MOST_NUMBERS: usize = i32::MAX as usize;

/// The samples of a `batch` in as few parts as can be, of about one size, of which none has more than `most` numbers;
/// `sample` is how many a sample has. Nothing if one sample alone has more.
pub(super) fn parts(batch: usize, sample: usize, most: usize) -> Option<Vec<Range<usize>>> {
    if sample > most {
        return None;
    }
    let fit = most / sample.max(1);
    let count = batch.div_ceil(fit).max(1);
    let length = batch.div_ceil(count).max(1);
    Some((0..batch).step_by(length).map(|start| start..(start + length).min(batch)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_one_part() {
        for (batch, sample, most) in [(4, 10, 40), (1, 40, 40), (2, 1 << 20, MOST_NUMBERS)] {
            let whole = std::iter::once(0..batch).collect();
            assert_eq!(parts(batch, sample, most), Some(whole));
        }
    }

    #[test]
    fn parts_are_few_and_alike() {
        assert_eq!(parts(5, 10, 40), Some(vec![0..3, 3..5]));
        assert_eq!(parts(2, 1_500_000_000, MOST_NUMBERS), Some(vec![0..1, 1..2]));
    }

    #[test]
    fn every_sample_is_in_one_part_that_fits() {
        for batch in 1..40 {
            for most in 3..30 {
                let all = parts(batch, 3, most).unwrap();
                assert!(all.iter().all(|part| !part.is_empty() && part.len() * 3 <= most));
                assert!(all.into_iter().flatten().eq(0..batch), "{batch} samples, {most} numbers");
            }
        }
    }

    #[test]
    fn a_sample_beyond_the_limit_has_no_parts() {
        assert_eq!(parts(3, 41, 40), None);
    }
}
