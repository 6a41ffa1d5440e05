//! The tissues of a phantom.

use organseg_volume::Label;

/// A tissue of a phantom; as a number, its label in [`Phantom::organs`](crate::Phantom::organs).
///
/// ```
/// use organseg_phantom::Organ;
/// assert_eq!(Organ::Liver.label(), 2);
/// assert_eq!(Organ::ALL[2].name(), "liver");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Organ {
    /// Air around the body: 0.
    Outside = 0,
    /// Pancreas, the same voxels as in [`Phantom::labels`](crate::Phantom::labels): 1.
    Pancreas = 1,
    /// Liver: 2.
    Liver = 2,
    /// Spleen: 3.
    Spleen = 3,
    /// Right kidney with its sinus: 4.
    RightKidney = 4,
    /// Left kidney with its sinus: 5.
    LeftKidney = 5,
    /// Stomach, wall and contents: 6.
    Stomach = 6,
    /// Duodenum, wall and contents: 7.
    Duodenum = 7,
    /// Small bowel, wall and contents: 8.
    SmallBowel = 8,
    /// Colon, wall and contents: 9.
    Colon = 9,
    /// Aorta and superior mesenteric artery: 10.
    Artery = 10,
    /// Inferior vena cava: 11.
    VenaCava = 11,
    /// Portal, splenic and mesenteric veins: 12.
    PortalVein = 12,
    /// Gallbladder: 13.
    Gallbladder = 13,
    /// Vertebrae and ribs: 14.
    Bone = 14,
    /// Discs between the vertebrae and spinal canal: 15.
    DiscAndCanal = 15,
    /// Muscle: 16.
    Muscle = 16,
    /// Fat, under the skin and between the organs: 17.
    Fat = 17,
    /// Skin: 18.
    Skin = 18,
    /// Bases of the lungs: 19.
    Lung = 19,
}

impl Organ {
    /// Every tissue, each at the place of its label.
    pub const ALL: [Self; 20] = [
        Self::Outside,
        Self::Pancreas,
        Self::Liver,
        Self::Spleen,
        Self::RightKidney,
        Self::LeftKidney,
        Self::Stomach,
        Self::Duodenum,
        Self::SmallBowel,
        Self::Colon,
        Self::Artery,
        Self::VenaCava,
        Self::PortalVein,
        Self::Gallbladder,
        Self::Bone,
        Self::DiscAndCanal,
        Self::Muscle,
        Self::Fat,
        Self::Skin,
        Self::Lung,
    ];

    /// The number that stands for it.
    #[must_use]
    pub fn label(self) -> Label {
        self as Label
    }

    /// Its name in lower case with underscores, as in a `dataset.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Outside => "background",
            Self::Pancreas => "pancreas",
            Self::Liver => "liver",
            Self::Spleen => "spleen",
            Self::RightKidney => "right_kidney",
            Self::LeftKidney => "left_kidney",
            Self::Stomach => "stomach",
            Self::Duodenum => "duodenum",
            Self::SmallBowel => "small_bowel",
            Self::Colon => "colon",
            Self::Artery => "artery",
            Self::VenaCava => "vena_cava",
            Self::PortalVein => "portal_vein",
            Self::Gallbladder => "gallbladder",
            Self::Bone => "bone",
            Self::DiscAndCanal => "disc_and_canal",
            Self::Muscle => "muscle",
            Self::Fat => "fat",
            Self::Skin => "skin",
            Self::Lung => "lung",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_organ_is_at_the_place_of_its_label() {
        for (place, organ) in Organ::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(organ.label()), place, "{}", organ.name());
        }
    }
}
