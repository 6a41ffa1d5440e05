//! The inputs of some outputs, laid out as a matrix.
//!
//! ```text
//! for each channel c, kernel voxel (i, j, l):            a row of the matrix
//!   for each output voxel (z, y, x) of the chunk:        a column
//!     input[c, z·s + i − p, y·s + j − p, x·s + l − p], or 0 outside
//! ```
//! Convolution is then one product of matrices: weight (C_out × C·k) · columns (C·k × voxels).

use candle_core::WithDType;

use crate::params::ConvShape;

/// Numbers in the matrix of one chunk: half a megabyte of f32, so that it stays in the second-level
/// cache between being made and being multiplied.
const CHUNK_NUMBERS: usize = 1 << 17;

/// Fewest and most columns of a chunk: enough to pay for packing the weights, few enough to share out.
const CHUNK_COLUMNS: [usize; 2] = [96, 4096];

/// Output voxels a chunk has. A function of the shape alone, so that threads change no sum.
pub(crate) fn chunk_columns(shape: &ConvShape) -> usize {
    let [least, most] = CHUNK_COLUMNS;
    (CHUNK_NUMBERS / shape.products().max(1)).clamp(least, most).min(shape.output_voxels().max(1))
}

/// Fills `columns` (C·k rows of `count`) with the inputs of the outputs `from`‥`from + count`; `input` is
/// one sample.
pub(crate) fn im2col<T: WithDType>(
    shape: &ConvShape,
    input: &[T],
    from: usize,
    count: usize,
    columns: &mut [T],
) {
    let [kd, kh, kw] = shape.kernel;
    let volume = shape.input_voxels();
    for (row, out) in columns.chunks_exact_mut(count).take(shape.products()).enumerate() {
        let (channel, tap) = (row / shape.taps(), row % shape.taps());
        let kernel = [tap / (kh * kw) % kd, tap / kw % kh, tap % kw];
        fill_row(shape, &input[channel * volume..(channel + 1) * volume], kernel, from, out);
    }
}

fn fill_row<T: WithDType>(shape: &ConvShape, input: &[T], [i, j, l]: [usize; 3], from: usize, out: &mut [T]) {
    let [depth, height, width] = shape.input;
    let [_, rows, row_length] = shape.output;
    let mut done = 0;
    while done < out.len() {
        let at = from + done;
        let (z, y, x) = (at / (rows * row_length), at / row_length % rows, at % row_length);
        let run = (row_length - x).min(out.len() - done);
        let run_out = &mut out[done..done + run];
        // Wraps to something huge in the padding before the first voxel.
        let z = (z * shape.stride[0] + i).wrapping_sub(shape.padding[0]);
        let y = (y * shape.stride[1] + j).wrapping_sub(shape.padding[1]);
        if z < depth && y < height {
            let line = &input[(z * height + y) * width..][..width];
            fill_run(line, x, shape.stride[2], l, shape.padding[2], run_out);
        } else {
            run_out.fill(T::zero());
        }
        done += run;
    }
}

/// `out[t] = line[(x + t) · stride + shift − padding]`, zero outside.
fn fill_run<T: WithDType>(line: &[T], x: usize, stride: usize, shift: usize, padding: usize, out: &mut [T]) {
    if stride == 1 {
        // The part of the run that lies on the line, as t from `first` to `last`.
        let first = padding.saturating_sub(x + shift).min(out.len());
        let last = (line.len() + padding).saturating_sub(x + shift).min(out.len()).max(first);
        out[..first].fill(T::zero());
        if last > first {
            let start = x + first + shift - padding;
            out[first..last].copy_from_slice(&line[start..start + last - first]);
        }
        out[last..].fill(T::zero());
    } else {
        for (t, out) in out.iter_mut().enumerate() {
            let at = ((x + t) * stride + shift).wrapping_sub(padding);
            *out = line.get(at).copied().unwrap_or_else(T::zero);
        }
    }
}
