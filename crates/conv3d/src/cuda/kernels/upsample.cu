// Upsampling, nearest or trilinear (PyTorch's align_corners=False).

struct Upsampling {
    Index channels; // of all samples
    Index input[3], output[3];
    Index linear;
};

// The two voxels that output `i` of an axis looks at, and the share of the second.
__device__ __forceinline__ void taps(const Upsampling &s, int axis, Index i, Index &near, Index &far, double &share) {
    Index n = s.input[axis], m = s.output[axis];
    if (!s.linear) {
        near = i * n / m;
        if (near > n - 1) near = n - 1;
        far = near;
        share = 0;
        return;
    }
    double at = ((double)i + 0.5) * (double)n / (double)m - 0.5;
    if (at < 0) at = 0;
    near = (Index)at;
    if (near > n - 1) near = n - 1;
    far = near + 1 < n ? near + 1 : n - 1;
    share = at - (double)near;
}

extern "C" __global__ void upsample(const T *x, T *y, Upsampling s) {
    Index results = s.output[0] * s.output[1] * s.output[2];
    Index voxels = s.input[0] * s.input[1] * s.input[2];
    FOR_EACH(i, s.channels * results) {
        Index at[3] = {i / (s.output[1] * s.output[2]) % s.output[0], i / s.output[2] % s.output[1], i % s.output[2]};
        const T *channel = x + i / results * voxels;
        Index place[3][2];
        A weight[3][2];
        for (int axis = 0; axis < 3; ++axis) {
            double share;
            taps(s, axis, at[axis], place[axis][0], place[axis][1], share);
            weight[axis][0] = (A)(1 - share);
            weight[axis][1] = (A)share;
        }
        A sum = 0;
        for (int corner = 0; corner < 8; ++corner) {
            int z = corner / 4, v = corner / 2 % 2, u = corner % 2;
            Index from = (place[0][z] * s.input[1] + place[1][v]) * s.input[2] + place[2][u];
            A share = weight[0][z] * weight[1][v] * weight[2][u];
            // What has no share does not count, were it infinite.
            if (share != (A)0) sum += share * get(channel[from]);
        }
        y[i] = put(sum);
    }
}

// What output `i` of an axis takes of input `at`.
__device__ __forceinline__ A taken(const Upsampling &s, int axis, Index i, Index at) {
    Index near, far;
    double share;
    taps(s, axis, i, near, far, share);
    return (A)((near == at ? 1 - share : 0) + (far == at ? share : 0));
}

// The outputs of an axis that may look at input `at`: from `first` to `last`.
__device__ __forceinline__ void lookers(const Upsampling &s, int axis, Index at, Index &first, Index &last) {
    Index n = s.input[axis], m = s.output[axis];
    first = at <= 1 ? 0 : (at - 1) * m / n - 1;
    if (first < 0) first = 0;
    last = at >= n - 2 ? m - 1 : ((at + 2) * m + n - 1) / n;
    if (last > m - 1) last = m - 1;
}

// Every input asks the outputs that look at it: the same sum each time, without atomics.
extern "C" __global__ void upsample_gradient(const T *gradient, T *out, Upsampling s) {
    Index results = s.output[0] * s.output[1] * s.output[2];
    Index voxels = s.input[0] * s.input[1] * s.input[2];
    FOR_EACH(i, s.channels * voxels) {
        Index at[3] = {i / (s.input[1] * s.input[2]) % s.input[0], i / s.input[2] % s.input[1], i % s.input[2]};
        const T *channel = gradient + i / voxels * results;
        Index first[3], last[3];
        for (int axis = 0; axis < 3; ++axis) lookers(s, axis, at[axis], first[axis], last[axis]);
        A sum = 0;
        for (Index z = first[0]; z <= last[0]; ++z) {
            A for_z = taken(s, 0, z, at[0]);
            if (for_z == 0) continue;
            for (Index v = first[1]; v <= last[1]; ++v) {
                A for_v = for_z * taken(s, 1, v, at[1]);
                if (for_v == 0) continue;
                for (Index u = first[2]; u <= last[2]; ++u) {
                    A weight = for_v * taken(s, 2, u, at[2]);
                    if (weight != 0) sum += weight * get(channel[(z * s.output[1] + v) * s.output[2] + u]);
                }
            }
        }
        out[i] = put(sum);
    }
}
