// What the two ends of a network share: numbers in shared memory, and sums over pieces.

// V numbers in shared memory, read sixteen bytes at a time.
template <int V> struct alignas(V == 1 ? sizeof(A) : 16) Values {
    A value[V];
};

// The value as it would be if it had been stored.
__device__ __forceinline__ A rounded(A value) { return get(put(value)); }

// out[i] = Σ sums[piece · stride + first + i] over the pieces, in an order of its own: 32 numbers across, 32 rows of
// threads down.
extern "C" __global__ void ends_join(const double *sums, Index stride, Index first, Index count, Index pieces, A *out) {
    __shared__ double rows[32][33];
    Index i = (Index)blockIdx.x * 32 + threadIdx.x;
    double sum = 0;
    for (Index piece = threadIdx.y; i < count && piece < pieces; piece += 32) sum += sums[piece * stride + first + i];
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || i >= count) return;
    for (int row = 1; row < 32; ++row) sum += rows[row][threadIdx.x];
    out[i] = (A)sum;
}
