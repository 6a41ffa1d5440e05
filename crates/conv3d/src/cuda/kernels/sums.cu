// A sum of squares for each block.
extern "C" __global__ void squares_of_all(const __grid_constant__ List list, double *sums) {
    __shared__ double shared[32];
    int slot = slot_of(list);
    double sum = 0;
    FOR_EACH_OF_CHUNK(i, list, slot) {
        double value = (double)get(list.at[0][slot][i]);
        sum += value * value;
    }
    double total = block_sum(sum, shared);
    if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// By one block.
extern "C" __global__ void sum_in_order(const double *sums, Index count, double *out) {
    __shared__ double shared[32];
    double sum = 0;
    for (Index i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
    double total = block_sum(sum, shared);
    if (threadIdx.x == 0) *out = total;
}

extern "C" __global__ void add_to_each(T *sum, const T *more, Index count) {
    FOR_EACH(i, count) sum[i] = put(get(sum[i]) + get(more[i]));
}
