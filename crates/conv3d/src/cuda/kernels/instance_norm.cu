// Instance norm with a leaky ReLU behind it, forward and backward. Channels are those of all samples, one after the
// other; γ and β belong to channel mod `per_sample`. Sums are made in pieces, `pieces` a channel (grid.x), and joined
// in doubles in a fixed order.

// Σ (x − x₀) and Σ (x − x₀)² of each piece, x₀ the first value of the channel.
extern "C" __global__ void norm_moments(const T *x, double *sums, Index voxels) {
    __shared__ double shared[32];
    Index channel = blockIdx.y, pieces = gridDim.x;
    const T *values = x + channel * voxels;
    A first = get(values[0]), sum = 0, squares = 0;
    Index from = voxels * blockIdx.x / pieces, to = voxels * (blockIdx.x + 1) / pieces;
    for (Index i = from + threadIdx.x; i < to; i += blockDim.x) {
        A off = get(values[i]) - first;
        sum += off;
        squares += off * off;
    }
    double total = block_sum((double)sum, shared);
    double total_squares = block_sum((double)squares, shared);
    if (threadIdx.x == 0) {
        double *to_here = sums + 2 * (channel * pieces + blockIdx.x);
        to_here[0] = total;
        to_here[1] = total_squares;
    }
}

// Mean and 1 / √(variance + ε) of each channel.
extern "C" __global__ void norm_statistics(
    const T *x, const double *sums, double *statistics, Index channels, Index voxels, Index pieces, double eps) {
    FOR_EACH(channel, channels) {
        double sum = 0, squares = 0;
        for (Index piece = 0; piece < pieces; ++piece) {
            sum += sums[2 * (channel * pieces + piece)];
            squares += sums[2 * (channel * pieces + piece) + 1];
        }
        double off = sum / (double)voxels, variance = squares / (double)voxels - off * off;
        if (variance < 0) variance = 0;
        statistics[2 * channel] = (double)get(x[channel * voxels]) + off;
        statistics[2 * channel + 1] = 1 / sqrt(variance + eps);
    }
}

extern "C" __global__ void norm_apply(
    const T *x, const T *gamma, const T *beta, const double *statistics, T *y, Index voxels, Index per_sample,
    double slope) {
    Index channel = blockIdx.y;
    double inverse = statistics[2 * channel + 1];
    double factor = (double)get(gamma[channel % per_sample]) * inverse;
    A scale = (A)factor, shift = (A)((double)get(beta[channel % per_sample]) - statistics[2 * channel] * factor);
    A below = (A)slope;
    FOR_EACH(i, voxels) {
        A value = get(x[channel * voxels + i]) * scale + shift;
        y[channel * voxels + i] = put(value > 0 ? value : value * below);
    }
}

// x̂ and the gradient that comes through the activation.
struct Through {
    A normal, gradient;
};

__device__ __forceinline__ Through through(A x, A g, A inverse, A offset, A gamma, A beta, A slope) {
    A normal = x * inverse + offset;
    return {normal, normal * gamma + beta > 0 ? g : g * slope};
}

// Σ g′ and Σ g′ x̂ of each piece.
extern "C" __global__ void norm_gradient_sums(
    const T *x, const T *gradient, const T *gamma, const T *beta, const double *statistics, double *sums, Index voxels,
    Index per_sample, double slope) {
    __shared__ double shared[32];
    Index channel = blockIdx.y, pieces = gridDim.x;
    A inverse = (A)statistics[2 * channel + 1], offset = (A)(-statistics[2 * channel] * statistics[2 * channel + 1]);
    A scale = get(gamma[channel % per_sample]), shift = get(beta[channel % per_sample]);
    A sum = 0, product = 0;
    Index from = voxels * blockIdx.x / pieces, to = voxels * (blockIdx.x + 1) / pieces;
    for (Index i = from + threadIdx.x; i < to; i += blockDim.x) {
        Index at = channel * voxels + i;
        Through t = through(get(x[at]), get(gradient[at]), inverse, offset, scale, shift, (A)slope);
        sum += t.gradient;
        product += t.gradient * t.normal;
    }
    double total = block_sum((double)sum, shared);
    double total_product = block_sum((double)product, shared);
    if (threadIdx.x == 0) {
        double *to_here = sums + 2 * (channel * pieces + blockIdx.x);
        to_here[0] = total;
        to_here[1] = total_product;
    }
}

// Joins the pieces: the sums of each channel, which are also the gradients of γ (first) and β of each sample.
extern "C" __global__ void norm_gradient_join(
    const double *sums, double *totals, T *for_parameters, Index channels, Index pieces) {
    FOR_EACH(channel, channels) {
        double sum = 0, product = 0;
        for (Index piece = 0; piece < pieces; ++piece) {
            sum += sums[2 * (channel * pieces + piece)];
            product += sums[2 * (channel * pieces + piece) + 1];
        }
        totals[2 * channel] = sum;
        totals[2 * channel + 1] = product;
        for_parameters[channel] = put((A)product);
        for_parameters[channels + channel] = put((A)sum);
    }
}

extern "C" __global__ void norm_gradient_apply(
    const T *x, const T *gradient, const T *gamma, const T *beta, const double *statistics, const double *totals,
    T *out, Index voxels, Index per_sample, double slope) {
    Index channel = blockIdx.y;
    double precise = statistics[2 * channel + 1];
    A inverse = (A)precise, offset = (A)(-statistics[2 * channel] * precise);
    A scale = get(gamma[channel % per_sample]), shift = get(beta[channel % per_sample]);
    A factor = (A)((double)scale * precise);
    A mean = (A)(totals[2 * channel] / (double)voxels), product = (A)(totals[2 * channel + 1] / (double)voxels);
    FOR_EACH(i, voxels) {
        Index at = channel * voxels + i;
        Through t = through(get(x[at]), get(gradient[at]), inverse, offset, scale, shift, (A)slope);
        out[at] = put(factor * (t.gradient - mean - t.normal * product));
    }
}
