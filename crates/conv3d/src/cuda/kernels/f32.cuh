// T is how numbers are stored, A what is computed with.
typedef float T;
typedef float A;
__device__ __forceinline__ A get(T value) { return value; }
__device__ __forceinline__ T put(A value) { return value; }
