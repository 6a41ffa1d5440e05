//! The Mersenne Twister MT19937 as numpy's `RandomState` drives it, so that shuffles come out the same.
//!
//! Matsumoto and Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform
//! pseudo-random number generator", ACM TOMACS 8(1), 1998; seeding as in their `mt19937ar.c` of 2002.
//! Only splits use it, for their agreement with other tools; everything else draws from ChaCha.

/// Words of state.
const N: usize = 624;
/// Distance between the words that are mixed.
const M: usize = 397;

/// The generator.
pub(crate) struct MersenneTwister {
    state: [u32; N],
    next: usize,
}

impl MersenneTwister {
    /// Seeded as `numpy.random.RandomState(seed)` for seeds below 2³², and as
    /// `RandomState([seed % 2**32, seed // 2**32])` for larger ones, which numpy refuses.
    pub(crate) fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        if high == 0 { Self::from_word(low) } else { Self::from_words(&[low, high]) }
    }

    /// `init_genrand` of the reference implementation.
    fn from_word(seed: u32) -> Self {
        let mut state = [0; N];
        state[0] = seed;
        for i in 1..N {
            let previous: u32 = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    /// `init_by_array` of the reference implementation, for at most 624 words.
    fn from_words(key: &[u32]) -> Self {
        let mut twister = Self::from_word(19_650_218);
        let state = &mut twister.state;
        let mixed = |previous: u32| previous ^ (previous >> 30);
        let mut i = 1;
        for j in 0..N {
            let j = j % key.len();
            state[i] = (state[i] ^ mixed(state[i - 1]).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        for _ in 1..N {
            state[i] = (state[i] ^ mixed(state[i - 1]).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        twister
    }

    /// The next 32 bits.
    pub(crate) fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `items` in the order that numpy's `RandomState.shuffle` gives them: from the last place down,
    /// each is swapped with one at or before it, drawn by rejection from masked 32-bit words.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.at_most(u32::try_from(i).expect("fewer than 2^32 items"));
            items.swap(i, j as usize);
        }
    }

    /// Uniform in 0..=max: numpy's `random_interval`.
    fn at_most(&mut self, max: u32) -> u32 {
        let mask = u32::MAX >> max.leading_zeros();
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::MersenneTwister;

    // Golden values: numpy 2.4, `b = np.random.MT19937(); b._legacy_seeding(SEED); b.random_raw(3)`,
    // and `np.random.RandomState(SEED).shuffle(np.arange(N))`.

    #[test]
    fn first_words_agree_with_numpy() {
        let mut twister = MersenneTwister::new(5489);
        assert_eq!([0; 3].map(|_| twister.next_u32()), [3_499_211_612, 581_869_302, 3_890_346_734]);
        let mut twister = MersenneTwister::from_words(&[0x123, 0x234, 0x345, 0x456]);
        assert_eq!([0; 3].map(|_| twister.next_u32()), [1_067_595_299, 955_945_823, 477_289_528]);
        let mut twister = MersenneTwister::new((2 << 32) + 1);
        assert_eq!([0; 3].map(|_| twister.next_u32()), [2_510_469_175, 412_874_776, 1_110_386_547]);
    }

    #[test]
    fn shuffles_agree_with_numpy() {
        let mut few: Vec<u32> = (0..12).collect();
        MersenneTwister::new((2 << 32) + 1).shuffle(&mut few);
        assert_eq!(few, [6, 2, 4, 11, 10, 5, 1, 9, 0, 3, 8, 7]);
        let mut many: Vec<u32> = (0..300).collect();
        MersenneTwister::new(7).shuffle(&mut many);
        assert_eq!(many[..10], [254, 57, 150, 66, 114, 280, 204, 249, 37, 177]);
        assert_eq!(many[295..], [211, 67, 25, 196, 175]);
    }
}
