typedef long long Index;

// V numbers as they are stored, read and written at once.
template <int V> struct alignas(sizeof(T) * V) Pack {
    T value[V];
};

// Every thread of a launch takes every so many elements.
#define FOR_EACH(i, count)                                                                     \
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < (count);                 \
         i += (Index)gridDim.x * blockDim.x)

// The sum of `value` over the threads of a block, for thread 0. Threads are a multiple of 32, at most 1024.
// `shared` has room for 32 numbers; all threads take part.
template <typename Number>
__device__ __forceinline__ Number block_sum(Number value, Number *shared) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();
    if (lane == 0) shared[warp] = value;
    __syncthreads();
    Number sum = 0;
    if (warp == 0) {
        sum = lane < (int)(blockDim.x / 32) ? shared[lane] : (Number)0;
        for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffffu, sum, step);
    }
    return sum;
}
