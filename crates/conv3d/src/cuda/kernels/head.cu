// A 1×1×1 convolution to CLASSES scores, with its gradients. Values are tensors (N, D, H, W, C) as in channels_last.cu,
// read as x = act(scale · y + shift) rounded to T if `read`, and as they are if not; scores and their gradients are
// (N, CLASSES, D, H, W) of type A.
//
//   scores[k] = Σ_c weights[k, c] x[c] + bias[k]
//   dx[c] = Σ_k g[k] weights[k, c],  dW[k, c] = Σ g[k] x[c],  db[k] = Σ g[k] over voxels and samples

// As many numbers as a launch says.
extern __shared__ __align__(16) double room[];

__device__ __forceinline__ A as_read(A y, A scale, A shift, A slope) {
    A z = scale * y + shift;
    return rounded(z > 0 ? z : z * slope);
}

// Of LANES sums that each of LANES neighbouring lanes has a part of, lane i gets the i-th. Each step halves what a lane
// still has a part of.
template <int LANES> __device__ __forceinline__ A gathered(A (&parts)[LANES], int lane) {
#pragma unroll
    for (int half = LANES / 2; half > 0; half /= 2) {
        bool upper = lane & half;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            A give = upper ? parts[i] : parts[i + half], keep = upper ? parts[i + half] : parts[i];
            parts[i] = keep + __shfl_xor_sync(0xffffffffu, give, half);
        }
    }
    return parts[0];
}

// LANES neighbouring lanes share a voxel, V channels each at a time, and take LANES voxels in turn: a warp reads whole
// stretches of memory, takes 32 voxels in all, and writes 32 scores of a class side by side.
template <int V, int LANES>
__device__ __forceinline__ void forward_of(const T *y, Index step, const double *terms, int read, double slope, const A *weights, const A *bias, A *out, Index volume, Index channels) {
    const int GROUPS = 32 / LANES;
    Index n = blockIdx.y, batch = gridDim.y;
    // Rows of shared memory have zeros for channels that only fill up.
    int count = (int)channels, width = (count + LANES * V - 1) / (LANES * V) * (LANES * V);
    A *scales = (A *)room, *shifts = scales + width, *rows = shifts + width, below = (A)slope;
    for (int c = threadIdx.x; c < width; c += blockDim.x) {
        bool there = c < count;
        scales[c] = there && read ? (A)terms[(2 * batch + n) * channels + c] : (A)0;
        shifts[c] = there && read ? (A)terms[(3 * batch + n) * channels + c] : (A)0;
        for (int k = 0; k < CLASSES; ++k) rows[k * width + c] = there ? weights[k * count + c] : (A)0;
    }
    __syncthreads();
    int lane = threadIdx.x % LANES, group = threadIdx.x % 32 / LANES;
    for (Index first = ((Index)blockIdx.x * blockDim.x + threadIdx.x) / 32 * 32; first < volume; first += (Index)gridDim.x * blockDim.x) {
        A sums[CLASSES][LANES];
#pragma unroll
        for (int k = 0; k < CLASSES; ++k)
#pragma unroll
            for (int i = 0; i < LANES; ++i) sums[k][i] = 0;
        for (int c = lane * V; c < width; c += LANES * V) {
            Pack<V> packs[LANES] = {};
#pragma unroll
            for (int i = 0; i < LANES; ++i) {
                Index voxel = first + i * GROUPS + group;
                if (voxel < volume && c < count) packs[i] = *(const Pack<V> *)(y + (n * volume + voxel) * step + c);
            }
            A x[LANES][V];
#pragma unroll
            for (int i = 0; i < LANES; ++i)
#pragma unroll
                for (int v = 0; v < V; ++v) x[i][v] = get(packs[i].value[v]);
            if (read) {
                Values<V> scale = *(const Values<V> *)(scales + c), shift = *(const Values<V> *)(shifts + c);
#pragma unroll
                for (int i = 0; i < LANES; ++i)
#pragma unroll
                    for (int v = 0; v < V; ++v) x[i][v] = as_read(x[i][v], scale.value[v], shift.value[v], below);
            }
#pragma unroll
            for (int k = 0; k < CLASSES; ++k) {
                Values<V> w = *(const Values<V> *)(rows + k * width + c);
#pragma unroll
                for (int i = 0; i < LANES; ++i)
#pragma unroll
                    for (int v = 0; v < V; ++v) sums[k][i] += w.value[v] * x[i][v];
            }
        }
        Index voxel = first + lane * GROUPS + group;
#pragma unroll
        for (int k = 0; k < CLASSES; ++k) {
            A score = gathered<LANES>(sums[k], lane) + bias[k];
            if (voxel < volume) out[(n * CLASSES + k) * volume + voxel] = score;
        }
    }
}

// Classes whose sums a thread keeps at a time; for more of them the kernel runs again.
constexpr int AT_ONCE = sizeof(A) == 8 ? (CLASSES < 4 ? CLASSES : 4) : (CLASSES < 8 ? CLASSES : 8);

// The sum over the rows of threads of what each of their channels has in `shared`, in its first row.
template <int V> __device__ __forceinline__ void sum_rows(A *shared) {
    int width = blockDim.x * V, at = threadIdx.y * width + threadIdx.x * V;
    for (int rows = blockDim.y; rows > 1;) {
        int half = (rows + 1) / 2;
        __syncthreads();
        if ((int)threadIdx.y + half < rows) {
            for (int v = 0; v < V; ++v) shared[at + v] += shared[at + half * width + v];
        }
        rows = half;
    }
    __syncthreads();
}

// A thread has V channels and walks over voxels: channels along threadIdx.x, voxels along threadIdx.y and blockIdx.x,
// samples along blockIdx.y. With `from` 0 it writes dx; `sums` gets the entry of the block, CLASSES · C numbers and
// CLASSES more for db, as far as they are of the AT_ONCE classes from `from` on.
template <int V>
__device__ __forceinline__ void backward_of(const A *gradient, const T *y, Index step, const double *terms, int read, double slope, const A *weights, T *dx, double *sums, Index volume, Index channels, int from) {
    __shared__ A shared[256 * V];
    Index n = blockIdx.y, batch = gridDim.y;
    int count = (int)channels, across = blockDim.x * V;
    A *rows = (A *)room, below = (A)slope;
    double *entry = sums + (n * gridDim.x + blockIdx.x) * (CLASSES * (channels + 1));
    Index stride = (Index)gridDim.x * blockDim.y, start = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    const A *g = gradient + n * CLASSES * volume;
    for (int round = 0; round < count; round += across) {
        int c = round + threadIdx.x * V;
        bool there = c < count;
        __syncthreads();
        for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < CLASSES * across; i += blockDim.x * blockDim.y) {
            int channel = round + i % across;
            rows[i] = channel < count ? weights[i / across * count + channel] : (A)0;
        }
        __syncthreads();
        A total[AT_ONCE][V], of_bias[AT_ONCE], scale[V], shift[V];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            of_bias[k] = 0;
#pragma unroll
            for (int v = 0; v < V; ++v) total[k][v] = 0;
        }
#pragma unroll
        for (int v = 0; v < V; ++v) {
            scale[v] = there && read ? (A)terms[(2 * batch + n) * channels + c + v] : (A)0;
            shift[v] = there && read ? (A)terms[(3 * batch + n) * channels + c + v] : (A)0;
        }
        // What the next voxel needs is on its way while this one is computed with.
        Pack<V> next = {};
        A next_g[AT_ONCE];
        auto fetch = [&](Index i) {
            next = *(const Pack<V> *)(y + (n * volume + i) * step + c);
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) next_g[k] = from + k < CLASSES ? g[(from + k) * volume + i] : (A)0;
        };
        if (there && start < volume) fetch(start);
        for (Index i = start; there && i < volume; i += stride) {
            Pack<V> pack = next;
            A here[AT_ONCE], x[V];
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) here[k] = next_g[k];
            if (i + stride < volume) fetch(i + stride);
#pragma unroll
            for (int v = 0; v < V; ++v) x[v] = get(pack.value[v]);
            if (read) {
#pragma unroll
                for (int v = 0; v < V; ++v) x[v] = as_read(x[v], scale[v], shift[v], below);
            }
#pragma unroll
            for (int k = 0; k < AT_ONCE; ++k) {
                of_bias[k] += here[k];
#pragma unroll
                for (int v = 0; v < V; ++v) total[k][v] += here[k] * x[v];
            }
            if (from > 0) continue;
#pragma unroll
            for (int v = 0; v < V; ++v) x[v] = 0;
#pragma unroll
            for (int k = 0; k < CLASSES; ++k) {
                A one = k < AT_ONCE ? here[k < AT_ONCE ? k : 0] : g[k * volume + i];
                Values<V> w = *(const Values<V> *)(rows + k * across + threadIdx.x * V);
#pragma unroll
                for (int v = 0; v < V; ++v) x[v] += one * w.value[v];
            }
#pragma unroll
            for (int v = 0; v < V; ++v) pack.value[v] = put(x[v]);
            *(Pack<V> *)(dx + (n * volume + i) * channels + c) = pack;
        }
        int at = threadIdx.y * across + threadIdx.x * V;
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k) {
            if (from + k >= CLASSES) break;
            __syncthreads();
#pragma unroll
            for (int v = 0; v < V; ++v) shared[at + v] = total[k][v];
            sum_rows<V>(shared);
            if (threadIdx.y == 0 && there) {
                for (int v = 0; v < V; ++v) entry[(from + k) * channels + c + v] = (double)shared[at + v];
            }
            if (round > 0) continue;
            __syncthreads();
            shared[at] = of_bias[k];
            sum_rows<V>(shared);
            if (threadIdx.y == 0 && threadIdx.x == 0) entry[CLASSES * channels + from + k] = (double)shared[0];
        }
    }
}

// For V channels at a time and LANES lanes to a voxel.
#define FORWARD(V, LANES)                                                                      \
    extern "C" __global__ void __launch_bounds__(256) head_forward_##V##_##LANES(const T *y, Index step, const double *terms, int read, double slope, const A *weights, const A *bias, A *out, Index volume, Index channels) { \
        forward_of<V, LANES>(y, step, terms, read, slope, weights, bias, out, volume, channels);\
    }
#define BACKWARD(V)                                                                            \
    extern "C" __global__ void __launch_bounds__(256) head_backward_##V(const A *gradient, const T *y, Index step, const double *terms, int read, double slope, const A *weights, T *dx, double *sums, Index volume, Index channels, int from) { \
        backward_of<V>(gradient, y, step, terms, read, slope, weights, dx, sums, volume, channels, from); \
    }

FORWARD(1, 1)
FORWARD(8, 1)
FORWARD(8, 2)
FORWARD(8, 4)
FORWARD(8, 8)
BACKWARD(1)
BACKWARD(8)
