// Tensors (N, D, H, W, C). A thread has V neighbouring channels, whose terms it keeps, and walks over voxels: channels
// along threadIdx.x, voxels along threadIdx.y and blockIdx.x, samples along blockIdx.y. `step` is from a voxel to the
// next. Terms are rows of (N, C) numbers: mean, 1/σ, scale, shift, and for gradients A, B, γ.

template <int V> __device__ __forceinline__ void load(const T *from, A (&to)[V]) {
    Pack<V> pack = *(const Pack<V> *)from;
    for (int v = 0; v < V; ++v) to[v] = get(pack.value[v]);
}

template <int V> __device__ __forceinline__ void store(T *to, const A (&from)[V]) {
    Pack<V> pack;
    for (int v = 0; v < V; ++v) pack.value[v] = put(from[v]);
    *(Pack<V> *)to = pack;
}

// Row `k` of the terms of V channels from c on of sample n.
template <int V>
__device__ __forceinline__ void row(const double *terms, int k, Index batch, Index channels, Index n, Index c, A (&to)[V]) {
    for (int v = 0; v < V; ++v) to[v] = (A)terms[(k * batch + n) * channels + c + v];
}

#define CHANNELS(c) for (Index c = (Index)threadIdx.x * V; c < channels; c += (Index)blockDim.x * V)
#define VOXELS(i, count)                                                                       \
    for (Index i = (Index)blockIdx.x * blockDim.y + threadIdx.y; i < (count); i += (Index)gridDim.x * blockDim.y)

template <int V>
__device__ void activate_of(const T *y, Index y_step, const double *terms, T *out, Index out_step, Index volume, Index channels, double slope) {
    Index n = blockIdx.y, batch = gridDim.y;
    A below = (A)slope;
    CHANNELS(c) {
        A scale[V], shift[V];
        row<V>(terms, 2, batch, channels, n, c, scale);
        row<V>(terms, 3, batch, channels, n, c, shift);
        VOXELS(i, volume) {
            A values[V];
            load<V>(y + (n * volume + i) * y_step + c, values);
            for (int v = 0; v < V; ++v) {
                A z = scale[v] * values[v] + shift[v];
                values[v] = z > 0 ? z : z * below;
            }
            store<V>(out + (n * volume + i) * out_step + c, values);
        }
    }
}

template <int V>
__device__ void accumulate_of(T *sum, Index sum_step, const T *more, Index more_step, Index volume, Index channels) {
    Index n = blockIdx.y;
    CHANNELS(c) {
        VOXELS(i, volume) {
            A values[V], others[V];
            T *to = sum + (n * volume + i) * sum_step + c;
            load<V>(to, values);
            load<V>(more + (n * volume + i) * more_step + c, others);
            for (int v = 0; v < V; ++v) values[v] += others[v];
            store<V>(to, values);
        }
    }
}

template <int V>
__device__ void copy_of(T *to, Index to_step, const T *from, Index from_step, Index volume, Index channels) {
    Index n = blockIdx.y;
    CHANNELS(c) {
        VOXELS(i, volume) {
            *(Pack<V> *)(to + (n * volume + i) * to_step + c) = *(const Pack<V> *)(from + (n * volume + i) * from_step + c);
        }
    }
}

// Sums `first` and `second` of V channels over the voxels of a block, for its entry among `sums`: for each sample and
// block, C pairs.
template <int V>
__device__ __forceinline__ void block_pairs(const A (&first)[V], const A (&second)[V], double *sums, Index channels, Index c) {
    __shared__ A shared[2][8 * 256];
    int width = blockDim.x * V, at = threadIdx.y * width + threadIdx.x * V;
    __syncthreads();
    for (int v = 0; v < V; ++v) {
        shared[0][at + v] = first[v];
        shared[1][at + v] = second[v];
    }
    __syncthreads();
    // The channels of this round, c − threadIdx.x · V on; each thread joins some of them over the rows.
    Index start = c - (Index)threadIdx.x * V;
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < 2 * width; i += blockDim.x * blockDim.y) {
        int channel = i % width, which = i / width;
        if (start + channel >= channels) continue;
        double total = 0;
        for (int r = 0; r < (int)blockDim.y; ++r) total += (double)shared[which][r * width + channel];
        sums[(((Index)blockIdx.y * gridDim.x + blockIdx.x) * channels + start + channel) * 2 + which] = total;
    }
    __syncthreads();
}

// Every thread of a block goes through as many rounds of channels, with nothing to add in those past the end.
#define ROUNDS(c) for (Index c = (Index)threadIdx.x * V; c - (Index)threadIdx.x * V < channels; c += (Index)blockDim.x * V)

// Σ (y − y₀) and Σ (y − y₀)², y₀ the first value of the channel.
template <int V>
__device__ void moments_of(const T *y, Index y_step, double *sums, Index volume, Index channels) {
    Index n = blockIdx.y;
    ROUNDS(c) {
        A sum[V], squares[V];
        for (int v = 0; v < V; ++v) sum[v] = squares[v] = 0;
        if (c < channels) {
            A origin[V];
            load<V>(y + n * volume * y_step + c, origin);
            VOXELS(i, volume) {
                A values[V];
                load<V>(y + (n * volume + i) * y_step + c, values);
                for (int v = 0; v < V; ++v) {
                    A off = values[v] - origin[v];
                    sum[v] += off;
                    squares[v] += off * off;
                }
            }
        }
        block_pairs<V>(sum, squares, sums, channels, c);
    }
}

// Σ g′ and Σ g′ x̂.
template <int V>
__device__ void sums_of(const T *g, Index g_step, const T *y, Index y_step, const double *terms, double *sums, Index volume, Index channels, double slope) {
    Index n = blockIdx.y, batch = gridDim.y;
    A below = (A)slope;
    ROUNDS(c) {
        A sum[V], product[V];
        for (int v = 0; v < V; ++v) sum[v] = product[v] = 0;
        if (c < channels) {
            A mean[V], inverse[V], scale[V], shift[V];
            row<V>(terms, 0, batch, channels, n, c, mean);
            row<V>(terms, 1, batch, channels, n, c, inverse);
            row<V>(terms, 2, batch, channels, n, c, scale);
            row<V>(terms, 3, batch, channels, n, c, shift);
            VOXELS(i, volume) {
                A values[V], gradient[V];
                load<V>(y + (n * volume + i) * y_step + c, values);
                load<V>(g + (n * volume + i) * g_step + c, gradient);
                for (int v = 0; v < V; ++v) {
                    A through = scale[v] * values[v] + shift[v] > 0 ? gradient[v] : gradient[v] * below;
                    sum[v] += through;
                    product[v] += through * (values[v] - mean[v]) * inverse[v];
                }
            }
        }
        block_pairs<V>(sum, product, sums, channels, c);
    }
}

// Σ g, beside zeros.
template <int V>
__device__ void totals_of(const T *g, Index g_step, double *sums, Index volume, Index channels) {
    Index n = blockIdx.y;
    ROUNDS(c) {
        A sum[V], none[V];
        for (int v = 0; v < V; ++v) sum[v] = none[v] = 0;
        if (c < channels) {
            VOXELS(i, volume) {
                A values[V];
                load<V>(g + (n * volume + i) * g_step + c, values);
                for (int v = 0; v < V; ++v) sum[v] += values[v];
            }
        }
        block_pairs<V>(sum, none, sums, channels, c);
    }
}

template <int V>
__device__ void gradient_of(const T *g, Index g_step, const T *y, Index y_step, const double *terms, T *out, Index volume, Index channels, double slope) {
    Index n = blockIdx.y, batch = gridDim.y;
    A below = (A)slope;
    CHANNELS(c) {
        A mean[V], inverse[V], scale[V], shift[V], a[V], b[V], gamma[V];
        row<V>(terms, 0, batch, channels, n, c, mean);
        row<V>(terms, 1, batch, channels, n, c, inverse);
        row<V>(terms, 2, batch, channels, n, c, scale);
        row<V>(terms, 3, batch, channels, n, c, shift);
        row<V>(terms, 4, batch, channels, n, c, a);
        row<V>(terms, 5, batch, channels, n, c, b);
        row<V>(terms, 6, batch, channels, n, c, gamma);
        VOXELS(i, volume) {
            A values[V], gradient[V];
            load<V>(y + (n * volume + i) * y_step + c, values);
            load<V>(g + (n * volume + i) * g_step + c, gradient);
            for (int v = 0; v < V; ++v) {
                A through = scale[v] * values[v] + shift[v] > 0 ? gradient[v] : gradient[v] * below;
                A normal = (values[v] - mean[v]) * inverse[v];
                values[v] = inverse[v] * (gamma[v] * through - a[v] - normal * b[v]);
            }
            store<V>(out + (n * volume + i) * channels + c, values);
        }
    }
}

struct Halving {
    Index size[3], pooled[3];
};

// The voxel of corner `corner` of window `window` of a sample.
__device__ __forceinline__ Index corner_of(const Halving &s, Index window, int corner) {
    unsigned int at = (unsigned int)window, ph = (unsigned int)s.pooled[1], pw = (unsigned int)s.pooled[2];
    Index z = 2 * (at / (ph * pw)) + corner / 4, h = 2 * (at / pw % ph) + corner / 2 % 2, w = 2 * (at % pw) + corner % 2;
    return (z * s.size[1] + h) * s.size[2] + w;
}

// The largest value of each channel of a window, and which corner had it first.
template <int V>
__device__ __forceinline__ void winners(const T *y, Index y_step, const A (&scale)[V], const A (&shift)[V], A below, const Halving &s, Index window, A (&most)[V], int (&corners)[V]) {
    for (int corner = 0; corner < 8; ++corner) {
        A values[V];
        load<V>(y + corner_of(s, window, corner) * y_step, values);
        for (int v = 0; v < V; ++v) {
            A z = scale[v] * values[v] + shift[v];
            A value = z > 0 ? z : z * below;
            if (corner == 0 || value > most[v] || value != value) {
                most[v] = value;
                corners[v] = corner;
            }
        }
    }
}

template <int V>
__device__ void pool_of(const T *y, Index y_step, const double *terms, T *out, Halving s, Index channels, double slope) {
    Index n = blockIdx.y, batch = gridDim.y;
    Index volume = s.size[0] * s.size[1] * s.size[2], windows = s.pooled[0] * s.pooled[1] * s.pooled[2];
    CHANNELS(c) {
        A scale[V], shift[V];
        row<V>(terms, 2, batch, channels, n, c, scale);
        row<V>(terms, 3, batch, channels, n, c, shift);
        VOXELS(window, windows) {
            A most[V];
            int corners[V];
            winners<V>(y + n * volume * y_step + c, y_step, scale, shift, (A)slope, s, window, most, corners);
            store<V>(out + (n * windows + window) * channels + c, most);
        }
    }
}

template <int V>
__device__ void unpool_of(T *sum, Index sum_step, const T *y, Index y_step, const double *terms, const T *g, Index g_step, Halving s, Index channels, double slope) {
    Index n = blockIdx.y, batch = gridDim.y;
    Index volume = s.size[0] * s.size[1] * s.size[2], windows = s.pooled[0] * s.pooled[1] * s.pooled[2];
    CHANNELS(c) {
        A scale[V], shift[V];
        row<V>(terms, 2, batch, channels, n, c, scale);
        row<V>(terms, 3, batch, channels, n, c, shift);
        VOXELS(window, windows) {
            A most[V], gradient[V];
            int corners[V];
            winners<V>(y + n * volume * y_step + c, y_step, scale, shift, (A)slope, s, window, most, corners);
            load<V>(g + (n * windows + window) * g_step + c, gradient);
            for (int v = 0; v < V; ++v) {
                // Windows do not overlap: this voxel and channel is of this thread alone.
                T *to = sum + (n * volume + corner_of(s, window, corners[v])) * sum_step + c + v;
                *to = put(get(*to) + gradient[v]);
            }
        }
    }
}

// Joins the entries of a sample's blocks, 8 rows of threads at a time, in a fixed order: totals for threadIdx.y = 0.
__device__ __forceinline__ void joined(const double *sums, Index pieces, Index channels, Index n, Index c, double &first, double &second) {
    __shared__ double shared[2][8][32];
    first = second = 0;
    for (Index piece = threadIdx.y; c < channels && piece < pieces; piece += blockDim.y) {
        const double *pair = sums + ((n * pieces + piece) * channels + c) * 2;
        first += pair[0];
        second += pair[1];
    }
    __syncthreads();
    shared[0][threadIdx.y][threadIdx.x] = first;
    shared[1][threadIdx.y][threadIdx.x] = second;
    __syncthreads();
    if (threadIdx.y == 0) {
        for (int r = 1; r < (int)blockDim.y; ++r) {
            first += shared[0][r][threadIdx.x];
            second += shared[1][r][threadIdx.x];
        }
    }
}

// The terms of a norm from sums of values and of squares, less the first value of a channel of `about` if there is one.
extern "C" __global__ void last_norm_terms(
    const T *about, Index step, int is_about, const double *sums, const A *gamma, const A *beta, double epsilon,
    double *terms, Index volume, Index channels, Index pieces) {
    Index n = blockIdx.y, row = gridDim.y * channels, c = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    double sum, squares;
    joined(sums, pieces, channels, n, c, sum, squares);
    if (threadIdx.y != 0 || c >= channels) return;
    double off = sum / (double)volume, variance = squares / (double)volume - off * off;
    double mean = off + (is_about ? (double)get(about[n * volume * step + c]) : 0);
    double inverse = 1 / sqrt((variance < 0 ? 0 : variance) + epsilon), scale = (double)gamma[c] * inverse;
    double *to = terms + n * channels + c;
    to[0] = mean;
    to[row] = inverse;
    to[2 * row] = scale;
    to[3 * row] = (double)beta[c] - mean * scale;
}

// From the sums of `sums` the seven rows of terms that `gradient` takes, and the gradients of scale and shift.
extern "C" __global__ void last_norm_gradients(
    const double *sums, const double *terms, const A *gamma, double *out, A *for_gamma, A *for_beta, Index batch,
    Index volume, Index channels, Index pieces) {
    Index row = batch * channels, c = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    double all_first = 0, all_second = 0;
    for (Index n = 0; n < batch; ++n) {
        double first, second;
        joined(sums, pieces, channels, n, c, first, second);
        if (threadIdx.y != 0 || c >= channels) continue;
        all_first += first;
        all_second += second;
        double factor = (double)gamma[c];
        Index at = n * channels + c;
        for (int k = 0; k < 4; ++k) out[k * row + at] = terms[k * row + at];
        out[4 * row + at] = first * factor / (double)volume;
        out[5 * row + at] = second * factor / (double)volume;
        out[6 * row + at] = factor;
    }
    if (threadIdx.y != 0 || c >= channels) return;
    for_beta[c] = (A)all_first;
    for_gamma[c] = (A)all_second;
}

// Totals of the first sums over all samples.
extern "C" __global__ void last_totals_join(const double *sums, A *out, Index batch, Index channels, Index pieces) {
    Index c = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    double all = 0;
    for (Index n = 0; n < batch; ++n) {
        double first, second;
        joined(sums, pieces, channels, n, c, first, second);
        all += first;
    }
    if (threadIdx.y == 0 && c < channels) out[c] = (A)all;
}

// The terms of a bias: 0, 1, 1 and b.
extern "C" __global__ void last_bias_terms(const A *bias, double *terms, Index batch, Index channels) {
    FOR_EACH(i, batch * channels) {
        double *to = terms + i;
        Index row = batch * channels;
        to[0] = 0;
        to[row] = to[2 * row] = 1;
        to[3 * row] = (double)bias[i % channels];
    }
}

// Each once for eight channels a thread, whose start and steps must be multiples of eight, and once for any.
#define ONE_AND_EIGHT(name, parameters, arguments)                                             \
    extern "C" __global__ void last_##name##_1 parameters { name##_of<1> arguments; }          \
    extern "C" __global__ void last_##name##_8 parameters { name##_of<8> arguments; }

ONE_AND_EIGHT(activate,
    (const T *y, Index y_step, const double *terms, T *out, Index out_step, Index volume, Index channels, double slope),
    (y, y_step, terms, out, out_step, volume, channels, slope))
ONE_AND_EIGHT(accumulate,
    (T *sum, Index sum_step, const T *more, Index more_step, Index volume, Index channels),
    (sum, sum_step, more, more_step, volume, channels))
ONE_AND_EIGHT(copy,
    (T *to, Index to_step, const T *from, Index from_step, Index volume, Index channels),
    (to, to_step, from, from_step, volume, channels))
ONE_AND_EIGHT(totals,
    (const T *g, Index g_step, double *sums, Index volume, Index channels),
    (g, g_step, sums, volume, channels))
ONE_AND_EIGHT(moments,
    (const T *y, Index y_step, double *sums, Index volume, Index channels),
    (y, y_step, sums, volume, channels))
ONE_AND_EIGHT(sums,
    (const T *g, Index g_step, const T *y, Index y_step, const double *terms, double *sums, Index volume, Index channels, double slope),
    (g, g_step, y, y_step, terms, sums, volume, channels, slope))
ONE_AND_EIGHT(gradient,
    (const T *g, Index g_step, const T *y, Index y_step, const double *terms, T *out, Index volume, Index channels, double slope),
    (g, g_step, y, y_step, terms, out, volume, channels, slope))
ONE_AND_EIGHT(pool,
    (const T *y, Index y_step, const double *terms, T *out, Halving s, Index channels, double slope),
    (y, y_step, terms, out, s, channels, slope))
ONE_AND_EIGHT(unpool,
    (T *sum, Index sum_step, const T *y, Index y_step, const double *terms, const T *g, Index g_step, Halving s, Index channels, double slope),
    (sum, sum_step, y, y_step, terms, g, g_step, s, channels, slope))
