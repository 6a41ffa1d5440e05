//! 3D convolution, transposed convolution, pooling, instance norm and upsampling for candle, forward and backward
