// What the losses of scores need of each slice of each class, and their gradient. Scores z and truth y are
// (N, K, D, H, W), weights of voxels (N, D, H, W) or none. p is the softmax of z.

struct Slices {
    Index batch, classes, size[3];
};

#define SUMS 10

__device__ __forceinline__ Index voxel_of(const Slices &s, Index n, Index k, Index z) {
    return ((n * s.classes + k) * s.size[0] + z) * s.size[1] * s.size[2];
}

// The largest score of a voxel and log Σ e^(z − largest); scores of a class are `step` apart.
__device__ __forceinline__ void softmax_of(const T *z, Index classes, Index step, A &most, A &log_sum) {
    most = get(z[0]);
    for (Index k = 1; k < classes; ++k) {
        A value = get(z[k * step]);
        if (value > most || value != value) most = value;
    }
    A sum = 0;
    for (Index k = 0; k < classes; ++k) sum += exp(get(z[k * step]) - most);
    log_sum = log(sum);
}

struct Loss {
    const T *scores, *truth;
    const float *near;
    Index step, classes;
    bool has_focus;
    A focus, least_doubt;
};

// Adds to the sums of class k what a voxel has, of which log p, whether it counts and u, v are known.
__device__ __forceinline__ void add_voxel(A (&all)[SUMS], const Loss &loss, Index k, Index at, A log_p, A counted, A u, A v) {
    A own = exp(log_p), p = own * counted, here = get(loss.truth[k * loss.step + at]);
    A weight = loss.near ? (A)loss.near[at] : (A)1;
    all[0] += p;
    all[1] += here;
    all[2] += here * p;
    all[3] += here * weight;
    if (here != 0) {
        all[4] -= here * weight * log_p;
        if (loss.has_focus) {
            A doubt = 1 - own;
            if (doubt < loss.least_doubt) doubt = loss.least_doubt;
            all[5] -= pow(doubt, loss.focus) * log_p;
        }
    }
    all[6] += u * p;
    all[7] += v * p;
    all[8] += u * here;
    all[9] += v * here;
}

// A thread's sums over its voxels of `K` classes from `first` on.
template <int K>
__device__ __forceinline__ void slice_sums(const Loss &loss, Index first, Index area, Index width, double *sums) {
    __shared__ double shared[32];
    A all[K][SUMS];
    for (int k = 0; k < K; ++k)
        for (int i = 0; i < SUMS; ++i) all[k][i] = 0;
    for (Index at = threadIdx.x; at < area; at += blockDim.x) {
        A most, log_sum, counted = 0;
        for (Index other = 0; other < loss.classes; ++other) counted += get(loss.truth[other * loss.step + at]);
        softmax_of(loss.scores + at, loss.classes, loss.step, most, log_sum);
        A u = (A)((int)at % (int)width), v = (A)((int)at / (int)width);
        for (int k = 0; k < K; ++k) {
            A log_p = get(loss.scores[(first + k) * loss.step + at]) - most - log_sum;
            add_voxel(all[k], loss, first + k, at, log_p, counted, u, v);
        }
    }
    for (int k = 0; k < K; ++k) {
        for (int i = 0; i < SUMS; ++i) {
            double total = block_sum((double)all[k][i], shared);
            if (threadIdx.x == 0) sums[(first + k) * SUMS + i] = total;
        }
    }
}

// A block for each slice of each sample. Sums of each class: p, y, y p, weight y, −weight y log p, focal, u p, v p, u y,
// v y, over the voxels of which the truth names a class. Threads add few voxels each, in A; blocks in double.
extern "C" __global__ void __launch_bounds__(512) loss_sums(
    const T *z, const T *y, const float *near, int has_near, double *sums, Slices s, int has_focus, double focus, double least_doubt) {
    Index n = blockIdx.x / s.size[0], slice = blockIdx.x % s.size[0], area = s.size[1] * s.size[2];
    Loss loss = {z + voxel_of(s, n, 0, slice), y + voxel_of(s, n, 0, slice),
        has_near ? near + (n * s.size[0] + slice) * area : nullptr, s.size[0] * area, s.classes,
        has_focus != 0, (A)focus, (A)least_doubt};
    double *to = sums + blockIdx.x * s.classes * SUMS;
    Index k = 0;
    for (; k + 3 <= s.classes; k += 3) slice_sums<3>(loss, k, area, s.size[2], to);
    for (; k + 2 <= s.classes; k += 2) slice_sums<2>(loss, k, area, s.size[2], to);
    for (; k < s.classes; ++k) slice_sums<1>(loss, k, area, s.size[2], to);
}

// The gradient for the scores: that for p of each class and slice is a + b y + c u + d v, whose four numbers are `terms`
// (N, D, K, 4); of the cross-entropy and the focal loss, `entropy` and `focal` are what their sums are multiplied by.
extern "C" __global__ void loss_gradient(
    const T *z, const T *y, const float *near, int has_near, const float *terms, const float *class_weights, T *out,
    Slices s, double entropy, double focal, int has_focus, double focus, double least_doubt) {
    Index area = s.size[1] * s.size[2], step = s.size[0] * area;
    FOR_EACH(i, s.batch * step) {
        Index n = i / step, slice = i / area % s.size[0], at = i % area;
        Index from = voxel_of(s, n, 0, slice) + at;
        A u = (A)(at % s.size[2]), v = (A)(at / s.size[2]);
        A weight = has_near ? (A)near[i] : (A)1;
        A most, log_sum, counted = 0, named = 0, slope = 0, mean = 0;
        softmax_of(z + from, s.classes, step, most, log_sum);
        for (Index k = 0; k < s.classes; ++k) {
            A here = get(y[from + k * step]), p = exp(get(z[from + k * step]) - most - log_sum);
            counted += here;
            named += (A)class_weights[k] * here * weight;
            if (has_focus && here != 0) {
                A doubt = 1 - p, log_p = log(p > (A)1.17549435e-38 ? p : (A)1.17549435e-38);
                if (doubt < (A)least_doubt) doubt = (A)least_doubt;
                A gamma = (A)focus;
                A f = gamma * pow(doubt, gamma - 1) * p * log_p - pow(doubt, gamma);
                slope += (A)focal * (A)class_weights[k] * here * f;
            }
        }
        const float *term = terms + (n * s.size[0] + slice) * s.classes * 4;
        for (Index k = 0; k < s.classes; ++k) {
            A p = exp(get(z[from + k * step]) - most - log_sum), here = get(y[from + k * step]);
            A own = ((A)term[4 * k] + (A)term[4 * k + 1] * here + (A)term[4 * k + 2] * u + (A)term[4 * k + 3] * v) * counted;
            mean += p * own;
        }
        for (Index k = 0; k < s.classes; ++k) {
            A p = exp(get(z[from + k * step]) - most - log_sum), here = get(y[from + k * step]);
            A own = ((A)term[4 * k] + (A)term[4 * k + 1] * here + (A)term[4 * k + 2] * u + (A)term[4 * k + 3] * v) * counted;
            A of_class = (A)class_weights[k] * here * weight;
            out[from + k * step] = put(p * (own - mean) + (A)entropy * (p * named - of_class) + slope * (here - p));
        }
    }
}

// 1 for the class that a label names, else 0; all 0 for the label `ignored`.
extern "C" __global__ void one_hot(const unsigned char *labels, T *out, Index count, Index voxels, Index classes, int ignored) {
    FOR_EACH(i, count) {
        Index n = i / voxels, at = i % voxels;
        int label = labels[i];
        for (Index k = 0; k < classes; ++k) {
            out[(n * classes + k) * voxels + at] = put((A)(label == k && label != ignored));
        }
    }
}
