// Convolution and both its gradients as the sums that they are, for builds without cuDNN and for whatever cuDNN
// declines. Tensors are dense, in any order; what is written is counted as (N, C, D, H, W) or (O, C, kD, kH, kW).

struct Convolution {
    Index batch, inputs, outputs;
    Index input[3], kernel[3], output[3], stride[3], padding[3];
    // Steps along (N, C, D, H, W), those of the weights along (O, C, kD, kH, kW).
    Index x[5], weights[5], y[5];
};

__device__ __forceinline__ Index place(const Index (&step)[5], Index n, Index c, Index z, Index v, Index u) {
    return n * step[0] + c * step[1] + z * step[2] + v * step[3] + u * step[4];
}

extern "C" __global__ void convolution_forward(
    const T *x, const T *weights, T *y, Convolution s) {
    Index voxels = s.output[0] * s.output[1] * s.output[2];
    FOR_EACH(i, s.batch * s.outputs * voxels) {
        Index at[3] = {i / (s.output[1] * s.output[2]) % s.output[0], i / s.output[2] % s.output[1], i % s.output[2]};
        Index o = i / voxels % s.outputs, n = i / (voxels * s.outputs);
        A sum = 0;
        for (Index c = 0; c < s.inputs; ++c) {
            for (Index i0 = 0; i0 < s.kernel[0]; ++i0) {
                Index z = at[0] * s.stride[0] + i0 - s.padding[0];
                if (z < 0 || z >= s.input[0]) continue;
                for (Index i1 = 0; i1 < s.kernel[1]; ++i1) {
                    Index v = at[1] * s.stride[1] + i1 - s.padding[1];
                    if (v < 0 || v >= s.input[1]) continue;
                    for (Index i2 = 0; i2 < s.kernel[2]; ++i2) {
                        Index u = at[2] * s.stride[2] + i2 - s.padding[2];
                        if (u < 0 || u >= s.input[2]) continue;
                        sum += get(weights[place(s.weights, o, c, i0, i1, i2)]) * get(x[place(s.x, n, c, z, v, u)]);
                    }
                }
            }
        }
        y[place(s.y, n, o, at[0], at[1], at[2])] = put(sum);
    }
}

// Which output looked with tap `tap` at input `at` of an axis, or −1.
__device__ __forceinline__ Index looked(Index at, Index tap, Index stride, Index padding, Index outputs) {
    Index from = at + padding - tap;
    if (from < 0 || from % stride != 0) return -1;
    return from / stride < outputs ? from / stride : -1;
}

extern "C" __global__ void convolution_input_gradient(const T *gradient, const T *weights, T *out, Convolution s) {
    Index voxels = s.input[0] * s.input[1] * s.input[2];
    FOR_EACH(i, s.batch * s.inputs * voxels) {
        Index at[3] = {i / (s.input[1] * s.input[2]) % s.input[0], i / s.input[2] % s.input[1], i % s.input[2]};
        Index c = i / voxels % s.inputs, n = i / (voxels * s.inputs);
        A sum = 0;
        for (Index i0 = 0; i0 < s.kernel[0]; ++i0) {
            Index z = looked(at[0], i0, s.stride[0], s.padding[0], s.output[0]);
            if (z < 0) continue;
            for (Index i1 = 0; i1 < s.kernel[1]; ++i1) {
                Index v = looked(at[1], i1, s.stride[1], s.padding[1], s.output[1]);
                if (v < 0) continue;
                for (Index i2 = 0; i2 < s.kernel[2]; ++i2) {
                    Index u = looked(at[2], i2, s.stride[2], s.padding[2], s.output[2]);
                    if (u < 0) continue;
                    for (Index o = 0; o < s.outputs; ++o) {
                        sum += get(weights[place(s.weights, o, c, i0, i1, i2)]) * get(gradient[place(s.y, n, o, z, v, u)]);
                    }
                }
            }
        }
        out[place(s.x, n, c, at[0], at[1], at[2])] = put(sum);
    }
}

// A block for each weight.
extern "C" __global__ void convolution_weight_gradient(const T *x, const T *gradient, T *out, Convolution s) {
    __shared__ double shared[32];
    Index results = s.output[0] * s.output[1] * s.output[2];
    Index taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
    for (Index weight = blockIdx.x; weight < s.outputs * s.inputs * taps; weight += gridDim.x) {
        Index tap = weight % taps, c = weight / taps % s.inputs, o = weight / (taps * s.inputs);
        Index at[3] = {tap / (s.kernel[1] * s.kernel[2]), tap / s.kernel[2] % s.kernel[1], tap % s.kernel[2]};
        Index shift[3] = {at[0] - s.padding[0], at[1] - s.padding[1], at[2] - s.padding[2]};
        double sum = 0;
        for (Index i = threadIdx.x; i < s.batch * results; i += blockDim.x) {
            Index n = i / results, voxel = i % results;
            Index q[3] = {voxel / (s.output[1] * s.output[2]), voxel / s.output[2] % s.output[1], voxel % s.output[2]};
            Index z = q[0] * s.stride[0] + shift[0], v = q[1] * s.stride[1] + shift[1], u = q[2] * s.stride[2] + shift[2];
            if (z < 0 || z >= s.input[0] || v < 0 || v >= s.input[1] || u < 0 || u >= s.input[2]) continue;
            sum += (double)get(x[place(s.x, n, c, z, v, u)])
                 * (double)get(gradient[place(s.y, n, o, q[0], q[1], q[2])]);
        }
        sum = block_sum(sum, shared);
        if (threadIdx.x == 0) out[place(s.weights, o, c, at[0], at[1], at[2])] = put((A)sum);
    }
}
