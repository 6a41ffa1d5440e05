// The gradient for the weights of a 3×3×3 convolution, stride 1, padding 1, from its input, the sources of a voxel side by
// side, each as it is read, and the gradient of its result, tensors (N, D, H, W, C).
//
// A block has OUTPUTS (16 or 32) outputs and one chunk of 16 inputs, and takes tiles of one sample, one after the other,
// in shared memory. A warp has 16 outputs and the nine taps of one kh, and goes down along D: the input at a place meets
// the gradient at three. With 16 outputs, two warps have the same taps and half of the tile's rows each.

#define THREADS 192
#define ROLES (OUTPUTS / 16)
#define SPLIT (2 / ROLES)
#define GRADIENT_UNITS (OUTPUTS / 8)
#define TILE (TILE_D * TILE_H * TILE_W)
// As for planes of the input: some voxels longer.
#define GRADIENT_PLANE (TILE + 8 / GRADIENT_UNITS)

struct WeightGradient {
    Sources from;
    int outputs;
};

// Sums (pieces, 27, O, C) over the voxels of each piece: SPLIT for each block of each sample.
extern "C" __global__ void __launch_bounds__(THREADS, 3) tensor_weights(const T *x0, const T *x1, const double *terms0, const double *terms1, const T *gradient, float *sums, WeightGradient s) {
    extern __shared__ uint4 shared[];
    uint4 *halo = shared, *given = halo + UNITS * PLANE;
    float *terms = (float *)(given + GRADIENT_UNITS * GRADIENT_PLANE);

    int chunks0 = s.from.channels[0] / CHUNK, inputs = s.from.channels[0] + s.from.channels[1], chunks = inputs / CHUNK;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n = blockIdx.y, batch = gridDim.y;
    int chunk = blockIdx.z % chunks, group = blockIdx.z / chunks;
    bool second = chunk >= chunks0;
    int in_source = chunk - (second ? chunks0 : 0), step = OF(second, s.from.step);
    bool maps = OF(second, s.from.mapped);
    float below = OF(second, s.from.slope);
    int volume = s.from.size[0] * s.from.size[1] * s.from.size[2];
    const T *from = (second ? x1 : x0) + in_source * CHUNK + (Index)n * volume * step;
    const T *g = gradient + (Index)n * volume * s.outputs + group * OUTPUTS;
    if (maps) load_terms(terms, second ? terms1 : terms0, batch, OF(second, s.from.channels), n, in_source);

    // Rows are voxels: 8 along W, at two places along H. Of the input, matrices 0 and 1 are both rows of unit 0, of
    // the gradient they are units 0 and 1 of the first row.
    int kh = warp % 3, role = warp / 3, matrix = lane / 8, outputs_at = ROLES == 2 ? role : 0, part = SPLIT == 2 ? role : 0;
    unsigned int x_at = shared_address(halo + matrix / 2 * PLANE + (kh + matrix % 2) * HALO_W + lane % 8);
    unsigned int g_at = shared_address(given + (outputs_at * 2 + matrix % 2) * GRADIENT_PLANE + matrix / 2 * TILE_W + lane % 8);

    float c[3][3][2][4];
#pragma unroll
    for (int kd = 0; kd < 3; ++kd)
#pragma unroll
        for (int kw = 0; kw < 3; ++kw)
#pragma unroll
            for (int k = 0; k < 8; ++k) c[kd][kw][k / 4][k % 4] = 0;

    int tiles = tiles_of(s.from.size);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        int z, h, w;
        origin_of(s.from.size, tile, z, h, w);
        __syncthreads();
#pragma unroll 4
        for (int i = threadIdx.x; i < TILE * GRADIENT_UNITS; i += THREADS) {
            int unit = i % GRADIENT_UNITS, voxel = i / GRADIENT_UNITS;
            int vz = z + voxel / (TILE_H * TILE_W), vh = h + voxel / TILE_W % TILE_H, vw = w + voxel % TILE_W;
            bool inside = vz < s.from.size[0] && vh < s.from.size[1] && vw < s.from.size[2];
            unsigned int at = inside ? (vz * s.from.size[1] + vh) * s.from.size[2] + vw : 0;
            copy(given + unit * GRADIENT_PLANE + voxel, (const uint4 *)(g + at * (unsigned int)s.outputs) + unit, !inside);
        }
        load_halo(halo, from, step, s.from.size, z, h, w, maps, terms, below, THREADS);
        copies_done();
        __syncthreads();
#pragma unroll 1
        for (int across = part * 2; across < TILE_H; across += 2 * SPLIT) {
            unsigned int x_row = x_at + across * HALO_W * 16, g_row = g_at + across * TILE_W * 16;
            unsigned int a[3][4], b[4];
#pragma unroll
            for (int place = 0; place < HALO_D; ++place) {
                if (place < TILE_D) load_transposed(a[place % 3], g_row + place * TILE_H * TILE_W * 16);
#pragma unroll
                for (int kw = 0; kw < 3; ++kw) {
                    load_transposed(b, x_row + (place * HALO_H * HALO_W + kw) * 16);
#pragma unroll
                    for (int kd = 0; kd < 3; ++kd) {
                        int m = place - kd;
                        if (m < 0 || m >= TILE_D) continue;
#pragma unroll
                        for (int j = 0; j < 2; ++j) multiply(c[kd][kw][j], a[m % 3], b[j * 2], b[j * 2 + 1]);
                    }
                }
            }
        }
    }

    Index piece = ((Index)n * gridDim.x + blockIdx.x) * SPLIT + part;
    float *to = sums + piece * TAPS * s.outputs * inputs;
    int output = group * OUTPUTS + outputs_at * 16 + lane / 4, input = chunk * CHUNK + lane % 4 * 2;
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
