//! What a kernel reads: values that are stored, or that are computed from stored ones as they are read.
//!
//! A norm and its activation cost three operations a value and a pass over memory of their own. Here they
//! have none: a layer stores what its convolution gave, and whoever reads it computes the rest.

use crate::line::Line;
use crate::simd::Simd;

/// Values in blocks: N samples of B blocks of D·H·W lines. Constants have a line for each block of each
/// sample.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The values themselves.
    Plain(&'a [Line]),
    /// act(scale · y + shift), where act leaves what is positive and multiplies the rest by a slope.
    Activated {
        /// y.
        values: &'a [Line],
        /// How it is read.
        map: Affine<'a>,
    },
    /// The gradient for y, from the gradient g for act(scale · y + shift):
    /// scale · g′ + linear · y + constant with g′ = g where scale · y + shift > 0, slope · g elsewhere.
    Gradient {
        /// g.
        gradient: &'a [Line],
        /// y.
        values: &'a [Line],
        /// How y was read.
        map: Affine<'a>,
        /// What comes through the mean and variance of a norm.
        linear: &'a [Line],
        /// As `linear`.
        constant: &'a [Line],
    },
}

/// act(scale · y + shift).
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// Factor of each channel.
    pub scale: &'a [Line],
    /// Shift of each channel.
    pub shift: &'a [Line],
    /// Factor of the result where it is not positive: at most 1, which is no activation. What reads it panics
    /// if it is more.
    pub slope: f32,
}

impl Source<'_> {
    /// What is read: one array or two.
    #[inline(always)]
    pub(crate) fn arrays(&self) -> [Option<&[Line]>; 2] {
        match self {
            Self::Plain(values) | Self::Activated { values, .. } => [Some(values), None],
            Self::Gradient { gradient, values, .. } => [Some(gradient), Some(values)],
        }
    }

    /// Lines that are stored.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Plain(values) | Self::Activated { values, .. } | Self::Gradient { values, .. } => {
                values.len()
            }
        }
    }
}

/// One block of one sample of a [`Source`], line by line.
pub(crate) trait Lines<S: Simd>: Copy {
    /// Line `at` of the block.
    ///
    /// # Safety
    /// `at` is below the number of lines of the block.
    unsafe fn get(&self, s: S, at: usize) -> S::V;
}

/// A block of [`Source::Plain`].
#[derive(Clone, Copy)]
pub(crate) struct PlainLines(*const Line);

impl<S: Simd> Lines<S> for PlainLines {
    #[inline(always)]
    unsafe fn get(&self, s: S, at: usize) -> S::V {
        // SAFETY: the caller stays within the block.
        unsafe { s.load(self.0.add(at)) }
    }
}

/// A block of [`Source::Activated`].
#[derive(Clone, Copy)]
pub(crate) struct ActivatedLines<S: Simd> {
    values: *const Line,
    scale: S::V,
    shift: S::V,
    slope: S::V,
}

impl<S: Simd> Lines<S> for ActivatedLines<S> {
    #[inline(always)]
    unsafe fn get(&self, s: S, at: usize) -> S::V {
        // SAFETY: the caller stays within the block.
        let y = unsafe { s.load(self.values.add(at)) };
        let z = s.mul_add(self.scale, y, self.shift);
        // As the slope is at most 1; this way round ReLU leaves an infinity, whose product with 0 is no number.
        s.max(s.mul(self.slope, z), z)
    }
}

/// A block of [`Source::Gradient`].
#[derive(Clone, Copy)]
pub(crate) struct GradientLines<S: Simd> {
    gradient: *const Line,
    read: ActivatedLines<S>,
    linear: S::V,
    constant: S::V,
}

impl<S: Simd> Lines<S> for GradientLines<S> {
    #[inline(always)]
    unsafe fn get(&self, s: S, at: usize) -> S::V {
        // SAFETY: the caller stays within the block.
        let (y, g) = unsafe { (s.load(self.read.values.add(at)), s.load(self.gradient.add(at))) };
        let z = s.mul_add(self.read.scale, y, self.read.shift);
        let through = s.where_positive(z, g, s.mul(self.read.slope, g));
        s.mul_add(self.read.scale, through, s.mul_add(self.linear, y, self.constant))
    }
}

/// Something done with the lines of a block, whatever kind they are.
pub(crate) trait WithLines<S: Simd> {
    /// Does it. Implementations are `#[inline(always)]`.
    fn with<L: Lines<S>>(self, lines: L);
}

impl Source<'_> {
    /// Calls `f` with block number `block` (sample · B + block) of `voxels` lines.
    #[inline(always)]
    pub(crate) fn block<S: Simd, F: WithLines<S>>(&self, s: S, block: usize, voxels: usize, f: F) {
        let of = |lines: &[Line]| lines[block * voxels..(block + 1) * voxels].as_ptr();
        // SAFETY: a reference to a line can be read.
        let line = |lines: &[Line]| unsafe { s.load(&raw const lines[block]) };
        let activated = |values: &[Line], map: &Affine<'_>| {
            assert!(map.slope <= 1.0, "the slope of an activation is {}, not at most 1", map.slope);
            ActivatedLines::<S> {
                values: of(values),
                scale: line(map.scale),
                shift: line(map.shift),
                slope: s.splat(map.slope),
            }
        };
        match self {
            Self::Plain(values) => f.with(PlainLines(of(values))),
            Self::Activated { values, map } => f.with(activated(values, map)),
            Self::Gradient { gradient, values, map, linear, constant } => f.with(GradientLines {
                gradient: of(gradient),
                read: activated(values, map),
                linear: line(linear),
                constant: line(constant),
            }),
        }
    }
}
