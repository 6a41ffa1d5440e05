// Products of small matrices by a warp, and what goes in and out of them. Numbers are 16 bits wide; before this come what
// a number type says of itself and, for f16, HALF. Fragments lie as PTX has them for m16n8k16: of A (16×16) and C (16×8)
// a thread has rows lane/4 and lane/4 + 8, of B (16×8) column lane/4, and pairs from 2·(lane%4) on along the other axis.

#ifdef HALF
#define NUMBER "f16"
#else
#define NUMBER "bf16"
#endif

#ifndef EMULATED
// What the instructions below take as an address.
__device__ __forceinline__ unsigned int shared_address(const void *shared) {
    return (unsigned int)__cvta_generic_to_shared(shared);
}

// Four 8×8 matrices, the row of each of which lane 8·matrix + row points to: a thread gets of each a pair of row lane/4.
__device__ __forceinline__ void load_matrices(unsigned int (&to)[4], unsigned int from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from) : "memory");
}

// The same, each matrix transposed.
__device__ __forceinline__ void load_transposed(unsigned int (&to)[4], unsigned int from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from) : "memory");
}

// c += a b.
__device__ __forceinline__ void multiply(float (&c)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32." NUMBER "." NUMBER ".f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes to shared memory, or as many zeros, there after `copies_done`. `from` is an address in global memory in any case.
__device__ __forceinline__ void copy(uint4 *shared, const uint4 *from, bool zeros = false) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 : : "r"(shared_address(shared)), "l"(from), "r"(zeros ? 0 : 16) : "memory");
}
__device__ __forceinline__ void copies_done() { asm volatile("cp.async.wait_all;" : : : "memory"); }

// Two numbers as one word, the first in the lower half.
__device__ __forceinline__ unsigned int pair(float first, float second) {
    unsigned int both;
#ifdef HALF
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
#else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
#endif
    return both;
}
#endif

__device__ __forceinline__ float first_of(unsigned int both) { return get((T)(both & 0xffff)); }
__device__ __forceinline__ float second_of(unsigned int both) { return get((T)(both >> 16)); }

// Input channels that are worked on at a time: two units of 8, 16 bytes each. In shared memory units lie in two planes,
// and in a plane voxel by voxel, so that 8 voxels or 8 outputs side by side are 128 bytes side by side.
#define CHUNK 16
#define UNITS 2
#define TAPS 27

// A tile of output voxels, and its input with one voxel more on every side. A plane is some voxels longer, so that
// the same voxels of both are in other banks.
#define TILE_D 8
#define TILE_W 8
#define HALO_D (TILE_D + 2)
#define HALO_H (TILE_H + 2)
#define HALO_W (TILE_W + 2)
#define HALO (HALO_D * HALO_H * HALO_W)
#define PLANE ((HALO + 3) / 8 * 8 + 4)

// Sources side by side along the channels.
struct Sources {
    int size[3];
    // From a voxel to the next; channels; whether there are terms.
    int step[2], channels[2], mapped[2];
    float slope[2];
};

// Of the second source or of the first: an index known when it runs would put the arguments into memory.
#define OF(which, both) ((which) ? (both)[1] : (both)[0])

// First voxel of tile `tile` of those that cover `size`.
__device__ __forceinline__ void origin_of(const int (&size)[3], int tile, int &z, int &h, int &w) {
    int across = (size[2] + TILE_W - 1) / TILE_W, down = (size[1] + TILE_H - 1) / TILE_H;
    w = tile % across * TILE_W;
    h = tile / across % down * TILE_H;
    z = tile / across / down * TILE_D;
}

__device__ __forceinline__ int tiles_of(const int (&size)[3]) {
    return ((size[0] + TILE_D - 1) / TILE_D) * ((size[1] + TILE_H - 1) / TILE_H) * ((size[2] + TILE_W - 1) / TILE_W);
}

// act(scale · v + shift) of 8 channels.
__device__ __forceinline__ uint4 mapped(uint4 raw, const float (&scale)[8], const float (&shift)[8], float below) {
    unsigned int *words = &raw.x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float a = scale[2 * i] * first_of(words[i]) + shift[2 * i];
        float b = scale[2 * i + 1] * second_of(words[i]) + shift[2 * i + 1];
        words[i] = pair(a > 0 ? a : a * below, b > 0 ? b : b * below);
    }
    return raw;
}

// Units that a thread has on their way at once.
#define ON_THEIR_WAY 4

// A chunk of the input of the tile at (z, h, w), as it is read: `from` is its channels of the sample's first voxel, `terms`
// in shared memory are their 16 scales and 16 shifts. Zero outside of the sample. `threads` is even.
__device__ __forceinline__ void load_halo(uint4 *halo, const T *from, int step, const int (&size)[3], int z, int h, int w, bool maps, const float *terms, float below, int threads) {
    int unit = threadIdx.x % UNITS;
    float scale[8], shift[8];
    if (maps) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            scale[i] = terms[unit * 8 + i];
            shift[i] = terms[CHUNK + unit * 8 + i];
        }
    }
#pragma unroll 1
    for (int start = threadIdx.x / UNITS; start < HALO; start += ON_THEIR_WAY * threads / UNITS) {
        uint4 raw[ON_THEIR_WAY];
        bool inside[ON_THEIR_WAY];
#pragma unroll
        for (int i = 0; i < ON_THEIR_WAY; ++i) {
            int voxel = start + i * threads / UNITS;
            int vz = z - 1 + voxel / (HALO_H * HALO_W), vh = h - 1 + voxel / HALO_W % HALO_H, vw = w - 1 + voxel % HALO_W;
            inside[i] = voxel < HALO && (unsigned int)vz < (unsigned int)size[0] && (unsigned int)vh < (unsigned int)size[1] &&
                        (unsigned int)vw < (unsigned int)size[2];
            raw[i] = make_uint4(0, 0, 0, 0);
            if (inside[i]) raw[i] = __ldg((const uint4 *)(from + (unsigned int)((vz * size[1] + vh) * size[2] + vw) * (unsigned int)step) + unit);
        }
#pragma unroll
        for (int i = 0; i < ON_THEIR_WAY; ++i) {
            int voxel = start + i * threads / UNITS;
            if (maps && inside[i]) raw[i] = mapped(raw[i], scale, shift, below);
            if (voxel < HALO) halo[unit * PLANE + voxel] = raw[i];
        }
    }
}

// Scales and shifts of chunk `chunk` of sample n to shared memory, for `load_halo`; the first 32 threads of a block do it.
__device__ __forceinline__ void load_terms(float *to, const double *terms, int batch, int channels, int n, int chunk) {
    int row = 2 + threadIdx.x / CHUNK, channel = chunk * CHUNK + threadIdx.x % CHUNK;
    if (threadIdx.x < 2 * CHUNK) to[threadIdx.x] = (float)terms[((Index)row * batch + n) * channels + channel];
}
