//! Training 3D segmentation networks: datasets, patches, augmentation, optimizers, schedules, checkpoints
