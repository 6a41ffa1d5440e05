//! Coarse-to-fine 3D organ segmentation: every crate of the organseg workspace under one name
