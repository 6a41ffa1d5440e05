// The gradient for the weights of a 3×3×3 convolution, stride 1, padding 1, from its input, the sources of a voxel side by
// side, each as it is read, and the gradient of its result, tensors (N, D, H, W, C).
//
// A block has OUTPUTS outputs and INPUTS inputs (16 or 32 of each), and takes tiles of one sample, one after the other, in
// shared memory; with two STAGES, the next is read, and turned into what it is read as, while one is worked on. A warp
// has 16 outputs, 16 inputs and the nine taps of one kh, and goes down along D: the input at a place meets the gradient
// at three. With fewer than 32 of both, two or four warps have the same and take some of the tile's rows each.

#define THREADS 384
#define INPUT_UNITS (INPUTS / 8)
#define GRADIENT_UNITS (OUTPUTS / 8)
#define ROLES (INPUTS / 16 * (OUTPUTS / 16))
#define SPLIT (4 / ROLES)
// Pairs of rows of a tile that a warp takes.
#define PAIRS (TILE_H / 2 / SPLIT)
#define TILE (TILE_D * TILE_H * TILE_W)
// As for planes of the input: some voxels longer.
#define GRADIENT_PLANE (TILE + 8 / GRADIENT_UNITS)
#define STAGE (INPUT_UNITS * Tiles::PLANE + GRADIENT_UNITS * GRADIENT_PLANE)
// The first pair after which the next tile is mapped, when its copies should have come.
#define FIRST_MAPPED (PAIRS > 2 ? 1 : 0)

typedef Input<INPUT_UNITS, THREADS> Tiles;

struct WeightGradient {
    Sources from;
    int outputs;
};

// Starts the copies of a tile: its input, and its gradient with zeros past the sample. As `Tiles::start`.
__device__ __forceinline__ unsigned int start(uint4 *stage, const Unit &x, const T *g, int outputs, const int (&size)[3], int tile) {
    int z, h, w;
    origin_of(size, tile, z, h, w);
    unsigned int insides = Tiles::start(stage, x, size, z, h, w);
    uint4 *given = stage + INPUT_UNITS * Tiles::PLANE;
#pragma unroll 4
    for (int i = threadIdx.x; i < TILE * GRADIENT_UNITS; i += THREADS) {
        int unit = i % GRADIENT_UNITS, voxel = i / GRADIENT_UNITS;
        int vz = z + voxel / (TILE_H * TILE_W), vh = h + voxel / TILE_W % TILE_H, vw = w + voxel % TILE_W;
        bool inside = vz < size[0] && vh < size[1] && vw < size[2];
        unsigned int at = inside ? (vz * size[1] + vh) * size[2] + vw : 0;
        copy(given + unit * GRADIENT_PLANE + voxel, (const uint4 *)(g + at * (unsigned int)outputs) + unit, !inside);
    }
    return insides;
}

// Sums (pieces, 27, O, C) over the voxels of each piece: SPLIT for each block of each sample.
extern "C" __global__ void __launch_bounds__(THREADS, 1) tensor_weights(const T *x0, const T *x1, const double *terms0, const double *terms1, const T *gradient, float *sums, WeightGradient s) {
    extern __shared__ uint4 shared[];
    int inputs = s.from.channels[0] + s.from.channels[1], parts = inputs / INPUTS;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n = blockIdx.y, batch = gridDim.y;
    int first_input = blockIdx.z % parts * INPUTS, first_output = blockIdx.z / parts * OUTPUTS;
    int volume = s.from.size[0] * s.from.size[1] * s.from.size[2];
    const T *g = gradient + (Index)n * volume * s.outputs + first_output;

    Unit x;
    {
        int channel = first_input + threadIdx.x % INPUT_UNITS * 8;
        bool second = channel >= s.from.channels[0];
        if (second) channel -= s.from.channels[0];
        int step = OF(second, s.from.step);
        x.step = step * sizeof(T);
        x.values = (const char *)((second ? x1 : x0) + channel + (Index)n * volume * step);
        x.maps = OF(second, s.from.mapped);
        x.below = OF(second, s.from.slope);
        int channels = OF(second, s.from.channels);
        const double *terms = second ? terms1 : terms0;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            x.scale[i] = x.maps ? (float)terms[((Index)2 * batch + n) * channels + channel + i] : 1;
            x.shift[i] = x.maps ? (float)terms[((Index)3 * batch + n) * channels + channel + i] : 0;
        }
    }

    // Rows are voxels: 8 along W, at two places along H. Of the input, matrices 0 and 1 are both rows of one unit, of the
    // gradient they are two units of the first row.
    int kh = warp % 3, role = warp / 3, matrix = lane / 8, part = role / ROLES;
    int output16 = role % ROLES % (OUTPUTS / 16), input16 = role % ROLES / (OUTPUTS / 16);
    unsigned int x_at = shared_address(shared + (input16 * 2 + matrix / 2) * Tiles::PLANE + (part * PAIRS * 2 + kh + matrix % 2) * HALO_W + lane % 8);
    unsigned int g_at = shared_address(shared + INPUT_UNITS * Tiles::PLANE + (output16 * 2 + matrix % 2) * GRADIENT_PLANE + (part * PAIRS * 2 + matrix / 2) * TILE_W + lane % 8);

    float c[3][3][2][4];
#pragma unroll
    for (int kd = 0; kd < 3; ++kd)
#pragma unroll
        for (int kw = 0; kw < 3; ++kw)
#pragma unroll
            for (int k = 0; k < 8; ++k) c[kd][kw][k / 4][k % 4] = 0;

    int tiles = tiles_of(s.from.size), stage = 0;
    unsigned int insides = start(shared, x, g, s.outputs, s.from.size, blockIdx.x);
    Tiles::finish(shared, x, insides, 0, Tiles::ROUNDS);
    __syncthreads();
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int next = tile + gridDim.x;
        uint4 *other = shared + (STAGES - 1 - stage) * STAGE;
        if (STAGES == 2 && next < tiles) insides = start(other, x, g, s.outputs, s.from.size, next);
#pragma unroll 1
        for (int pair = 0; pair < PAIRS; ++pair) {
            unsigned int x_row = x_at + (stage * STAGE + pair * 2 * HALO_W) * 16, g_row = g_at + (stage * STAGE + pair * 2 * TILE_W) * 16;
            unsigned int a[3][4], b[3][4];
#pragma unroll
            for (int place = 0; place < HALO_D; ++place) {
                if (place < TILE_D) load_transposed(a[place % 3], g_row + place * TILE_H * TILE_W * 16);
#pragma unroll
                for (int kw = 0; kw < 3; ++kw) load_transposed(b[kw], x_row + (place * HALO_H * HALO_W + kw) * 16);
#pragma unroll
                for (int kd = 0; kd < 3; ++kd) {
                    int m = place - kd;
                    if (m < 0 || m >= TILE_D) continue;
#pragma unroll
                    for (int kw = 0; kw < 3; ++kw)
#pragma unroll
                        for (int j = 0; j < 2; ++j) multiply(c[kd][kw][j], a[m % 3], b[kw][j * 2], b[kw][j * 2 + 1]);
                }
            }
            int turn = pair - FIRST_MAPPED, turns = PAIRS - FIRST_MAPPED;
            if (STAGES == 2 && next < tiles && turn >= 0) Tiles::finish(other, x, insides, Tiles::ROUNDS * turn / turns, Tiles::ROUNDS * (turn + 1) / turns);
        }
        __syncthreads();
        if (STAGES == 2) {
            stage = 1 - stage;
        } else if (next < tiles) {
            insides = start(shared, x, g, s.outputs, s.from.size, next);
            Tiles::finish(shared, x, insides, 0, Tiles::ROUNDS);
            __syncthreads();
        }
    }

    Index piece = ((Index)n * gridDim.x + blockIdx.x) * SPLIT + part;
    float *to = sums + piece * TAPS * s.outputs * inputs;
    int output = first_output + output16 * 16 + lane / 4, input = first_input + input16 * 16 + lane % 4 * 2;
#pragma unroll
    for (int kd = 0; kd < 3; ++kd)
#pragma unroll
        for (int kw = 0; kw < 3; ++kw)
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                int tap = (kd * 3 + kh) * 3 + kw, j = k % 2, row = k / 2;
                *(float2 *)(to + ((Index)tap * s.outputs + output + row * 8) * inputs + input + j * 8) = make_float2(c[kd][kw][j][row * 2], c[kd][kw][j][row * 2 + 1]);
            }
}

// The sums of all pieces, in their order, as a gradient (O, C, 27): 32 sums a block, in rows of threads that each take
// every so many pieces.
extern "C" __global__ void tensor_weights_join(const float *sums, float *to, int outputs, int inputs, int pieces) {
    __shared__ double shared[8][32];
    int i = blockIdx.x * 32 + threadIdx.x, count = TAPS * outputs * inputs;
    double total = 0;
    if (i < count) {
#pragma unroll 4
        for (int piece = threadIdx.y; piece < pieces; piece += 8) total += (double)sums[(Index)piece * count + i];
    }
    shared[threadIdx.y][threadIdx.x] = total;
    __syncthreads();
    if (threadIdx.y != 0 || i >= count) return;
    for (int row = 1; row < 8; ++row) total += shared[row][threadIdx.x];
    int input = i % inputs, output = i / inputs % outputs, tap = i / inputs / outputs;
    to[((Index)output * inputs + input) * TAPS + tap] = (float)total;
}
