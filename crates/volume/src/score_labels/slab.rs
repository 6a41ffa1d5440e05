//! The cells between two planes of scores.

use super::cells::{AxisCells, Cell};
use super::lead::{Lead, lowest};

/// Labels the planes of one z cell after the other, with scratch memory that is used again.
pub(super) struct Slab<'a> {
    scores: &'a [f32],
    coarse: [usize; 3],
    axes: [&'a AxisCells; 3],
    size: [usize; 3],
    /// For each x: the highest of all classes' smallest corners, …
    best: Vec<f32>,
    /// … whose it is, …
    leader: Vec<u32>,
    /// … how many others reach above it, …
    rivals: Vec<u32>,
    /// … and the last of them.
    rival: Vec<u32>,
    /// For each class and x: the largest corner.
    ceilings: Vec<f32>,
    /// The smallest and largest of four scores of a class, for each x and once more the last.
    low: Vec<f32>,
    high: Vec<f32>,
    contest: Contest,
    lead: Lead,
}

/// Where the cell at hand has its eight corners, within each class.
#[derive(Clone, Copy)]
struct Corners {
    /// Of its scores at low x: (y, z), (y + 1, z), (y, z + 1), (y + 1, z + 1).
    places: [usize; 4],
    /// To the score at high x.
    next: usize,
}

/// Classes that a cell is contested by, and the state of the contest along a row.
#[derive(Default)]
struct Contest {
    classes: Vec<u32>,
    highest: Vec<f32>,
}

impl<'a> Slab<'a> {
    pub(super) fn new(
        scores: &'a [f32],
        coarse: [usize; 3],
        axes: [&'a AxisCells; 3],
        size: [usize; 3],
    ) -> Self {
        let nx = coarse[0];
        let classes = scores.len() / coarse.iter().product::<usize>();
        Self {
            scores,
            coarse,
            axes,
            size,
            best: vec![0.0; nx],
            leader: vec![0; nx],
            rivals: vec![0; nx],
            rival: vec![0; nx],
            ceilings: vec![0.0; classes * nx],
            low: vec![0.0; nx + 1],
            high: vec![0.0; nx + 1],
            contest: Contest::default(),
            lead: Lead::default(),
        }
    }

    /// Writes the labels of `planes`, those that lie in the cell `z` of the third axis.
    #[inline(always)]
    pub(super) fn label(&mut self, z: &Cell, planes: &mut [u8]) {
        let [nx, ny, _] = self.coarse;
        let (next_row, next_plane) = (self.axes[1].next * nx, self.axes[2].next * nx * ny);
        for y in &self.axes[1].cells {
            let place = nx * (y.low + ny * z.low);
            let rows = [place, place + next_row, place + next_plane, place + next_row + next_plane];
            self.bound(rows);
            let mut cells = self.axes[0].cells.as_slice();
            while let Some(cell) = cells.first() {
                let at = cell.low;
                let (rivals, leader) = (self.rivals[at], self.leader[at]);
                let pair = self.pair(at);
                // Neighbouring cells that can be dealt with as one.
                let alike = |other: &&Cell| {
                    let x = other.low;
                    let alike = match rivals {
                        0 => self.leader[x] == leader,
                        1 => self.pair(x) == pair && other.voxels.len() == cell.voxels.len(),
                        _ => false,
                    };
                    x == at || self.rivals[x] == rivals && alike
                };
                let (here, after) = cells.split_at(cells.iter().take_while(alike).count());
                match rivals {
                    0 => {
                        let xs = cell.voxels.start..here[here.len() - 1].voxels.end;
                        self.each_row(
                            y,
                            z,
                            planes,
                            #[inline(always)]
                            |row, _| row[xs.clone()].fill(leader as u8),
                        );
                    }
                    1 => self.label_by_lead(here, [y, z], rows, pair, planes),
                    _ => {
                        let corners = Corners { places: rows.map(|row| row + at), next: self.axes[0].next };
                        self.label_by_contest([cell, y, z], corners, planes);
                    }
                }
                cells = after;
            }
        }
    }

    /// Finds, for each x of the scores' rows that begin at `rows`, which classes can win in the cell there.
    #[inline(always)]
    fn bound(&mut self, rows: [usize; 4]) {
        let nx = self.coarse[0];
        let voxels: usize = self.coarse.iter().product();
        self.best.fill(f32::NEG_INFINITY);
        let classes = self.scores.chunks_exact(voxels).zip(self.ceilings.chunks_exact_mut(nx));
        for (class, (scores, ceilings)) in classes.enumerate() {
            let [a, b, c, d] = rows.map(|row| &scores[row..row + nx]);
            let (low, high) = (&mut self.low[..nx + 1], &mut self.high[..nx + 1]);
            for x in 0..nx {
                low[x] = smaller(smaller(a[x], b[x]), smaller(c[x], d[x]));
                high[x] = larger(larger(a[x], b[x]), larger(c[x], d[x]));
            }
            (low[nx], high[nx]) = (low[nx - 1], high[nx - 1]);
            let (best, leader) = (&mut self.best[..nx], &mut self.leader[..nx]);
            for x in 0..nx {
                ceilings[x] = larger(high[x], high[x + 1]);
                let floor = smaller(low[x], low[x + 1]);
                leader[x] = if floor > best[x] { class as u32 } else { leader[x] };
                best[x] = larger(floor, best[x]);
            }
        }
        self.rivals.fill(0);
        let (best, leader) = (&self.best[..nx], &self.leader[..nx]);
        let (rivals, rival) = (&mut self.rivals[..nx], &mut self.rival[..nx]);
        for (class, ceilings) in self.ceilings.chunks_exact(nx).enumerate() {
            let class = class as u32;
            for x in 0..nx {
                let reaches = reaches(class, ceilings[x], leader[x], best[x]);
                rivals[x] += u32::from(reaches);
                rival[x] = if reaches { class } else { rival[x] };
            }
        }
    }

    /// The two classes, the smaller first, of a cell with one rival.
    #[inline(always)]
    fn pair(&self, x: usize) -> [u32; 2] {
        [self.leader[x].min(self.rival[x]), self.leader[x].max(self.rival[x])]
    }

    /// Neighbouring cells of equal length that the same two classes contest: the second has the voxels where
    /// it leads.
    #[inline(always)]
    fn label_by_lead(
        &mut self,
        xs: &[Cell],
        [y, z]: [&Cell; 2],
        rows: [usize; 4],
        pair: [u32; 2],
        planes: &mut [u8],
    ) {
        let low = lowest(xs);
        let centres = xs[0].low.abs_diff(xs[xs.len() - 1].low) + 1 + self.axes[0].next;
        let scores = pair.map(|class| self.class(class));
        self.lead.load(scores, rows.map(|row| row + low), centres);
        let [nx, ny, _] = self.size;
        let voxels = xs[0].voxels.start..xs[xs.len() - 1].voxels.end;
        for (plane, z) in planes.chunks_exact_mut(nx * ny).zip(z.voxels.clone()) {
            self.lead.go_to_plane(self.axes[2].shares[z]);
            for y in y.voxels.clone() {
                let row = &mut plane[nx * y..][voxels.clone()];
                let share = self.axes[1].shares[y];
                self.lead.label(share, self.axes[0], xs, pair.map(|class| class as u8), row);
            }
        }
    }

    /// A cell that more classes contest: all of them are interpolated, in their order.
    #[inline(always)]
    fn label_by_contest(&mut self, [x, y, z]: [&Cell; 3], corners: Corners, planes: &mut [u8]) {
        let mut contest = std::mem::take(&mut self.contest);
        let (leader, best) = (self.leader[x.low], self.best[x.low]);
        contest.classes.clear();
        for (class, ceilings) in self.ceilings.chunks_exact(self.coarse[0]).enumerate() {
            let class = class as u32;
            if class == leader || reaches(class, ceilings[x.low], leader, best) {
                contest.classes.push(class);
            }
        }
        let shares = &self.axes[0].shares[x.voxels.clone()];
        self.each_row(
            y,
            z,
            planes,
            #[inline(always)]
            |row, between| {
                contest.highest.clear();
                contest.highest.resize(shares.len(), f32::NEG_INFINITY);
                for &class in &contest.classes {
                    let scores = self.class(class);
                    let [a, b] = [0, corners.next]
                        .map(|next| bilinear(corners.places.map(|place| scores[place + next]), between));
                    let labels = row[x.voxels.clone()].iter_mut().zip(&mut contest.highest);
                    for ((label, highest), &share) in labels.zip(shares) {
                        let score = mix(a, b, share);
                        if score > *highest {
                            (*highest, *label) = (score, class as u8);
                        }
                    }
                }
            },
        );
        self.contest = contest;
    }

    /// Hands `of` each row of the cell's planes, with the shares of the high y and the high z.
    #[inline(always)]
    fn each_row(&self, y: &Cell, z: &Cell, planes: &mut [u8], mut of: impl FnMut(&mut [u8], [f32; 2])) {
        let [nx, ny, _] = self.size;
        for (plane, z) in planes.chunks_exact_mut(nx * ny).zip(z.voxels.clone()) {
            for y in y.voxels.clone() {
                of(&mut plane[nx * y..nx * (y + 1)], [self.axes[1].shares[y], self.axes[2].shares[z]]);
            }
        }
    }

    #[inline(always)]
    fn class(&self, class: u32) -> &'a [f32] {
        let voxels: usize = self.coarse.iter().product();
        &self.scores[class as usize * voxels..][..voxels]
    }
}

/// Whether `class` can beat `leader`, whose smallest corner is `best`, somewhere in a cell; the smaller
/// class wins where they are equal.
#[inline(always)]
fn reaches(class: u32, ceiling: f32, leader: u32, best: f32) -> bool {
    (ceiling > best) & (class != leader) | (ceiling == best) & (class < leader)
}

#[inline(always)]
fn bilinear([a, b, c, d]: [f32; 4], [y, z]: [f32; 2]) -> f32 {
    mix(mix(a, b, y), mix(c, d, y), z)
}

/// Exact at both ends.
#[inline(always)]
pub(super) fn mix(a: f32, b: f32, share: f32) -> f32 {
    (1.0 - share) * a + share * b
}

/// `f32::min` without its care for NaN, which no score is: one instruction.
#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}
