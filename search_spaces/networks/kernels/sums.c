/* Weighted sums of tensors of one size, and the gradients of the weights. */

#include "kernels.h"

#define STRETCH 2048 /* elements that stay in the first cache */
#define LANES 64 /* partial sums of a dot product */

ALWAYS double dot(int half, long length, const void *restrict x, const void *restrict y)
{
    float lanes[LANES] = {0};
    long whole = length - length % LANES;
    for (long i = 0; i < whole; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] += get(half, x, i + lane) * get(half, y, i + lane);
    for (long i = whole; i < length; i++)
        lanes[i - whole] += get(half, x, i) * get(half, y, i);
    double total = 0;
    for (int lane = 0; lane < LANES; lane++)
        total += lanes[lane];
    return total;
}

/* y = sum of gates * xs over n arrays, an absent gate being 1; where there is a z, dots[k] += <z, xs[k]>. */
ALWAYS void combine(int half, long size, long n, const void *const *xs, const float *const *gates, const void *z,
                    void *y, double *dots)
{
    float sums[STRETCH];
    for (long start = 0; start < size; start += STRETCH) {
        long length = least(STRETCH, size - start);
        for (long k = 0; k < n; k++) {
            const void *x = at(half, xs[k], start);
            float factor = gates[k] ? *gates[k] : 1;
            if (k == 0)
                add_scaled(half, 1, length, factor, x, sums);
            else
                add_scaled(half, 0, length, factor, x, sums);
            if (z && gates[k])
                dots[k] += dot(half, length, x, at(half, z, start));
        }
        void *ys = (void *)at(half, y, start);
        for (long i = 0; i < length; i++)
            put(half, ys, i, sums[i]);
    }
}

void weighted_sums(int half, long size, long n, const void *const *xs, const float *const *gates, const void *z,
                   void *y, double *dots)
{
    CHOOSE(combine, size, n, xs, gates, z, y, dots);
}
