//! 3×3×3 convolution of padding 1 and stride 1 by Winograd's F(4×4×4, 3×3×3); [`strides`] has that of stride 2.
//!
//! Four outputs along an axis from six inputs by six products instead of twelve, along three axes 216
//! products for 64 outputs instead of 1728: an eighth of the multiplications. In between are sums, which
//! cost less the more channels there are.
//!
//! ```text
//! U = G g Gᵀ…                    weights, once                                 (weights.rs)
//! for each tile of 4×4×4 outputs:
//!   V = Bᵀ d B…                  its 6×6×6 inputs                              (tiles.rs)
//!   M[p] = Σ_c V[p, c] · U[p, c] at each of the 216 points p                   (product.rs)
//!   y = Aᵀ M A…                                                                (results.rs)
//! ```
//! The gradient for the input is the same with the weights turned round; the gradient for the weights is
//! F(3×3×3, 4×4×4) with the same Bᵀ and the roles of weights and results exchanged. docs/CONV3D.md has the
//! formulas, the errors and the measurements.

mod few_tiles;
mod forward;
mod gradient;
mod gradient_phases;
mod gradient_planes;
mod results;
mod split;
mod strides;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod weights;

pub(crate) use few_tiles::FewTiles;
pub(crate) use forward::{Epilogue, Forward, moment_pieces};
pub(crate) use gradient::WeightGradient;
pub(crate) use strides::{Halving, Strided};
pub(crate) use weights::{Direction, Filter, RawWeights, WinogradWeights};

/// Outputs of a tile along each axis.
const TILE: usize = 4;
/// Inputs of a tile along each axis, and points.
const POINTS: usize = 6;
/// From one tile's inputs to the next's, how many lie before a tile, and how many it has.
const SEEN: [usize; 3] = [TILE, 1, POINTS];
/// Points in a plane.
const PLANE: usize = POINTS * POINTS;
