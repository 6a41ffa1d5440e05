//! Lungs, liver, gallbladder, spleen and kidneys.

use super::Draft;
use super::pancreas::Pancreas;
use crate::Organ;
use crate::curve::Node;
use crate::layer::Layer;
use crate::shape::Primitive;
use crate::vector::{Vector, add, scale};

pub(super) fn draw(draft: &mut Draft, pancreas: &Pancreas) {
    draw_lungs(draft);
    draw_liver(draft);
    draw_spleen(draft, pancreas);
    for side in [1.0, -1.0] {
        draw_kidney(draft, side);
    }
}

fn draw_lungs(draft: &mut Draft) {
    let height = draft.sampler.around(112.0, 10.0);
    let lung = |side: f32| Primitive::ellipsoid([side * 58.0, -12.0, height], [44.0, 44.0, 40.0]);
    let filling = draft.solid(-840.0, 90.0, 6.0);
    draft.layers.push(Layer::new(Organ::Lung, vec![lung(1.0), lung(-1.0)], filling));
}

fn draw_liver(draft: &mut Draft) {
    let size = draft.sampler.around(1.0, 0.07);
    let middle = draft.sampler.near([53.0, 12.0, 38.0], 6.0);
    let part = |offset: Vector, radii: Vector, lean: f32, roll: f32| {
        Primitive::leaning(add(middle, scale(offset, size)), scale(radii, size), lean, roll)
    };
    let left_reach = draft.sampler.around(46.0, 9.0);
    let solids = vec![
        part([0.0, 0.0, 0.0], [56.0, 62.0, 58.0], 0.15, -0.3),
        part([-42.0, 34.0, 12.0], [left_reach, 25.0, 30.0], 0.0, -0.25),
        part([26.0, 2.0, -36.0], [26.0, 36.0, 34.0], 0.1, 0.0),
    ];
    let hu = draft.sampler.between(54.0, 64.0) + 8.0 * draft.contrast;
    let filling = draft.solid(hu, 12.0, 6.0);
    let rim = draft.rim(2.0, -0.2);
    draft.layers.push(Layer::new(Organ::Liver, solids, filling).with_seam(16.0).with_rim(rim));

    // Vessels of the liver, fanning out from the hilum.
    let hilum = add(middle, [-28.0, 2.0, -8.0]);
    let branches = (0..6).map(|_| {
        let tip = draft.sampler.near(add(middle, [8.0, 6.0, 6.0]), 38.0);
        Primitive::Cone { from: Node::new(hilum, 4.0), to: Node::new(tip, 1.6) }
    });
    let branches = branches.collect();
    let vein = draft.solid(hu + 4.0 + 26.0 * draft.contrast, 6.0, 6.0);
    draft.layers.push(Layer::new(Organ::Liver, branches, vein));

    let center = draft.sampler.near(add(middle, [-20.0, 40.0, -42.0]), 5.0);
    let radii = [draft.sampler.between(9.0, 13.0), draft.sampler.between(10.0, 15.0), 19.0];
    let bile = draft.solid(9.0, 8.0, 8.0);
    let gallbladder = vec![Primitive::leaning(center, radii, 0.4, 0.3)];
    draft.add_rimmed(Organ::Gallbladder, gallbladder, bile, 1.5);
}

/// Its hilum looks at the pancreas's tail.
fn draw_spleen(draft: &mut Draft, pancreas: &Pancreas) {
    let size = draft.sampler.around(1.0, 0.1);
    let tail = pancreas.tail().point;
    // Wherever the tail ends, the spleen stays clear of the abdominal wall.
    let [x, y, z] = add(tail, [-17.0, -13.0, 20.0]);
    let center = draft.sampler.near([x.max(-71.0), y.max(-20.0), z.max(34.0)], 4.0);
    let roll = draft.sampler.around(0.25, 0.2);
    let spleen = Primitive::leaning(center, scale([18.0, 35.0, 40.0], size), 0.2, roll);
    let hu = draft.sampler.between(47.0, 56.0) + 22.0 * draft.contrast;
    let filling = draft.solid(hu, 10.0, 6.0);
    draft.add_rimmed(Organ::Spleen, vec![spleen], filling, 2.5);
}

/// Cortex, and a sinus of fat and vessels that opens towards the spine.
fn draw_kidney(draft: &mut Draft, side: f32) {
    let organ = if side > 0.0 { Organ::RightKidney } else { Organ::LeftKidney };
    let size = draft.sampler.around(1.0, 0.08);
    let height = if side > 0.0 { -26.0 } else { -17.0 };
    let center = draft.sampler.near([side * 57.0, -25.0, height], 6.0);
    let (lean, roll) = (side * draft.sampler.around(-0.2, 0.08), side * draft.sampler.around(-0.5, 0.15));
    let kidney = Primitive::leaning(center, scale([22.0, 18.5, 40.0], size), lean, roll);
    let hu = draft.sampler.between(34.0, 42.0) + 95.0 * draft.contrast;
    let filling = draft.solid(hu, 16.0, 7.0);
    let rim = draft.rim(4.0, -0.1);
    draft.layers.push(Layer::new(organ, vec![kidney], filling).with_rim(rim));
    let inwards = add(center, [side * -9.0, 3.0, 0.0]);
    let sinus = Primitive::leaning(inwards, scale([11.0, 7.0, 20.0], size), lean, roll);
    let filling = draft.solid(-25.0, 110.0, 7.0);
    let sinus = Layer::new(organ, vec![sinus], filling).with_lobules(&mut draft.sampler, 2.5, 8.0);
    draft.layers.push(sinus);
}
