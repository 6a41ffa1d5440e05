// Lists of tensors: entry `slot` has count[slot] numbers at each of its addresses, and blocks from first_block[slot] on,
// which take so many of them each.

#define SLOTS 48
#define CHUNK 16384

struct List {
    T *at[4][SLOTS];
    Index count[SLOTS];
    int first_block[SLOTS + 1];
};

__device__ __forceinline__ int slot_of(const List &list) {
    int slot = 0;
    while (list.first_block[slot + 1] <= (int)blockIdx.x) ++slot;
    return slot;
}

#define FOR_EACH_OF_CHUNK(i, list, slot)                                                       \
    for (Index i = (Index)(blockIdx.x - list.first_block[slot]) * CHUNK + threadIdx.x,         \
               end = min(list.count[slot], i - threadIdx.x + CHUNK);                           \
         i < end; i += blockDim.x)
