//! Which voxels count as neighbours.

/// Which voxels touch: those that share a face (6), a face or an edge (18), or a corner too (26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Connectivity {
    /// Faces: 6 neighbours.
    Six,
    /// Faces and edges: 18 neighbours.
    Eighteen,
    /// Faces, edges and corners: 26 neighbours.
    #[default]
    TwentySix,
}

impl Connectivity {
    /// By how many voxels along x two runs of foreground may miss each other and still touch, if their rows
    /// differ by one in y, in z or (`diagonal`) in both; none if such rows never touch.
    pub(crate) fn slack(self, diagonal: bool) -> Option<u32> {
        match (self, diagonal) {
            (Self::Six, true) => None,
            (Self::Six, false) | (Self::Eighteen, true) => Some(0),
            (Self::Eighteen, false) | (Self::TwentySix, _) => Some(1),
        }
    }
}
