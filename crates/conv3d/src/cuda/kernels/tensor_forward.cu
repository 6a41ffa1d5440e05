// 3×3×3 convolution, stride 1, padding 1, of tensors (N, D, H, W, C): the sources of a voxel side by side, each as it is
// read, to OUTPUTS (16 or 32) of the output channels.
//
// A block takes tiles of one sample, one after the other. For each chunk of 16 input channels it has the input of the tile
// in shared memory, and the weights; with two STAGES, the next chunk is read, and turned into what it is read as, while
// one is worked on. A warp has DEPTH × 16 voxels: 2 along H and 8 along W at DEPTH places along D. For
// each (kh, kw) it holds the weights of all three kd, and goes down along D: the input at a place is of use to three
// outputs.

#define THREADS 256
#define WARPS (THREADS / 32)
#define DEPTH (TILE_D * TILE_H / 2 / WARPS)
#define COLUMNS (OUTPUTS / 8)
// Input channels that are worked on at a time.
#define CHUNK 16
#define UNITS 2
#define STAGE (UNITS * Tiles::PLANE)
#define CHUNK_WEIGHTS (TAPS * UNITS * OUTPUTS)

typedef Input<UNITS, THREADS> Tiles;

struct Forward {
    Sources from;
    int outputs;
    // Whether the weights of all chunks stay in shared memory.
    int resident;
    int sums;
};

// Scales and shifts of chunk `chunk` of a source for sample n to shared memory.
__device__ __forceinline__ void load_terms(float *to, const double *terms, int batch, int channels, int n, int chunk) {
    int row = 2 + threadIdx.x / CHUNK, channel = chunk * CHUNK + threadIdx.x % CHUNK;
    if (threadIdx.x < 2 * CHUNK) to[threadIdx.x] = (float)terms[((Index)row * batch + n) * channels + channel];
}

// A 4×4 matrix of words, of which each of four lanes has a row, transposed.
__device__ __forceinline__ void transpose_by_four(unsigned int (&row)[4]) {
    int lane = threadIdx.x % 4;
#pragma unroll
    for (int bit = 1; bit < 4; bit *= 2) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (k & bit) continue;
            unsigned int given = lane & bit ? row[k] : row[k | bit];
            unsigned int got = __shfl_xor_sync(0xffffffffu, given, bit);
            if (lane & bit) row[k] = got;
            else row[k | bit] = got;
        }
    }
}

// `weights` are those of `arranged`; `sums` (N, blocks, O, 2) those of y and y² over the voxels of each block.
extern "C" __global__ void __launch_bounds__(THREADS, 2) tensor_forward(const T *x0, const T *x1, const double *terms0, const double *terms1, const uint4 *weights, T *y, double *sums, Forward s) {
    extern __shared__ uint4 shared[];
    int chunks0 = s.from.channels[0] / CHUNK, chunks = chunks0 + s.from.channels[1] / CHUNK;
    uint4 *held = shared + STAGES * STAGE;
    float *terms = (float *)(held + (s.resident ? chunks : 1) * CHUNK_WEIGHTS);
    double *totals = (double *)(terms + chunks * 2 * CHUNK);

    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n = blockIdx.y, batch = gridDim.y, group = blockIdx.z;
    int volume = s.from.size[0] * s.from.size[1] * s.from.size[2];
    for (int chunk = 0; chunk < chunks; ++chunk) {
        bool second = chunk >= chunks0;
        if (OF(second, s.from.mapped)) load_terms(terms + chunk * 2 * CHUNK, second ? terms1 : terms0, batch, OF(second, s.from.channels), n, chunk - (second ? chunks0 : 0));
    }
    weights += group * chunks * CHUNK_WEIGHTS;
    if (s.resident) {
        for (int i = threadIdx.x; i < chunks * CHUNK_WEIGHTS; i += THREADS) copy(held + i, weights + i);
    }
    for (int i = threadIdx.x; i < WARPS * OUTPUTS * 2; i += THREADS) totals[i] = 0;

    // Of the warp's voxels: the first along D, and the rows along H that this lane points to when it loads.
    int matrix = lane / 8, down = warp / (TILE_H / 2) * DEPTH, across = warp % (TILE_H / 2) * 2;
    unsigned int a_at = shared_address(shared + matrix / 2 * Tiles::PLANE + (down * HALO_H + across + matrix % 2) * HALO_W + lane % 8);
    unsigned int b_at = shared_address(held + matrix % 2 * OUTPUTS + matrix / 2 * 8 + lane % 8);

    // Chunk `chunk` of the input: what is copied, and the terms that it is mapped by.
    auto unit_of = [&](int chunk) {
        bool second = chunk >= chunks0;
        int step = OF(second, s.from.step), channel = (chunk - (second ? chunks0 : 0)) * CHUNK + threadIdx.x % UNITS * 8;
        Unit x;
        x.values = (const char *)((second ? x1 : x0) + (Index)n * volume * step + channel);
        x.step = step * sizeof(T);
        return x;
    };
    auto finish = [&](uint4 *planes, int chunk, unsigned int insides, int first, int end) {
        bool second = chunk >= chunks0;
        const float *from = terms + chunk * 2 * CHUNK + threadIdx.x % UNITS * 8;
        Unit x;
        x.maps = OF(second, s.from.mapped);
        x.below = OF(second, s.from.slope);
        if (x.maps) {
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                x.scale[i] = from[i];
                x.shift[i] = from[CHUNK + i];
            }
        }
        Tiles::finish(planes, x, insides, first, end);
    };
    auto copy_weights = [&](int chunk) {
        for (int i = threadIdx.x; i < CHUNK_WEIGHTS; i += THREADS) copy(held + i, weights + chunk * CHUNK_WEIGHTS + i);
    };

    int tiles = tiles_of(s.from.size), stage = 0, chunk = 0, way = 1, z, h, w;
    origin_of(s.from.size, blockIdx.x, z, h, w);
    if (!s.resident) copy_weights(0);
    unsigned int insides = Tiles::start(shared, unit_of(0), s.from.size, z, h, w);
    // For the terms, which other threads have put there.
    __syncthreads();
    finish(shared, 0, insides, 0, Tiles::ROUNDS);
    __syncthreads();
    // From a tile to the next, chunks come in reverse: weights that are there need not be read again.
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x, way = -way) {
        float c[DEPTH][COLUMNS][4];
#pragma unroll
        for (int m = 0; m < DEPTH; ++m)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
                for (int k = 0; k < 4; ++k) c[m][j][k] = 0;

#pragma unroll 1
        for (int turn = 0; turn < chunks; ++turn) {
            bool last = turn == chunks - 1, more = !last || tile + (int)gridDim.x < tiles;
            int next = last ? chunk : chunk + way;
            uint4 *other = shared + (STAGES - 1 - stage) * STAGE;
            if (STAGES == 2 && more) {
                origin_of(s.from.size, last ? tile + gridDim.x : tile, z, h, w);
                insides = Tiles::start(other, unit_of(next), s.from.size, z, h, w);
            }
            unsigned int a_stage = a_at + stage * STAGE * 16, b_chunk = b_at + (s.resident ? chunk * CHUNK_WEIGHTS * 16 : 0);
#pragma unroll 1
            for (int kh = 0; kh < 3; ++kh) {
                unsigned int a_row = a_stage + kh * HALO_W * 16, b_row = b_chunk + kh * 3 * UNITS * OUTPUTS * 16;
#pragma unroll
                for (int kw = 0; kw < 3; ++kw) {
                    unsigned int a[2][4], b[3][COLUMNS / 2][4];
                    load_matrices(a[0], a_row + kw * 16);
#pragma unroll
                    for (int kd = 0; kd < 3; ++kd)
#pragma unroll
                        for (int j = 0; j < COLUMNS / 2; ++j) load_matrices(b[kd][j], b_row + ((kd * 9 + kw) * UNITS * OUTPUTS + j * 16) * 16);
#pragma unroll
                    for (int place = 0; place < DEPTH + 2; ++place) {
                        if (place < DEPTH + 1) load_matrices(a[(place + 1) % 2], a_row + ((place + 1) * HALO_H * HALO_W + kw) * 16);
#pragma unroll
                        for (int kd = 0; kd < 3; ++kd) {
                            int m = place - kd;
                            if (m < 0 || m >= DEPTH) continue;
#pragma unroll
                            for (int j = 0; j < COLUMNS; ++j) multiply(c[m][j], a[place % 2], b[kd][j / 2][j % 2 * 2], b[kd][j / 2][j % 2 * 2 + 1]);
                        }
                    }
                }
                // The copies have had a third of the time to come.
                if (STAGES == 2 && more && kh > 0) finish(other, next, insides, Tiles::ROUNDS * (kh - 1) / 2, Tiles::ROUNDS * kh / 2);
            }
            bool reads = more && !s.resident && next != chunk;
            if (STAGES == 1 || reads) __syncthreads();
            if (reads) copy_weights(next);
            if (STAGES == 1 && more) {
                origin_of(s.from.size, last ? tile + gridDim.x : tile, z, h, w);
                insides = Tiles::start(shared, unit_of(next), s.from.size, z, h, w);
            }
            if (last) {
                origin_of(s.from.size, tile, z, h, w);
                // A lane has two neighbouring outputs of each eight, at two rows along H.
                float sum[COLUMNS][2], squares[COLUMNS][2];
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j) sum[j][0] = sum[j][1] = squares[j][0] = squares[j][1] = 0;
                int vw = w + lane / 4;
#pragma unroll
                for (int m = 0; m < DEPTH; ++m) {
                    int vz = z + down + m, vh = h + across;
                    bool inside[2];
                    unsigned int words[2][COLUMNS];
#pragma unroll
                    for (int row = 0; row < 2; ++row) {
                        inside[row] = vz < s.from.size[0] && vh + row < s.from.size[1] && vw < s.from.size[2];
#pragma unroll
                        for (int j = 0; j < COLUMNS; ++j) {
                            words[row][j] = pair(c[m][j][2 * row], c[m][j][2 * row + 1]);
                            if (s.sums) {
                                float a = inside[row] ? first_of(words[row][j]) : 0, b = inside[row] ? second_of(words[row][j]) : 0;
                                sum[j][0] += a;
                                sum[j][1] += b;
                                squares[j][0] += a * a;
                                squares[j][1] += b * b;
                            }
                        }
                    }
                    // Then four lanes have 16 bytes each of one row (of 32 outputs), or of both.
#pragma unroll
                    for (int part = 0; part < COLUMNS / 2; ++part) {
                        unsigned int four[4];
#pragma unroll
                        for (int k = 0; k < 4; ++k) four[k] = words[COLUMNS == 4 ? part : k / 2][k % COLUMNS];
                        transpose_by_four(four);
                        int row = COLUMNS == 4 ? part : lane % 4 / 2, unit = lane % COLUMNS;
                        if (row ? inside[1] : inside[0]) {
                            Index voxel = (Index)n * volume + (vz * s.from.size[1] + vh + row) * s.from.size[2] + vw;
                            *(uint4 *)(y + voxel * s.outputs + group * OUTPUTS + unit * 8) = make_uint4(four[0], four[1], four[2], four[3]);
                        }
                    }
                }
                if (s.sums) {
                    // Squares of 16 bits are exact in f32; what a warp adds to them in f32 are the 64 or 128 voxels of a tile.
#pragma unroll
                    for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
                        for (int k = 0; k < 2; ++k) {
#pragma unroll
                            for (int bit = 4; bit < 32; bit *= 2) {
                                sum[j][k] += __shfl_xor_sync(0xffffffffu, sum[j][k], bit);
                                squares[j][k] += __shfl_xor_sync(0xffffffffu, squares[j][k], bit);
                            }
                            if (lane < 4) {
                                double *total = totals + (warp * OUTPUTS + j * 8 + lane * 2 + k) * 2;
                                total[0] += (double)sum[j][k];
                                total[1] += (double)squares[j][k];
                            }
                        }
                }
            }
            if (STAGES == 1 && more) finish(shared, next, insides, 0, Tiles::ROUNDS);
            copies_done();
            __syncthreads();
            chunk = next;
            stage = STAGES - 1 - stage;
        }
    }
    if (!s.sums) return;
    for (int i = threadIdx.x; i < OUTPUTS * 2; i += THREADS) {
        double total = 0;
        for (int k = 0; k < WARPS; ++k) total += totals[k * OUTPUTS * 2 + i];
        sums[(((Index)n * gridDim.x + blockIdx.x) * s.outputs + group * OUTPUTS) * 2 + i] = total;
    }
}

// Parameters (O, C, 27), rounded, in the order in which they are read: by group of OUTPUTS outputs, chunk of 16 inputs, tap,
// unit of 8 inputs, output and input. Turned, they are those (O', C', 27) of a convolution whose input gradient is wanted: O
// is C', C is O', and taps come in reverse.
extern "C" __global__ void tensor_arrange(const A *weights, T *arranged, int outputs, int inputs, int turned) {
    FOR_EACH(i, (Index)outputs *inputs *TAPS) {
        int lower = (int)(i % 8), output = (int)(i / 8 % OUTPUTS), unit = (int)(i / 8 / OUTPUTS % UNITS);
        int rest = (int)(i / (8 * UNITS * OUTPUTS)), tap = rest % TAPS, chunk = rest / TAPS % (inputs / CHUNK);
        output += rest / TAPS / (inputs / CHUNK) * OUTPUTS;
        int input = chunk * CHUNK + unit * 8 + lower;
        arranged[i] = put(turned ? weights[((Index)input * outputs + output) * TAPS + TAPS - 1 - tap]
                                 : weights[((Index)output * inputs + input) * TAPS + tap]);
    }
}
