//! Which channels of which samples a norm takes together.

use organseg_conv3d::blocked::{Channels, LANES, Moments};

use super::parameters::Parameter;

/// Added to the variance before its root is taken, as in PyTorch.
pub(crate) const NORM_EPSILON: f64 = 1e-5;

/// Share of a new batch in the running statistics, as in PyTorch.
pub(crate) const MOMENTUM: f64 = 0.1;

/// Which channels share a mean and a variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// None: each channel of each sample has its own (instance norm).
    Instance,
    /// Those of each of so many groups of each sample (group norm).
    Group(usize),
    /// Each channel of all samples (batch norm).
    Batch,
}

impl Shared {
    /// The set that channel `c` of `channels` of sample `n` is in.
    pub(super) fn set(self, n: usize, c: usize, channels: usize) -> usize {
        match self {
            Self::Instance => n * channels + c,
            Self::Group(groups) => n * groups + c * groups / channels,
            Self::Batch => c,
        }
    }

    /// How many sets there are.
    pub(super) fn sets(self, batch: usize, channels: usize) -> usize {
        match self {
            Self::Instance => batch * channels,
            Self::Group(groups) => batch * groups,
            Self::Batch => channels,
        }
    }

    /// How many channels are in each.
    pub(super) fn members(self, batch: usize, channels: usize) -> usize {
        batch * channels / self.sets(batch, channels).max(1)
    }
}

/// Channel `c` of sample `n`, and where it lies: its block of all samples, and its lane.
pub(super) struct Place {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) block: usize,
    pub(super) lane: usize,
}

/// Every channel of every sample.
pub(super) fn places(batch: usize, channels: &Channels) -> impl Iterator<Item = Place> {
    let (count, blocks) = (channels.count(), channels.blocks());
    (0..batch * count).map(move |i| {
        let (n, c) = (i / count, i % count);
        Place { n, c, block: n * blocks + c / LANES, lane: c % LANES }
    })
}

/// Mean and variance of each set of values with these moments, to which a bias may be added first.
pub(super) fn statistics(
    shared: Shared,
    moments: &[Moments],
    bias: Option<&[f32]>,
    batch: usize,
    channels: &Channels,
) -> Vec<[f64; 2]> {
    let count = channels.count();
    let members = shared.members(batch, count) as f64;
    let mean =
        |place: &Place| moments[place.block].mean[place.lane] + bias.map_or(0.0, |b| f64::from(b[place.c]));
    let mut sets = vec![[0.0; 2]; shared.sets(batch, count)];
    for place in places(batch, channels) {
        sets[shared.set(place.n, place.c, count)][0] += mean(&place) / members;
    }
    for place in places(batch, channels) {
        let set = &mut sets[shared.set(place.n, place.c, count)];
        let apart = mean(&place) - set[0];
        set[1] += (moments[place.block].variance[place.lane] + apart * apart) / members;
    }
    sets
}

/// What a batch norm saw of one batch, for the running statistics.
#[derive(Clone, Debug)]
pub(crate) struct BatchStatistics {
    /// The parameters that hold mean and variance.
    pub(crate) running: [Parameter; 2],
    /// Mean of each channel, and variance with one value fewer as divisor.
    pub(crate) batch: [Vec<f64>; 2],
}

impl BatchStatistics {
    /// From mean and variance of each channel, of so many values each.
    pub(super) fn new(running: [Parameter; 2], sets: &[[f64; 2]], values: usize) -> Self {
        let unbiased = values as f64 / (values.max(2) - 1) as f64;
        let mean = sets.iter().map(|set| set[0]).collect();
        let variance = sets.iter().map(|set| set[1] * unbiased).collect();
        Self { running, batch: [mean, variance] }
    }
}

/// Where a batch norm takes mean and variance from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Statistics {
    /// From the batch, as in training.
    Batch,
    /// From the running ones, as at prediction.
    Running,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_channels_groups_of_a_sample_or_channels_of_all_samples() {
        let of = |shared: Shared| -> Vec<usize> {
            (0..2).flat_map(|n| (0..4).map(move |c| shared.set(n, c, 4))).collect()
        };
        assert_eq!(of(Shared::Instance), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(of(Shared::Group(2)), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(of(Shared::Batch), [0, 1, 2, 3, 0, 1, 2, 3]);
        for shared in [Shared::Instance, Shared::Group(2), Shared::Batch] {
            assert_eq!(shared.members(2, 4) * shared.sets(2, 4), 8);
        }
    }
}
