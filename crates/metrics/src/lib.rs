//! How well one segmentation agrees with another: overlaps, surface distances, box overlaps, tables
