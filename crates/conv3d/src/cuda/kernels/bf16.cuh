// By bits, as NVRTC alone has no cuda_bf16.h: the upper half of a float, rounded to nearest, ties to even.
typedef unsigned short T;
typedef float A;
__device__ __forceinline__ A get(T value) { return __uint_as_float((unsigned int)value << 16); }
__device__ __forceinline__ T put(A value) {
    unsigned int bits = __float_as_uint(value);
    if (value != value) return (T)((bits >> 16) | 0x40);
    return (T)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
