//! The voxel-to-world map: a 4×4 matrix from voxel indices to RAS+ millimetres.

use serde::{Deserialize, Serialize};

use crate::{Spacing, VolumeError};

/// Smallest |determinant| of the linear part, relative to the product of its column lengths, that
/// still counts as invertible: three axes within some 1e-6 of a plane are a broken header, not a scan.
const MIN_RELATIVE_DETERMINANT: f64 = 1e-6;

/// Axes whose [`Affine::orthogonality_residual`] is larger than this are worth a warning: ITK, and with it
/// SimpleITK, 3D Slicer and nnU-Net, refuses such a NIfTI file or takes another affine that it finds there.
/// (Tried with SimpleITK 2.5.7: 1e-4 is read, 3e-4 is not.)
pub const RIGHT_ANGLE_TOLERANCE: f64 = 1e-4;

/// An invertible affine map from voxel index (i, j, k) to world (x, y, z) in RAS+ millimetres.
///
/// Stored as the upper three rows; the last row is (0, 0, 0, 1).
///
/// ```
/// use organseg_volume::Affine;
/// let affine = Affine::new([
///     [-2.0, 0.0, 0.0, 90.0],
///     [0.0, 2.0, 0.0, -126.0],
///     [0.0, 0.0, 3.0, -72.0],
///     [0.0, 0.0, 0.0, 1.0],
/// ])?;
/// assert_eq!(affine.apply([45.0, 63.0, 24.0]), [0.0, 0.0, 0.0]);
/// assert_eq!(affine.spacing().to_array(), [2.0, 2.0, 3.0]);
/// assert_eq!(affine.inverse().apply([90.0, -126.0, -69.0]), [0.0, 0.0, 1.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[[f64; 4]; 4]", into = "[[f64; 4]; 4]")]
pub struct Affine {
    rows: [[f64; 4]; 3],
}

impl Affine {
    /// Affine from the four rows of its matrix.
    ///
    /// # Errors
    /// [`VolumeError::InvalidAffine`] if an entry is not finite, the last row is not (0, 0, 0, 1) or
    /// the linear part is singular; [`VolumeError::InvalidSpacing`] if a column has no possible length.
    pub fn new(rows: [[f64; 4]; 4]) -> Result<Self, VolumeError> {
        let invalid = |reason: String| Err(VolumeError::InvalidAffine { reason });
        if let Some(bad) = rows.iter().flatten().find(|v| !v.is_finite()) {
            return invalid(format!("it holds {bad}, expected finite numbers"));
        }
        if rows[3] != [0.0, 0.0, 0.0, 1.0] {
            return invalid(format!("its last row is {:?}, expected [0, 0, 0, 1]", rows[3]));
        }
        let affine = Self { rows: [rows[0], rows[1], rows[2]] };
        let lengths: f64 = affine.column_lengths().iter().product();
        let determinant = affine.determinant();
        // Written so that a NaN (0/0) is refused too.
        let invertible = lengths > 0.0 && determinant.abs() >= MIN_RELATIVE_DETERMINANT * lengths;
        if !invertible || !lengths.is_finite() {
            return invalid(format!("it is singular (determinant {determinant:e})"));
        }
        Spacing::new(affine.column_lengths())?;
        Ok(affine)
    }

    /// Axes along +x, +y, +z of the world, with voxel (0, 0, 0) at `origin_mm`.
    #[must_use]
    pub fn from_spacing(spacing: Spacing, origin_mm: [f64; 3]) -> Self {
        let [x, y, z] = spacing.to_array();
        let [ox, oy, oz] = origin_mm;
        Self { rows: [[x, 0.0, 0.0, ox], [0.0, y, 0.0, oy], [0.0, 0.0, z, oz]] }
    }

    /// The four rows of the matrix.
    #[must_use]
    pub fn to_rows(self) -> [[f64; 4]; 4] {
        [self.rows[0], self.rows[1], self.rows[2], [0.0, 0.0, 0.0, 1.0]]
    }

    /// World position, in millimetres, of the voxel index `voxel` (fractions allowed).
    #[must_use]
    pub fn apply(&self, voxel: [f64; 3]) -> [f64; 3] {
        self.rows.map(|r| r[0] * voxel[0] + r[1] * voxel[1] + r[2] * voxel[2] + r[3])
    }

    /// The map from world to voxel index.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let m = &self.rows;
        let det = self.determinant();
        let cofactor = |r: usize, c: usize| {
            let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
            m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
        };
        let mut rows = [[0.0; 4]; 3];
        for (r, row) in rows.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().take(3).enumerate() {
                *value = cofactor(c, r) / det;
            }
            row[3] = -(row[0] * m[0][3] + row[1] * m[1][3] + row[2] * m[2][3]);
        }
        Self { rows }
    }

    /// `self ∘ first`: apply `first`, then `self`.
    #[must_use]
    pub fn after(&self, first: &Self) -> Self {
        let mut rows = [[0.0; 4]; 3];
        for (r, row) in rows.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = (0..3).map(|k| self.rows[r][k] * first.rows[k][c]).sum();
            }
            row[3] += self.rows[r][3];
        }
        Self { rows }
    }

    /// Direction and length of voxel axis `axis` in the world: column `axis` of the matrix.
    #[must_use]
    pub fn column(&self, axis: usize) -> [f64; 3] {
        self.rows.map(|r| r[axis])
    }

    /// World position of voxel (0, 0, 0) in millimetres.
    #[must_use]
    pub fn origin_mm(&self) -> [f64; 3] {
        self.column(3)
    }

    /// Lengths of the three columns: the distance between neighbouring voxels in millimetres.
    #[must_use]
    pub fn spacing(&self) -> Spacing {
        Spacing::new(self.column_lengths()).expect("the columns of an invertible affine have a length")
    }

    /// Determinant of the linear part; negative for a grid of the other handedness than RAS.
    #[must_use]
    pub fn determinant(&self) -> f64 {
        let [a, b, c] = &self.rows;
        a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
    }

    /// Largest |cosine| between two voxel axes: 0 for axes at right angles, more for a sheared grid.
    #[must_use]
    pub fn orthogonality_residual(&self) -> f64 {
        let lengths = self.column_lengths();
        let mut worst: f64 = 0.0;
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let (u, v) = (self.column(a), self.column(b));
            let dot: f64 = u.iter().zip(&v).map(|(x, y)| x * y).sum();
            worst = worst.max((dot / (lengths[a] * lengths[b])).abs());
        }
        worst
    }

    fn column_lengths(&self) -> [f64; 3] {
        [0, 1, 2].map(|axis| self.column(axis).iter().map(|v| v * v).sum::<f64>().sqrt())
    }
}

impl TryFrom<[[f64; 4]; 4]> for Affine {
    type Error = VolumeError;

    fn try_from(rows: [[f64; 4]; 4]) -> Result<Self, VolumeError> {
        Self::new(rows)
    }
}

impl From<Affine> for [[f64; 4]; 4] {
    fn from(affine: Affine) -> Self {
        affine.to_rows()
    }
}
