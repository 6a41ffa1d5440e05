//! A configurable 3D U-Net on candle with Dice and center loss
