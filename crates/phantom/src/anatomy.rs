//! Where the organs lie, how dense they are, and how both vary from one phantom to the next.
//!
//! Positions are in RAS millimetres around the middle of the second lumbar vertebra's height: x grows to
//! the patient's right, where the liver is, y to the front, z to the head.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::organ::Organ;
use crate::shape::{Point, Shape, smooth_curve};

/// A solid of one tissue. Later solids are drawn over earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct Solid {
    pub(crate) shape: Shape,
    pub(crate) organ: Organ,
    /// Mean density in HU.
    pub(crate) hu: f64,
    /// Amplitude in HU of its texture.
    pub(crate) texture_hu: f64,
    /// Amplitude in millimetres by which its surface is dented.
    pub(crate) dents_mm: f64,
    /// Share of its strength at which it is drawn: a thin veil below 1.
    pub(crate) opacity: f64,
}

/// The solids of one body, in the order in which they are drawn.
pub(crate) fn anatomy(seed: u64) -> Vec<Solid> {
    let mut body = Body { rng: ChaCha8Rng::seed_from_u64(seed), solids: Vec::new() };
    body.wall_and_spine();
    body.solid_organs();
    body.stomach();
    body.bowel();
    body.vessels();
    body.pancreas();
    body.solids
}

struct Body {
    rng: ChaCha8Rng,
    solids: Vec<Solid>,
}

impl Body {
    /// A number within `spread` of `middle`.
    fn about(&mut self, middle: f64, spread: f64) -> f64 {
        middle + self.rng.random_range(-1.0..1.0) * spread
    }

    fn point_about(&mut self, middle: Point, spread: f64) -> Point {
        middle.map(|v| self.about(v, spread))
    }

    fn add(&mut self, organ: Organ, hu: f64, texture_hu: f64, dents_mm: f64, shape: Shape) {
        self.solids.push(Solid { shape, organ, hu, texture_hu, dents_mm, opacity: 1.0 });
    }

    fn wall_and_spine(&mut self) {
        let scale = self.about(1.0, 0.05);
        let fat = self.about(16.0, 6.0);
        let radii = [138.0 * scale, 108.0 * scale];
        let column = |inset: f64| Shape::Column { center: [0.0, 0.0], radii: radii.map(|r| r - inset) };
        let muscle_hu = self.about(52.0, 5.0);
        self.add(Organ::Fat, -100.0, 6.0, 0.0, column(0.0));
        self.add(Organ::Muscle, muscle_hu, 6.0, 1.0, column(fat));
        self.add(Organ::Fat, -95.0, 10.0, 2.0, column(fat + 11.0));
        for side in [-1.0, 1.0] {
            let erector = Shape::Column { center: [side * 32.0, -86.0], radii: [26.0, 15.0] };
            self.add(Organ::Muscle, muscle_hu, 6.0, 2.0, erector);
            let psoas = Shape::Ellipsoid {
                center: [side * 34.0, -52.0, -70.0],
                radii: [14.0, 17.0, 75.0],
                angle: 0.0,
            };
            self.add(Organ::Muscle, muscle_hu, 6.0, 2.0, psoas);
        }
        // Discs all the way, vertebrae over them: cortex, then marrow.
        self.add(Organ::Bone, 90.0, 10.0, 0.0, Shape::Column { center: [0.0, -62.0], radii: [20.0, 16.0] });
        let phase = self.about(0.0, 16.0);
        let marrow_hu = self.about(190.0, 40.0);
        for i in -4..=4 {
            let center = [0.0, -62.0, f64::from(i) * 34.0 + phase];
            let vertebra = Shape::Ellipsoid { center, radii: [24.0, 18.0, 17.0], angle: 0.0 };
            self.add(Organ::Bone, marrow_hu, 30.0, 0.5, vertebra.grown(-3.0));
            self.solids.insert(
                self.solids.len() - 1,
                Solid {
                    shape: vertebra,
                    organ: Organ::Bone,
                    hu: 420.0,
                    texture_hu: 40.0,
                    dents_mm: 0.5,
                    opacity: 1.0,
                },
            );
        }
        self.add(Organ::Bone, 300.0, 60.0, 1.0, Shape::Column { center: [0.0, -92.0], radii: [6.0, 12.0] });
    }

    fn solid_organs(&mut self) {
        let hu = self.about(60.0, 8.0);
        let center = self.point_about([62.0, 12.0, 38.0], 7.0);
        let radii = [self.about(62.0, 6.0), self.about(66.0, 6.0), self.about(58.0, 7.0)];
        self.add(Organ::Liver, hu, 6.0, 4.0, Shape::Ellipsoid { center, radii, angle: 0.35 });
        let left_lobe = [center[0] - 55.0, center[1] + 32.0, center[2] + 22.0];
        let lobe = Shape::Ellipsoid { center: left_lobe, radii: [48.0, 22.0, 28.0], angle: 0.2 };
        self.add(Organ::Liver, hu, 6.0, 3.0, lobe);

        let spleen = Shape::Ellipsoid {
            center: self.point_about([-98.0, -32.0, 48.0], 6.0),
            radii: [self.about(22.0, 3.0), self.about(38.0, 5.0), self.about(40.0, 7.0)],
            angle: self.about(0.5, 0.2),
        };
        let hu = self.about(50.0, 6.0);
        self.add(Organ::Spleen, hu, 5.0, 2.5, spleen);

        let hu = self.about(95.0, 18.0);
        for (side, z) in [(1.0, -38.0), (-1.0, -26.0)] {
            let center = self.point_about([side * 66.0, -48.0, z], 6.0);
            let kidney = Shape::Ellipsoid { center, radii: [24.0, 22.0, 46.0], angle: side * 0.4 };
            self.add(Organ::Kidney, hu, 8.0, 2.0, kidney);
            let sinus = [center[0] - side * 10.0, center[1] + 4.0, center[2]];
            let sinus = Shape::Ellipsoid { center: sinus, radii: [10.0, 7.0, 20.0], angle: side * 0.4 };
            self.add(Organ::Fat, -60.0, 15.0, 2.0, sinus);
        }
    }

    fn stomach(&mut self) {
        let knots = [
            self.point_about([-62.0, 8.0, 76.0], 6.0),
            self.point_about([-60.0, 34.0, 42.0], 6.0),
            self.point_about([-28.0, 52.0, 14.0], 6.0),
            self.point_about([14.0, 46.0, 6.0], 5.0),
            self.point_about([38.0, 26.0, 10.0], 4.0),
        ];
        let full = self.about(1.0, 0.2);
        let radii = [30.0 * full, 27.0 * full, 20.0 * full, 15.0, 10.0];
        let (points, radii) = smooth_curve(&knots, &radii, 24);
        let wall = Shape::Tube { points, radii };
        let (wall_hu, content_hu) = (self.about(42.0, 6.0), self.about(16.0, 12.0));
        self.add(Organ::Stomach, wall_hu, 6.0, 2.0, wall.clone());
        self.add(Organ::Stomach, content_hu, 14.0, 1.0, wall.grown(-4.5));
        if self.rng.random_range(0.0..1.0) < 0.6 {
            let bubble = [knots[1][0], knots[1][1] + 10.0, knots[1][2] + 6.0];
            let bubble = Shape::Ellipsoid { center: bubble, radii: [13.0, 8.0, 15.0], angle: 0.0 };
            self.add(Organ::Stomach, -850.0, 20.0, 1.5, bubble);
        }
    }

    fn bowel(&mut self) {
        // The duodenum's C around the head of the pancreas.
        let knots = [
            self.point_about([42.0, 20.0, 10.0], 3.0),
            self.point_about([60.0, -2.0, -8.0], 4.0),
            self.point_about([58.0, -10.0, -44.0], 4.0),
            self.point_about([22.0, -14.0, -56.0], 4.0),
            self.point_about([-18.0, -14.0, -46.0], 4.0),
        ];
        let radius = self.about(11.0, 1.5);
        self.loop_of_bowel(&knots, radius);
        // Jejunum under and before body and tail, then loops wherever there is room.
        let near = [[-48.0, 12.0, -22.0], [-62.0, -8.0, -34.0], [-30.0, 30.0, -34.0], [4.0, 36.0, -34.0]];
        for start in near {
            let start = self.point_about(start, 8.0);
            self.wandering_loop(start);
        }
        for _ in 0..7 {
            let start = [self.about(0.0, 75.0), self.about(40.0, 26.0), self.about(-72.0, 28.0)];
            self.wandering_loop(start);
        }
    }

    /// A loop that turns in random directions, mostly across the body.
    fn wandering_loop(&mut self, start: Point) {
        let mut knots = vec![start];
        for _ in 0..3 {
            let from = knots[knots.len() - 1];
            let step = [self.about(0.0, 34.0), self.about(0.0, 16.0), self.about(0.0, 14.0)];
            knots.push([0, 1, 2].map(|a| from[a] + step[a]));
        }
        let radius = self.about(10.5, 2.5);
        self.loop_of_bowel(&knots, radius);
    }

    fn loop_of_bowel(&mut self, knots: &[Point], radius: f64) {
        let radii: Vec<f64> = knots.iter().map(|_| self.about(radius, 1.2)).collect();
        let (points, radii) = smooth_curve(knots, &radii, 5 * knots.len());
        let wall = Shape::Tube { points, radii };
        let wall_hu = self.about(42.0, 8.0);
        self.add(Organ::Bowel, wall_hu, 8.0, 1.5, wall.clone());
        // Collapsed, filled or with gas.
        let state = self.rng.random_range(0.0..1.0);
        if state > 0.45 {
            let content_hu = if state > 0.88 { -700.0 } else { self.about(22.0, 16.0) };
            self.add(Organ::Bowel, content_hu, 12.0, 1.0, wall.grown(-4.0));
        }
    }

    fn vessels(&mut self) {
        let hu = self.about(115.0, 25.0);
        let aorta = Shape::Column { center: [self.about(-10.0, 3.0), -36.0], radii: [9.5, 9.5] };
        self.add(Organ::Vessel, hu, 5.0, 0.5, aorta);
        let cava = Shape::Column { center: [self.about(20.0, 3.0), -34.0], radii: [12.0, 9.0] };
        self.add(Organ::Vessel, hu - 15.0, 5.0, 0.5, cava);
        let mesenteric = [[-2.0, -6.0, -80.0], [0.0, -8.0, -40.0], [4.0, -8.0, -8.0]];
        let (points, radii) = smooth_curve(&mesenteric, &[5.0, 5.5, 6.0], 12);
        self.add(Organ::Vessel, hu, 5.0, 0.5, Shape::Tube { points, radii });
        let portal = [[4.0, -8.0, -8.0], [22.0, 0.0, 18.0], [44.0, 8.0, 36.0]];
        let (points, radii) = smooth_curve(&portal, &[6.5, 7.0, 6.0], 12);
        self.add(Organ::Vessel, hu, 5.0, 0.5, Shape::Tube { points, radii });
    }

    /// Head in the duodenum's C, neck over the portal vein, body over the aorta, tail towards the spleen,
    /// the splenic vein along its back.
    fn pancreas(&mut self) {
        let shift = [self.about(0.0, 5.0), self.about(0.0, 5.0), self.about(0.0, 7.0)];
        let straight: [Point; 6] = [
            [38.0, -6.0, -34.0],
            [34.0, 2.0, -14.0],
            [10.0, 8.0, 0.0],
            [-20.0, 4.0, 10.0],
            [-52.0, -14.0, 18.0],
            [-80.0, -32.0, 28.0],
        ];
        let knots = straight.map(|k| self.point_about([0, 1, 2].map(|a| k[a] + shift[a]), 5.0));
        let size = self.about(1.0, 0.12);
        let radii = [11.0, 13.0, 7.5, 8.5, 8.5, 7.0].map(|r| self.about(r, 0.8) * size);
        let (mut points, radii) = smooth_curve(&knots, &radii, 40);
        // Bends on top: a wave across the course, growing from the neck.
        let (waves, phase) = (self.about(2.4, 0.6), self.about(0.0, 3.0));
        let (up, front) = (self.about(4.5, 2.0), self.about(3.0, 2.0));
        let last = (points.len() - 1) as f64;
        for (i, point) in points.iter_mut().enumerate() {
            let along = i as f64 / last;
            let wave = (std::f64::consts::TAU * waves * along + phase).sin() * (2.0 * along).min(1.0);
            point[1] += front * wave;
            point[2] += up * wave;
        }
        let tube = Shape::Tube { points: points.clone(), radii };
        let vein_hu = self.about(115.0, 20.0);
        let rim = Solid {
            shape: tube.grown(2.6),
            organ: Organ::Fat,
            hu: -85.0,
            texture_hu: 25.0,
            dents_mm: 3.0,
            opacity: 0.85,
        };
        self.solids.push(rim);
        let behind: Vec<Point> = points[14..].iter().map(|p| [p[0], p[1] - 9.0 * size, p[2] + 2.0]).collect();
        let vein_radii = vec![3.6; behind.len()];
        self.add(Organ::Vessel, vein_hu, 5.0, 0.5, Shape::Tube { points: behind, radii: vein_radii });
        let hu = self.about(43.0, 7.0);
        self.add(Organ::Pancreas, hu, 9.0, 1.6, tube);
    }
}
