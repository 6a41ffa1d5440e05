// By the card's own instructions, as NVRTC alone has no cuda_fp16.h.
typedef unsigned short T;
typedef float A;
__device__ __forceinline__ A get(T value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value));
    return wide;
}
__device__ __forceinline__ T put(A value) {
    unsigned short narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow) : "f"(value));
    return narrow;
}
