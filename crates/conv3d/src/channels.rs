//! Channels in blocks of sixteen.

use crate::line::LANES;

/// Which channels are in which block. Tensors that stand side by side, as after a concatenation, begin
/// blocks of their own, so that none is copied to stand beside another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    blocks: Vec<ChannelBlock>,
}

/// The channels of one block: `count` from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelBlock {
    pub(crate) start: usize,
    pub(crate) count: usize,
}

impl Channels {
    /// The blocks of tensors of `parts` channels each, side by side.
    ///
    /// ```
    /// use organseg_conv3d::blocked::Channels;
    /// assert_eq!(Channels::new(&[16, 20]).blocks(), 3); // 16 | 16, 4
    /// assert_eq!(Channels::new(&[36]).blocks(), 3);     // 16, 16, 4
    /// ```
    #[must_use]
    pub fn new(parts: &[usize]) -> Self {
        let mut blocks = Vec::new();
        let mut first = 0;
        for &part in parts {
            blocks.extend(
                (0..part)
                    .step_by(LANES)
                    .map(|from| ChannelBlock { start: first + from, count: LANES.min(part - from) }),
            );
            first += part;
        }
        Self { blocks }
    }

    /// Number of blocks.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Number of channels.
    #[must_use]
    pub fn count(&self) -> usize {
        self.blocks.iter().map(|block| block.count).sum()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = ChannelBlock> + '_ {
        self.blocks.iter().copied()
    }

    pub(crate) fn block(&self, index: usize) -> ChannelBlock {
        self.blocks[index]
    }
}
