// The first layer of a network: a 3×3×3 convolution with stride 1 and padding 1 of one channel to OUTPUTS, a multiple of
// 8 of at most 64, and the gradient of its weights. The image (N, 1, D, H, W) and the weights (OUTPUTS, 1, 3, 3, 3) are
// of type A and rounded to T; y and its gradient are (N, D, H, W, OUTPUTS) of type T.
//
//   y[n, d, h, w, o] = Σ_tap weights[o, tap] image[n, d + kd − 1, h + kh − 1, w + kw − 1]
//
// A block takes tiles of the image, one after the other, with a border of one voxel, into shared memory: DEEP × (a run
// along h) × ACROSS voxels. A thread has a place (d, w) in the tile, some outputs, and the whole run along h, so that
// each value it reads serves three taps. Neighbouring threads have neighbouring outputs, then neighbouring voxels.

// The most places, a power of two, for which `lanes` threads each are not more than `threads`.
__device__ constexpr int places(int threads, int lanes) { return threads < 2 * lanes ? 1 : 2 * places(threads / 2, lanes); }

struct Size {
    int depth, height, width;
};

// Tiles of a sample.
template <int DEEP, int RUN, int ACROSS> __device__ __forceinline__ int tiles_of(Size s) {
    return ((s.depth + DEEP - 1) / DEEP) * ((s.height + RUN - 1) / RUN) * ((s.width + ACROSS - 1) / ACROSS);
}

// The first voxel of a tile.
template <int DEEP, int RUN, int ACROSS> __device__ __forceinline__ Size corner_of(Size s, int tile) {
    int across = (s.width + ACROSS - 1) / ACROSS, runs = (s.height + RUN - 1) / RUN;
    return {tile / (across * runs) * DEEP, tile / across % runs * RUN, tile % across * ACROSS};
}

// The tile from `corner` on, with its border; what is outside of the image is zero.
template <int DEEP, int RUN, int ACROSS>
__device__ __forceinline__ void fill(A (&tile)[DEEP + 2][RUN + 2][ACROSS + 2], const A *image, Size s, Size corner) {
    for (int i = threadIdx.x; i < (DEEP + 2) * (RUN + 2) * (ACROSS + 2); i += blockDim.x) {
        int w = i % (ACROSS + 2), h = i / (ACROSS + 2) % (RUN + 2), d = i / ((ACROSS + 2) * (RUN + 2));
        int at_d = corner.depth + d - 1, at_h = corner.height + h - 1, at_w = corner.width + w - 1;
        bool inside = (unsigned)at_d < (unsigned)s.depth && (unsigned)at_h < (unsigned)s.height && (unsigned)at_w < (unsigned)s.width;
        tile[d][h][w] = inside ? rounded(image[((Index)at_d * s.height + at_h) * s.width + at_w]) : (A)0;
    }
}

namespace forward {
constexpr int LANES = OUTPUTS / 8;
constexpr int PLACES = places(256, LANES), THREADS = LANES * PLACES;
constexpr int ACROSS = 16, DEEP = PLACES / ACROSS, RUN = sizeof(A) == 8 ? 4 : 8;
}

// A block is of one sample, blockIdx.y. With STATS, `sums` gets its Σ y and Σ y² of each output: added about the first
// value that the block computed, so that little is lost, and given about zero.
template <bool STATS>
__device__ __forceinline__ void forward_of(const A *image, const A *weights, T *y, double *sums, Size s) {
    using namespace forward;
    __shared__ A tile[DEEP + 2][RUN + 2][ACROSS + 2];
    __shared__ Values<8> taps[27][LANES];
    __shared__ Values<8> origins[LANES];
    for (int i = threadIdx.x; i < 27 * OUTPUTS; i += blockDim.x) {
        int o = i % OUTPUTS, tap = i / OUTPUTS;
        taps[tap][o / 8].value[o % 8] = rounded(weights[o * 27 + tap]);
    }
    int lane = threadIdx.x % LANES, place = threadIdx.x / LANES, at_w = place % ACROSS, at_d = place / ACROSS;
    Index volume = (Index)s.depth * s.height * s.width;
    image += blockIdx.y * volume;
    y += blockIdx.y * volume * OUTPUTS;
    A sum[8], squares[8];
    int count = 0;
#pragma unroll
    for (int o = 0; o < 8; ++o) sum[o] = squares[o] = 0;
    int tiles = tiles_of<DEEP, RUN, ACROSS>(s);
    for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
        Size corner = corner_of<DEEP, RUN, ACROSS>(s, t);
        __syncthreads();
        fill<DEEP, RUN, ACROSS>(tile, image, s, corner);
        __syncthreads();
        A value[RUN][8];
#pragma unroll
        for (int r = 0; r < RUN; ++r)
#pragma unroll
            for (int o = 0; o < 8; ++o) value[r][o] = 0;
#pragma unroll 1
        for (int kd = 0; kd < 3; ++kd) {
#pragma unroll
            for (int kw = 0; kw < 3; ++kw) {
                A column[RUN + 2];
#pragma unroll
                for (int r = 0; r < RUN + 2; ++r) column[r] = tile[at_d + kd][r][at_w + kw];
#pragma unroll
                for (int kh = 0; kh < 3; ++kh) {
                    Values<8> w = taps[(kd * 3 + kh) * 3 + kw][lane];
#pragma unroll
                    for (int r = 0; r < RUN; ++r)
#pragma unroll
                        for (int o = 0; o < 8; ++o) value[r][o] += column[r + kh] * w.value[o];
                }
            }
        }
        if (STATS && t == (int)blockIdx.x) {
            // The tile's corner is within the image.
            if (place == 0) {
#pragma unroll
                for (int o = 0; o < 8; ++o) origins[lane].value[o] = rounded(value[0][o]);
            }
            __syncthreads();
        }
        int d = corner.depth + at_d, w = corner.width + at_w;
        if (d >= s.depth || w >= s.width) continue;
        int rows = s.height - corner.height;
        T *to = y + (((Index)d * s.height + corner.height) * s.width + w) * OUTPUTS + lane * 8;
        count += rows < RUN ? rows : RUN;
#pragma unroll
        for (int r = 0; r < RUN; ++r) {
            if (r >= rows) break;
            Pack<8> pack;
#pragma unroll
            for (int o = 0; o < 8; ++o) {
                pack.value[o] = put(value[r][o]);
                if (STATS) {
                    A off = get(pack.value[o]) - origins[lane].value[o];
                    sum[o] += off;
                    squares[o] += off * off;
                }
            }
            *(Pack<8> *)(to + (Index)r * s.width * OUTPUTS) = pack;
        }
    }
    if (!STATS) return;
    __shared__ A shared[PLACES][OUTPUTS];
    __shared__ int counts[PLACES];
    double totals[2] = {0, 0}, voxels = 0;
    if (lane == 0) counts[place] = count;
#pragma unroll
    for (int which = 0; which < 2; ++which) {
        __syncthreads();
#pragma unroll
        for (int o = 0; o < 8; ++o) shared[place][lane * 8 + o] = which == 0 ? sum[o] : squares[o];
        __syncthreads();
        if (threadIdx.x < OUTPUTS) {
            for (int p = 0; p < PLACES; ++p) totals[which] += (double)shared[p][threadIdx.x];
        }
    }
    if (threadIdx.x >= OUTPUTS) return;
    for (int p = 0; p < PLACES; ++p) voxels += counts[p];
    double about = (double)origins[threadIdx.x / 8].value[threadIdx.x % 8];
    double *pair = sums + (((Index)blockIdx.y * gridDim.x + blockIdx.x) * OUTPUTS + threadIdx.x) * 2;
    pair[0] = totals[0] + voxels * about;
    pair[1] = totals[1] + 2 * about * totals[0] + voxels * about * about;
}

extern "C" __global__ void __launch_bounds__(forward::THREADS, sizeof(A) == 8 ? 1 : 2)
first_layer_forward(const A *image, const A *weights, T *y, double *sums, Size s) {
    forward_of<false>(image, weights, y, sums, s);
}

extern "C" __global__ void __launch_bounds__(forward::THREADS, sizeof(A) == 8 ? 1 : 2)
first_layer_forward_and_sums(const A *image, const A *weights, T *y, double *sums, Size s) {
    forward_of<true>(image, weights, y, sums, s);
}

namespace gradient {
// Outputs of a thread, which keeps a sum for each of them and each tap.
constexpr int OWN = sizeof(A) == 8 ? 2 : 4, LANES = OUTPUTS / OWN;
constexpr int PLACES = places(128, LANES), THREADS = LANES * PLACES;
// A run is a multiple of three, as three rows are in registers at a time; four runs are little more than 128.
constexpr int ACROSS = PLACES < 16 ? PLACES : 16, DEEP = PLACES / ACROSS, RUN = 33;
}

// Blocks take tiles of all samples; `sums` gets OUTPUTS · 27 numbers for each block.
extern "C" __global__ void __launch_bounds__(gradient::THREADS, sizeof(A) == 8 ? 2 : 3)
first_layer_weight_gradient(const T *g, const A *image, double *sums, Size s, int batch) {
    using namespace gradient;
    __shared__ A tile[DEEP + 2][RUN + 2][ACROSS + 2];
    int lane = threadIdx.x % LANES, place = threadIdx.x / LANES, at_w = place % ACROSS, at_d = place / ACROSS;
    Index volume = (Index)s.depth * s.height * s.width;
    A sum[27][OWN];
#pragma unroll
    for (int tap = 0; tap < 27; ++tap)
#pragma unroll
        for (int o = 0; o < OWN; ++o) sum[tap][o] = 0;
    int tiles = tiles_of<DEEP, RUN, ACROSS>(s);
    for (Index t = blockIdx.x; t < (Index)tiles * batch; t += gridDim.x) {
        Index n = t / tiles;
        Size corner = corner_of<DEEP, RUN, ACROSS>(s, (int)(t - n * tiles));
        int d = corner.depth + at_d, w = corner.width + at_w;
        int rows = d < s.depth && w < s.width ? s.height - corner.height : 0;
        const T *from = g + (n * volume + ((Index)d * s.height + corner.height) * s.width + w) * OUTPUTS + lane * OWN;
        // The gradients of three rows are on their way while the three before are computed with.
        Pack<OWN> next[3];
        auto fetch = [&](int row) {
#pragma unroll
            for (int j = 0; j < 3; ++j) {
                next[j] = {};
                if (row + j < rows && row + j < RUN) next[j] = *(const Pack<OWN> *)(from + (Index)(row + j) * s.width * OUTPUTS);
            }
        };
        fetch(0);
        __syncthreads();
        fill<DEEP, RUN, ACROSS>(tile, image + n * volume, s, corner);
        __syncthreads();
        // Row r of the tile is at r % 3.
        A window[3][3][3];
#pragma unroll
        for (int r = 0; r < 2; ++r)
#pragma unroll
            for (int kd = 0; kd < 3; ++kd)
#pragma unroll
                for (int kw = 0; kw < 3; ++kw) window[r][kd][kw] = tile[at_d + kd][r][at_w + kw];
#pragma unroll 1
        for (int row = 0; row < RUN && row < rows; row += 3) {
            Pack<OWN> now[3];
#pragma unroll
            for (int j = 0; j < 3; ++j) now[j] = next[j];
            fetch(row + 3);
#pragma unroll
            for (int j = 0; j < 3; ++j) {
                A here[OWN];
#pragma unroll
                for (int o = 0; o < OWN; ++o) here[o] = get(now[j].value[o]);
#pragma unroll
                for (int kd = 0; kd < 3; ++kd)
#pragma unroll
                    for (int kw = 0; kw < 3; ++kw) window[(j + 2) % 3][kd][kw] = tile[at_d + kd][row + j + 2][at_w + kw];
#pragma unroll
                for (int kd = 0; kd < 3; ++kd)
#pragma unroll
                    for (int kh = 0; kh < 3; ++kh)
#pragma unroll
                        for (int kw = 0; kw < 3; ++kw)
#pragma unroll
                            for (int o = 0; o < OWN; ++o) sum[(kd * 3 + kh) * 3 + kw][o] += here[o] * window[(j + kh) % 3][kd][kw];
            }
        }
    }
    // Three taps at a time, over the places in their order.
    __shared__ A shared[PLACES][3][OUTPUTS];
#pragma unroll
    for (int tap = 0; tap < 27; tap += 3) {
        __syncthreads();
#pragma unroll
        for (int j = 0; j < 3; ++j)
#pragma unroll
            for (int o = 0; o < OWN; ++o) shared[place][j][lane * OWN + o] = sum[tap + j][o];
        __syncthreads();
        for (int i = threadIdx.x; i < 3 * OUTPUTS; i += blockDim.x) {
            double total = 0;
            for (int p = 0; p < PLACES; ++p) total += (double)shared[p][i / OUTPUTS][i % OUTPUTS];
            sums[((Index)blockIdx.x * OUTPUTS + i % OUTPUTS) * 27 + tap + i / OUTPUTS] = total;
        }
    }
}
