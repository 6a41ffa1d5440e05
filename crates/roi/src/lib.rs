//! Regions of interest in volumes: bounding boxes, crops, connected components, voting
