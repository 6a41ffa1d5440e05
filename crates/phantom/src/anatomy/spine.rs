//! Vertebrae, discs and canal, the muscles beside them, and the ribs.

use super::Draft;
use crate::Organ;
use crate::curve::{Node, smooth, tube};
use crate::layer::{Filling, Layer, Tissue};
use crate::shape::Primitive;

/// Middle of the vertebral bodies in depth, and their half width and half depth.
const BODY_Y: f32 = -46.0;
const BODY_RADII: [f32; 2] = [22.0, 16.5];
/// From one vertebra to the next, and half the height of one.
const PITCH: f32 = 33.0;
const HALF_HEIGHT: f32 = 12.5;

/// Above the field of view and below it, so that what runs through is cut, not ended.
const BEYOND: f32 = 130.0;

pub(super) fn draw(draft: &mut Draft) {
    draw_muscles(draft);
    draw_vertebrae(draft);
    draw_ribs(draft);
}

fn draw_muscles(draft: &mut Draft) {
    for side in [-1.0, 1.0] {
        let hu = draft.sampler.between(46.0, 58.0);
        let back = Primitive::Cylinder {
            center: [side * 28.0, -74.0, 0.0],
            axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            radii: [23.0, 13.0],
            half_height: BEYOND,
        };
        let filling = draft.solid(hu, 26.0, 5.0);
        let rim = draft.rim(2.0, 0.3);
        draft.layers.push(Layer::new(Organ::Muscle, vec![back], filling).with_rim(rim).through_the_wall());
        // The psoas starts thin beside the spine and gets thicker on the way down.
        let nodes = [
            Node::new([side * 22.0, -40.0, 10.0], 4.0),
            Node::new([side * 29.0, -40.0, -25.0], 11.0),
            Node::new([side * 34.0, -38.0, -70.0], 15.0),
            Node::new([side * 38.0, -34.0, -BEYOND], 17.0),
        ];
        let filling = draft.solid(hu, 20.0, 5.0);
        let rim = draft.rim(2.0, 0.3);
        let psoas = Layer::new(Organ::Muscle, tube(&smooth(&nodes)), filling);
        draft.layers.push(psoas.with_rim(rim).through_the_wall());
    }
}

fn draw_vertebrae(draft: &mut Draft) {
    let start = draft.sampler.between(-BEYOND - PITCH, -BEYOND);
    let size = draft.sampler.around(1.0, 0.06);
    let radii = BODY_RADII.map(|r| r * size);
    let column = Primitive::cylinder([0.0, BODY_Y, 0.0], radii.map(|r| r - 1.0), BEYOND);
    let disc = draft.solid(80.0, 20.0, 6.0);
    draft.layers.push(Layer::new(Organ::DiscAndCanal, vec![column], disc).through_the_wall());

    let heights: Vec<f32> = (0..10).map(|i| start + PITCH * i as f32).collect();
    let bodies = heights.iter().map(|&z| Primitive::cylinder([0.0, BODY_Y, z], radii, HALF_HEIGHT));
    let marrow = draft.sampler.between(150.0, 210.0);
    let bone = bone(draft, marrow, 2.8);
    draft.layers.push(Layer::new(Organ::Bone, bodies.collect(), bone).through_the_wall());

    // Arch, with the spinous process behind and a transverse process on either side.
    let ring_y = BODY_Y - radii[1] - 8.0;
    let arch = heights.iter().flat_map(|&z| {
        let process = |from: [f32; 3], to: [f32; 3], radius: f32| Primitive::Cone {
            from: Node::new(from, radius),
            to: Node::new(to, 0.7 * radius),
        };
        [
            Primitive::cylinder([0.0, ring_y, z - 4.0], [15.0, 12.0], 9.0),
            process([0.0, ring_y - 10.0, z - 4.0], [0.0, ring_y - 20.0, z - 9.0], 5.0),
            process([13.0, ring_y, z], [32.0, ring_y - 6.0, z + 1.0], 4.5),
            process([-13.0, ring_y, z], [-32.0, ring_y - 6.0, z + 1.0], 4.5),
        ]
    });
    let filling = bone_like(draft, 220.0);
    draft.layers.push(Layer::new(Organ::Bone, arch.collect(), filling).through_the_wall());
    let canal = Primitive::cylinder([0.0, ring_y, 0.0], [9.5, 7.5], BEYOND);
    let cord = draft.solid(28.0, 14.0, 6.0);
    draft.layers.push(Layer::new(Organ::DiscAndCanal, vec![canal], cord).through_the_wall());
}

/// Short arcs in the wall that come forward on the way down.
fn draw_ribs(draft: &mut Draft) {
    let top = draft.sampler.around(115.0, 8.0);
    let mut solids = Vec::new();
    for side in [-1.0f32, 1.0] {
        for level in 0..5 {
            let start = top - 29.0 * level as f32;
            let end_angle = if level < 3 { 2.3 } else { 1.7 };
            let nodes: Vec<Node> = (0..7)
                .map(|i| {
                    let along = i as f32 / 6.0;
                    let angle = 0.35 + along * (end_angle - 0.35);
                    let (sin, cos) = angle.sin_cos();
                    Node::new([side * 106.0 * sin, 4.0 - 77.0 * cos, start - 48.0 * along], 4.6)
                })
                .collect();
            solids.extend(tube(&smooth(&nodes)));
        }
    }
    let filling = bone(draft, 180.0, 2.0);
    draft.layers.push(Layer::new(Organ::Bone, solids, filling).through_the_wall());
}

/// A bright cortex around marrow of `marrow_hu`.
fn bone(draft: &mut Draft, marrow_hu: f32, cortex_mm: f32) -> Filling {
    let cortex_hu = draft.sampler.between(430.0, 560.0);
    let wall = draft.tissue(cortex_hu, 80.0, 8.0);
    let contents: Tissue = draft.tissue(marrow_hu, 60.0, 5.0);
    Filling::Hollow { wall_mm: cortex_mm, wall, contents, gas_above: None }
}

/// Bone too thin for its marrow to be seen by itself.
fn bone_like(draft: &mut Draft, marrow_hu: f32) -> Filling {
    bone(draft, marrow_hu, 3.5)
}
