// Between (O, C, K…) in wide numbers and (O, K…, C) in those between layers; `inner` is the product of K.

extern "C" __global__ void last_from_first(const A *from, T *to, Index outer, Index channels, Index inner) {
    FOR_EACH(i, outer * channels * inner) {
        Index c = i % channels, k = i / channels % inner, o = i / channels / inner;
        to[i] = put(from[(o * channels + c) * inner + k]);
    }
}

extern "C" __global__ void first_from_last(const T *from, A *to, Index outer, Index channels, Index inner) {
    FOR_EACH(i, outer * channels * inner) {
        Index k = i % inner, c = i / inner % channels, o = i / inner / channels;
        to[i] = get(from[(o * inner + k) * channels + c]);
    }
}
