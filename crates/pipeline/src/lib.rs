//! Coarse-to-fine segmentation: find the organ at low resolution, look again at full resolution, vote
