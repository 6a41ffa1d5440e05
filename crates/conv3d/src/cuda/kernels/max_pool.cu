// Max pooling. Of several largest voxels the first counts, and NaN is larger than anything, as on the CPU.

struct Pooling {
    Index channels; // of all samples
    Index input[3], output[3], kernel[3], stride[3];
};

// Where the largest value of window (z, v, u) of a channel lies.
__device__ __forceinline__ Index largest(const T *x, const Pooling &s, Index z, Index v, Index u) {
    Index start[3] = {z * s.stride[0], v * s.stride[1], u * s.stride[2]};
    Index best = (start[0] * s.input[1] + start[1]) * s.input[2] + start[2];
    A most = get(x[best]);
    for (Index i0 = 0; i0 < s.kernel[0]; ++i0) {
        for (Index i1 = 0; i1 < s.kernel[1]; ++i1) {
            for (Index i2 = 0; i2 < s.kernel[2]; ++i2) {
                Index at = ((start[0] + i0) * s.input[1] + start[1] + i1) * s.input[2] + start[2] + i2;
                A value = get(x[at]);
                if (value > most || value != value) {
                    best = at;
                    most = value;
                }
            }
        }
    }
    return best;
}

extern "C" __global__ void max_pool(const T *x, T *y, Pooling s) {
    Index windows = s.output[0] * s.output[1] * s.output[2];
    Index voxels = s.input[0] * s.input[1] * s.input[2];
    FOR_EACH(i, s.channels * windows) {
        const T *channel = x + i / windows * voxels;
        Index z = i / (s.output[1] * s.output[2]) % s.output[0], v = i / s.output[2] % s.output[1];
        y[i] = channel[largest(channel, s, z, v, i % s.output[2])];
    }
}

// The windows along an axis in which voxel `at` lies: from `first` to `last`.
__device__ __forceinline__ void windows_of(const Pooling &s, int axis, Index at, Index &first, Index &last) {
    Index before = at - s.kernel[axis] + 1;
    first = before <= 0 ? 0 : (before + s.stride[axis] - 1) / s.stride[axis];
    last = at / s.stride[axis];
    if (last >= s.output[axis]) last = s.output[axis] - 1;
}

// Every voxel asks the windows that it lies in: the same sum each time, without atomics.
extern "C" __global__ void max_pool_gradient(const T *x, const T *gradient, T *out, Pooling s) {
    Index windows = s.output[0] * s.output[1] * s.output[2];
    Index voxels = s.input[0] * s.input[1] * s.input[2];
    FOR_EACH(i, s.channels * voxels) {
        Index channel = i / voxels, voxel = i % voxels;
        const T *values = x + channel * voxels;
        Index first[3], last[3];
        windows_of(s, 0, voxel / (s.input[1] * s.input[2]), first[0], last[0]);
        windows_of(s, 1, voxel / s.input[2] % s.input[1], first[1], last[1]);
        windows_of(s, 2, voxel % s.input[2], first[2], last[2]);
        A sum = 0;
        for (Index z = first[0]; z <= last[0]; ++z) {
            for (Index v = first[1]; v <= last[1]; ++v) {
                for (Index u = first[2]; u <= last[2]; ++u) {
                    if (largest(values, s, z, v, u) == voxel) {
                        sum += get(gradient[channel * windows + (z * s.output[1] + v) * s.output[2] + u]);
                    }
                }
            }
        }
        out[i] = put(sum);
    }
}
