// Products of small matrices by a warp, and what goes in and out of them. Numbers are 16 bits wide; before this come what
// a number type says of itself and, for f16, HALF. Fragments lie as PTX has them for m16n8k16: of A (16×16) and C (16×8)
// a thread has rows lane/4 and lane/4 + 8, of B (16×8) column lane/4, and pairs from 2·(lane%4) on along the other axis.

#ifdef HALF
#define NUMBER "f16"
#else
#define NUMBER "bf16"
#endif

// What only a card can do; a program that tries the kernels without one defines EMULATED and has its own.
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

// Channels go in units of 8, which are 16 bytes. In shared memory each unit has a plane of its own, in which it lies voxel
// by voxel: so 8 voxels side by side are 128 bytes side by side.
#define TAPS 27

// A tile of output voxels, and its input with one voxel more on every side.
#define TILE_D 8
#define TILE_W 8
#define HALO_D (TILE_D + 2)
#define HALO_H (TILE_H + 2)
#define HALO_W (TILE_W + 2)
#define HALO (HALO_D * HALO_H * HALO_W)

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

// 8 channels of a source, those that a thread copies and turns into what they are read as: of the sample's first voxel at
// `values`. `step` is in bytes.
struct Unit {
    const char *values;
    unsigned int step;
    bool maps;
    float scale[8], shift[8], below;
};

// act(scale · v + shift).
__device__ __forceinline__ uint4 mapped(uint4 raw, const Unit &x) {
    unsigned int words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float a = x.scale[2 * i] * first_of(words[i]) + x.shift[2 * i];
        float b = x.scale[2 * i + 1] * second_of(words[i]) + x.shift[2 * i + 1];
        words[i] = pair(a > 0 ? a : a * x.below, b > 0 ? b : b * x.below);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// The input of a tile, of which THREADS threads copy UNITS units: always the same one each, of another voxel in each of
// so many rounds. Planes are some voxels longer than they need be, which puts neighbouring units of neighbouring voxels
// in other banks.
template <int UNITS, int THREADS> struct Input {
    static constexpr int PLANE = HALO / 8 * 8 + 8 / UNITS + (HALO % 8 ? 8 : 0), AT_ONCE = THREADS / UNITS, ROUNDS = (HALO + AT_ONCE - 1) / AT_ONCE;

    // Starts the copies of the tile at (z, h, w), with zeros around the sample; which rounds are of voxels of the
    // sample, as bits.
    static __device__ __forceinline__ unsigned int start(uint4 *planes, const Unit &x, const int (&size)[3], int z, int h, int w) {
        unsigned int insides = 0;
        uint4 *to = planes + threadIdx.x % UNITS * PLANE;
#pragma unroll 4
        for (int round = 0; round < ROUNDS; ++round) {
            int voxel = threadIdx.x / UNITS + round * AT_ONCE;
            if (voxel >= HALO) break;
            int vz = z - 1 + voxel / (HALO_H * HALO_W), vh = h - 1 + voxel / HALO_W % HALO_H, vw = w - 1 + voxel % HALO_W;
            bool inside = (unsigned int)vz < (unsigned int)size[0] && (unsigned int)vh < (unsigned int)size[1] && (unsigned int)vw < (unsigned int)size[2];
            unsigned int at = inside ? (vz * size[1] + vh) * size[2] + vw : 0;
            copy(to + voxel, (const uint4 *)(x.values + at * x.step), !inside);
            insides |= (unsigned int)inside << round;
        }
        return insides;
    }

    // Waits for all that this thread copies, and maps what it copied of the input in rounds `first` to `end`: the padding
    // is of zeros after that.
    static __device__ __forceinline__ void finish(uint4 *planes, const Unit &x, unsigned int insides, int first, int end) {
        copies_done();
        if (!x.maps) return;
        uint4 *to = planes + threadIdx.x % UNITS * PLANE + threadIdx.x / UNITS;
#pragma unroll 2
        for (int round = first; round < end; ++round) {
            if (insides >> round & 1) to[round * AT_ONCE] = mapped(to[round * AT_ONCE], x);
        }
    }
};
