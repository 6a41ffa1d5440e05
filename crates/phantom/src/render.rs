//! From solids to voxels.

use organseg_volume::{LabelVolume, Volume};
use rayon::prelude::*;

use crate::anatomy::{Solid, anatomy};
use crate::noise::{slice_noise, smooth_field};
use crate::organ::Organ;
use crate::{PhantomConfig, PhantomError};

/// Label of the pancreas in [`Phantom::labels`].
pub const PANCREAS: u8 = 1;

/// Density of air in HU.
const AIR_HU: f32 = -1000.0;

/// Width of texture and dents in millimetres.
const TEXTURE_MM: f64 = 9.0;

/// A synthetic scan and what is in it.
#[derive(Clone, Debug)]
pub struct Phantom {
    /// Density in whole Hounsfield units.
    pub image: Volume<f32>,
    /// 1 where the pancreas is.
    pub labels: LabelVolume,
    /// The tissue of every voxel: an [`Organ`] as a number.
    pub organs: LabelVolume,
}

/// The phantom that `seed` decides; the same one for any number of threads.
///
/// ```
/// use organseg_phantom::{PhantomConfig, generate};
/// let phantom = generate(&PhantomConfig::default(), 7)?;
/// assert_eq!(phantom.image.size(), [112, 96, 72]);
/// let pancreas = phantom.labels.voxels().iter().filter(|&&label| label == 1).count();
/// assert!((1000..8000).contains(&pancreas));
/// # Ok::<(), organseg_phantom::PhantomError>(())
/// ```
///
/// # Errors
/// [`PhantomError::Config`] for a configuration that describes no phantom.
pub fn generate(config: &PhantomConfig, seed: u64) -> Result<Phantom, PhantomError> {
    let grid = config.grid()?;
    let solids = anatomy(seed);
    let [nx, ny, nz] = grid.size();
    let mut image = Volume::filled(grid, AIR_HU);
    let mut organs = LabelVolume::filled(grid, Organ::Air as u8);
    image
        .voxels_mut()
        .par_chunks_mut(nx * ny)
        .zip(organs.voxels_mut().par_chunks_mut(nx * ny))
        .enumerate()
        .for_each(|(z, (image, organs))| {
            let slice = Slice { config, seed, z, nx, ny, nz };
            for (i, solid) in solids.iter().enumerate() {
                slice.draw(solid, i as u64, image, organs);
            }
            let noise = slice_noise(seed, z, nx, ny);
            for (hu, noise) in image.iter_mut().zip(noise) {
                *hu = (*hu + config.noise_hu as f32 * noise).round().max(-1024.0);
            }
        });
    let labels = organs.map(|organ| if organ == Organ::Pancreas as u8 { PANCREAS } else { 0 });
    Ok(Phantom { image, labels, organs })
}

/// One slice being drawn.
struct Slice<'a> {
    config: &'a PhantomConfig,
    seed: u64,
    z: usize,
    nx: usize,
    ny: usize,
    nz: usize,
}

impl Slice<'_> {
    fn draw(&self, solid: &Solid, index: u64, image: &mut [f32], organs: &mut [u8]) {
        let spacing = [self.nx, self.ny, self.nz];
        let spacing = [0, 1, 2].map(|a| self.config.fov_mm[a] / spacing[a] as f64);
        // Anatomy is drawn for the default field of view and stretches with it.
        let stretch = [0, 1, 2].map(|a| self.config.fov_mm[a] / PhantomConfig::default().fov_mm[a]);
        let place =
            |i: usize, a: usize| ((i as f64 + 0.5) * spacing[a] - self.config.fov_mm[a] / 2.0) / stretch[a];
        // A voxel averages over itself: the surface is soft over about one voxel.
        let soft = spacing.iter().sum::<f64>() / 3.0;
        let reach = soft + solid.dents_mm;
        let [low, high] = solid.shape.bounds();
        let z = place(self.z, 2);
        if z < low[2] - reach || z > high[2] + reach {
            return;
        }
        let texture_seed = self.seed ^ (index + 1).wrapping_mul(0xd134_2543_de82_ef95);
        for y in 0..self.ny {
            let py = place(y, 1);
            if py < low[1] - reach || py > high[1] + reach {
                continue;
            }
            for x in 0..self.nx {
                let px = place(x, 0);
                if px < low[0] - reach || px > high[0] + reach {
                    continue;
                }
                let p = [px, py, z];
                let mut distance = solid.shape.distance(p);
                if distance > reach {
                    continue;
                }
                if solid.dents_mm > 0.0 && distance.abs() <= reach {
                    distance += solid.dents_mm * smooth_field(texture_seed ^ 1, p, TEXTURE_MM);
                }
                let cover = (0.5 - distance / soft).clamp(0.0, 1.0) * solid.opacity;
                if cover > 0.0 {
                    let texture = solid.texture_hu * smooth_field(texture_seed, p, TEXTURE_MM);
                    let at = x + self.nx * y;
                    image[at] += cover as f32 * ((solid.hu + texture) as f32 - image[at]);
                    if distance < 0.0 {
                        organs[at] = solid.organ as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pool(threads: usize) -> Phantom {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| generate(&PhantomConfig::default(), 11).unwrap())
    }

    #[test]
    fn threads_change_nothing_and_seeds_do() {
        let (one, three) = (in_pool(1), in_pool(3));
        assert_eq!(one.image, three.image);
        assert_eq!(one.organs, three.organs);
        assert_ne!(one.image, generate(&PhantomConfig::default(), 12).unwrap().image);
    }

    /// Mean and deviation of the image where `organ` is.
    fn density(phantom: &Phantom, organ: Organ) -> (f64, f64) {
        let values: Vec<f64> = phantom
            .image
            .voxels()
            .iter()
            .zip(phantom.organs.voxels())
            .filter(|&(_, &found)| found == organ as u8)
            .map(|(&hu, _)| f64::from(hu))
            .collect();
        assert!(values.len() > 500, "{organ:?} has {} voxels", values.len());
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt())
    }

    #[test]
    fn every_organ_is_there_with_its_density() {
        for seed in 0..6 {
            let phantom = generate(&PhantomConfig::default(), seed).unwrap();
            for (organ, low, high) in [
                (Organ::Fat, -115.0, -60.0),
                (Organ::Muscle, 30.0, 65.0),
                (Organ::Bone, 120.0, 400.0),
                (Organ::Liver, 45.0, 75.0),
                (Organ::Spleen, 35.0, 60.0),
                (Organ::Kidney, 65.0, 115.0),
                (Organ::Pancreas, 15.0, 60.0),
            ] {
                let (mean, _) = density(&phantom, organ);
                assert!((low..high).contains(&mean), "seed {seed}: {organ:?} has {mean:.1} HU");
            }
        }
    }

    /// Intensity alone cannot tell the pancreas from bowel: their means are less than a deviation apart.
    #[test]
    fn the_pancreas_is_no_brighter_than_its_neighbours() {
        let mut apart = 0.0;
        for seed in 0..6 {
            let phantom = generate(&PhantomConfig::default(), seed).unwrap();
            let (pancreas, spread) = density(&phantom, Organ::Pancreas);
            let (muscle, _) = density(&phantom, Organ::Muscle);
            apart += (pancreas - muscle).abs() / spread / 6.0;
        }
        assert!(apart < 1.0, "{apart} deviations from muscle");
    }

    #[test]
    fn the_pancreas_is_long_and_thin() {
        for seed in 0..10 {
            let phantom = generate(&PhantomConfig::default(), seed).unwrap();
            let voxels = phantom.labels.voxels().iter().filter(|&&v| v == PANCREAS).count();
            assert!((1500..6000).contains(&voxels), "seed {seed}: {voxels} voxels");
        }
    }
}
