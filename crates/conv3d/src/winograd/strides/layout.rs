//! Where values are in the workspace of a task.

use super::super::POINTS;
use super::planes::ROWS;
use super::slices::STRIP;
use super::{PLANE_VALUES, VALUES, Way};

/// How many values of a tile have the weights at point `point` of an axis: the four of the first kind share theirs.
const fn shared(point: usize) -> usize {
    if point == 0 { 4 } else { 1 }
}

/// Where the values of a plane are: those with the same weights beside one another, by block, value and tile.
pub(super) struct Layout {
    pub(super) tiles: usize,
    pub(super) blocks: usize,
}

impl Layout {
    /// Values with the weights at point `plane` of the plane (point along H · 6 + point along W).
    #[inline(always)]
    pub(super) const fn values(plane: usize) -> usize {
        shared(plane / POINTS) * shared(plane % POINTS)
    }

    /// Line of the first of them. One line more a point than is used, so that points do not fall on the same sets
    /// of the cache.
    #[inline(always)]
    pub(super) fn start(&self, plane: usize) -> usize {
        let (h, w) = (plane / POINTS, plane % POINTS);
        // Nine values along W for each of those along H before.
        let above = if h == 0 { 0 } else { 3 + h };
        let before = if w == 0 { 0 } else { 3 + w };
        (above * VALUES + shared(h) * before) * self.tiles * self.blocks + plane
    }

    /// Line of value `h`, `w` (0 to 8 each) of block `block` of tile 0.
    #[inline(always)]
    fn at(&self, h: usize, w: usize, block: usize) -> usize {
        let point = |value: usize| if value < 4 { (0, value) } else { (value - 3, 0) };
        let ((h, i), (w, j)) = (point(h), point(w));
        let plane = h * POINTS + w;
        self.start(plane) + (block * Self::values(plane) + i * shared(w) + j) * self.tiles
    }

    /// [`Layout::at`] of all values of a block.
    #[inline(always)]
    pub(super) fn offsets(&self, block: usize) -> [usize; PLANE_VALUES] {
        std::array::from_fn(|i| self.at(i / VALUES, i % VALUES, block))
    }

    /// Lines of a slice.
    pub(super) fn lines(&self) -> usize {
        PLANE_VALUES * self.tiles * self.blocks + POINTS * POINTS
    }
}

/// Where things are in the workspace of a task, in lines.
pub(super) struct Room {
    pub(super) inputs: Layout,
    pub(super) outputs: Layout,
    /// Ring, results, points and products along the depth, columns.
    pub(super) starts: [usize; 5],
    pub(super) lines: usize,
}

impl Room {
    pub(super) fn new<W: Way>(tiles: usize, [inputs, outputs]: [usize; 2]) -> Self {
        let (inputs, outputs) = (Layout { tiles, blocks: inputs }, Layout { tiles, blocks: outputs });
        let sizes = [
            W::INPUTS * inputs.lines(),
            W::OUTPUTS * outputs.lines(),
            5 * inputs.blocks * ROWS,
            VALUES * outputs.blocks * ROWS,
            VALUES * (W::INPUT_STEP * STRIP + W::INPUTS - W::INPUT_STEP),
        ];
        let mut starts = [0; 5];
        let mut lines = 0;
        for (start, size) in starts.iter_mut().zip(sizes) {
            *start = lines;
            lines += size;
        }
        Self { inputs, outputs, starts, lines }
    }
}
