typedef double T;
typedef double A;
__device__ __forceinline__ A get(T value) { return value; }
__device__ __forceinline__ T put(A value) { return value; }
