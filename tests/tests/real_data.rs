//! Real masks and scans through the pipeline.

use organseg::phantom::{PhantomConfig, write_dataset};
use organseg::pipeline::{
    BoxConfig, Device, MAX_PATCH_VOXELS, Segmenter, Stages, TrainRequest, candidate_boxes, plan, train,
};
use organseg::roi::BoundingBox;
use organseg::train::{Dataset, Splits, StopSignal};
use organseg::volume::{LabelRule, decimate_labels, read, read_image, read_labels, write};
use organseg_tests::{data, tiny_model};

/// What the paper's boxes cover at best: with a perfect coarse mask, box 1 should hold 98 % of the true
/// box and box 2 99 %, in the mean over real pancreases at real size.
#[test]
fn perfect_coarse_masks_give_boxes_that_hold_the_organ() {
    let Some(data) = data("candidate boxes of real masks") else { return };
    let dataset = data.join("pancreas_masks/groundtruth");
    let (mut recalls, mut cases) = ([0.0; 2], 0);
    for entry in std::fs::read_dir(dataset).unwrap() {
        let mask = read_labels(entry.unwrap().path()).unwrap();
        let coarse = decimate_labels(&mask, [4; 3], LabelRule::Majority).unwrap();
        let boxes = candidate_boxes(&coarse, [4; 3], mask.grid(), &BoxConfig::default()).unwrap();
        let boxes = boxes.expect("a pancreas survives decimation by four");
        let truth = BoundingBox::of_mask(&mask).unwrap();
        recalls[0] += boxes.box1.recall(&truth);
        recalls[1] += boxes.box2.recall(&truth);
        cases += 1;
    }
    let [box1, box2] = recalls.map(|sum| sum / f64::from(cases));
    println!("{cases} cases: mean recall of box 1 {box1:.4}, of box 2 {box2:.4}");
    assert!(cases == 50 && box1 >= 0.98 && box2 >= 0.99, "{cases} cases: {box1}, {box2}");
}

/// A model made on phantoms runs on real scans of other orientation, spacing and type; the masks lie
/// exactly on the scans' grids, on disk too.
#[test]
fn masks_of_real_scans_lie_on_the_scans_own_grids() {
    let Some(data) = data("segmenting real scans") else { return };
    let folder = tempfile::tempdir().unwrap();
    let phantoms = folder.path().join("data");
    write_dataset(&phantoms, 2, &PhantomConfig::default().with_size([40, 36, 28]), 3).unwrap();
    let dataset = Dataset::open(&phantoms).unwrap();
    let splits = Splits::k_fold(&dataset.names(), 2, 0).unwrap();
    let split = splits.fold(0).unwrap();
    let config = plan(&tiny_model(1), None, &dataset, split, MAX_PATCH_VOXELS).unwrap();
    let model = folder.path().join("model");
    train(&TrainRequest {
        dataset: &dataset,
        split,
        config: &config,
        stages: Stages::Both,
        folder: &model,
        resume: false,
        device: &Device::Cpu,
        stop: StopSignal::default(),
    })
    .unwrap();
    let model = Segmenter::load(&model, &Device::Cpu).unwrap();
    for name in ["ct_3mm.nii.gz", "ct_1.5mm_lps.nii.gz"] {
        let scan = read_image(data.join("ct_abdomen").join(name)).unwrap();
        let found = model.segment(&scan).unwrap();
        assert_eq!(found.mask.grid(), scan.grid(), "{name}");
        let path = folder.path().join(name);
        write(&path, &found.mask).unwrap();
        let back = read::<u8>(&path).unwrap();
        assert_eq!(back.grid(), scan.grid(), "{name}");
        assert_eq!(back, found.mask, "{name}");
    }
}
