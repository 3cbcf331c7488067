/* Batch norm for training, of `rows x channels`.

A tensor is taken in tiles of `tile` rows, so that loops run over tile * channels elements, however few channels there
are; numbers of a channel are written out once for each row of a tile (`spread_over`). Sums go on in float64 after BLOCK
tiles. The second pass goes backwards, since the cache still holds the end of what the first one read, and the next layer
will find the beginning there. */

#include "kernels.h"

#include <math.h>

#define UNROLLED 4 /* tiles that one load and store of the sums serves */
#define BLOCK (128 * UNROLLED)
#define SAMPLES 16 /* rows from which the first guess of a mean is made */

static void spread_over(long tile, long channels, float *numbers)
{
    for (long row = 1; row < tile; row++)
        memcpy(numbers + row * channels, numbers, channels * sizeof *numbers);
}

/* Adds the float32 sums of a tile to those of its channels and clears them. */
static void flush(long tile, long channels, float *sums, double *totals)
{
    for (long row = 0; row < tile; row++)
        for (long c = 0; c < channels; c++)
            totals[c] += sums[row * channels + c];
    memset(sums, 0, tile * channels * sizeof *sums);
}

ALWAYS void add_moments(int half, int tiles, long length, long stride, const void *x, const float *restrict guess,
                        float *restrict first, float *restrict second)
{
    for (long i = 0; i < length; i++) {
        float sum = 0, squares = 0;
        for (int t = 0; t < tiles; t++) {
            float off = get(half, x, i + t * stride) - guess[i];
            sum += off;
            squares += off * off;
        }
        first[i] += sum;
        second[i] += squares;
    }
}

ALWAYS void add_products(int half, int tiles, long length, long stride, const void *g, const void *x,
                         const float *restrict mean, float *restrict first, float *restrict second)
{
    for (long i = 0; i < length; i++) {
        float sum = 0, products = 0;
        for (int t = 0; t < tiles; t++) {
            float gradient = get(half, g, i + t * stride);
            sum += gradient;
            products += gradient * (get(half, x, i + t * stride) - mean[i]);
        }
        first[i] += sum;
        second[i] += products;
    }
}

/* Sums over rows of x - offset and its square, or, if there is a g, of g and g * (x - offset). */
ALWAYS void reduce(int half, int paired, long rows, long channels, long tile, const void *g, const void *x,
                   const float *offset, float *first, float *second, double *first_total, double *second_total)
{
    long length = tile * channels, size = rows * channels, group = UNROLLED * length, in_block = 0;
    memset(first, 0, length * sizeof *first);
    memset(second, 0, length * sizeof *second);
    memset(first_total, 0, channels * sizeof *first_total);
    memset(second_total, 0, channels * sizeof *second_total);
    for (long start = 0; start < size;) {
        int whole = size - start >= group;
        long taken = whole ? length : least(length, size - start);
        const void *xs = at(half, x, start), *gs = at(half, g, start);
        if (paired && whole)
            add_products(half, UNROLLED, taken, length, gs, xs, offset, first, second);
        else if (paired)
            add_products(half, 1, taken, length, gs, xs, offset, first, second);
        else if (whole)
            add_moments(half, UNROLLED, taken, length, xs, offset, first, second);
        else
            add_moments(half, 1, taken, length, xs, offset, first, second);
        start += whole ? group : taken;
        in_block += UNROLLED;
        if (in_block >= BLOCK || start >= size) {
            flush(tile, channels, first, first_total);
            flush(tile, channels, second, second_total);
            in_block = 0;
        }
    }
}

ALWAYS void guess_means(int half, long rows, long channels, const void *x, float *guess)
{
    for (long c = 0; c < channels; c++) {
        double sum = 0;
        for (long k = 0; k < SAMPLES; k++)
            sum += get(half, x, k * (rows - 1) / (SAMPLES - 1) * channels + c);
        guess[c] = (float)(sum / SAMPLES);
    }
}

ALWAYS void normalise(int half, long length, const void *restrict x, const float *restrict guess,
                      const float *restrict scale, const float *restrict shift, void *restrict y)
{
    for (long i = 0; i < length; i++)
        put(half, y, i, (get(half, x, i) - guess[i]) * scale[i] + shift[i]);
}

ALWAYS void forward(int half, long rows, long channels, long tile, const void *x, const float *weight,
                    const float *bias, double epsilon, double momentum, float *running_mean, float *running_variance,
                    float *mean, float *inverse, void *y, double *scratch)
{
    long length = tile * channels, size = rows * channels;
    double *sums = scratch, *squares = sums + channels;
    float *guess = (float *)(squares + channels), *scale = guess + length, *shift = scale + length;
    guess_means(half, rows, channels, x, guess);
    spread_over(tile, channels, guess);
    reduce(half, 0, rows, channels, tile, x, x, guess, scale, shift, sums, squares);
    for (long c = 0; c < channels; c++) {
        double off = sums[c] / rows, variance = squares[c] / rows - off * off;
        variance = variance < 0 ? 0 : variance;
        double deviation = sqrt(variance + epsilon);
        mean[c] = (float)(guess[c] + off);
        inverse[c] = (float)(1 / deviation);
        scale[c] = (float)(weight[c] / deviation);
        shift[c] = (float)(bias[c] - off * weight[c] / deviation);
        running_mean[c] = (float)((1 - momentum) * running_mean[c] + momentum * (guess[c] + off));
        double unbiased = variance * rows / (rows - 1);
        running_variance[c] = (float)((1 - momentum) * running_variance[c] + momentum * unbiased);
    }
    spread_over(tile, channels, scale);
    spread_over(tile, channels, shift);
    for (long start = (size - 1) / length * length; start >= 0; start -= length)
        normalise(half, least(length, size - start), at(half, x, start), guess, scale, shift,
                  (void *)at(half, y, start));
}

void norm_forward(int half, long rows, long channels, long tile, const void *x, const float *weight, const float *bias,
                  double epsilon, double momentum, float *running_mean, float *running_variance, float *mean,
                  float *inverse, void *y, double *scratch)
{
    CHOOSE(forward, rows, channels, tile, x, weight, bias, epsilon, momentum, running_mean, running_variance, mean,
           inverse, y, scratch);
}

ALWAYS void denormalise(int half, long length, const void *restrict g, const void *restrict x,
                        const float *restrict mean, const float *restrict scale, const float *restrict slope,
                        const float *restrict shift, void *restrict dx)
{
    for (long i = 0; i < length; i++)
        put(half, dx, i, get(half, g, i) * scale[i] + ((get(half, x, i) - mean[i]) * slope[i] + shift[i]));
}

ALWAYS void backward(int half, long rows, long channels, long tile, const void *g, const void *x, const float *weight,
                     const float *mean, const float *inverse, void *dx, float *dweight, float *dbias, double *scratch)
{
    long length = tile * channels, size = rows * channels;
    double *sums = scratch, *products = sums + channels;
    float *means = (float *)(products + channels), *scale = means + length, *slope = scale + length,
          *shift = slope + length;
    memcpy(means, mean, channels * sizeof *means);
    spread_over(tile, channels, means);
    reduce(half, 1, rows, channels, tile, g, x, means, scale, slope, sums, products);
    for (long c = 0; c < channels; c++) {
        double factor = (double)weight[c] * inverse[c];
        dbias[c] = (float)sums[c];
        dweight[c] = (float)(products[c] * inverse[c]);
        scale[c] = (float)factor;
        slope[c] = (float)(-factor * inverse[c] * inverse[c] * products[c] / rows);
        shift[c] = (float)(-factor * sums[c] / rows);
    }
    spread_over(tile, channels, scale);
    spread_over(tile, channels, slope);
    spread_over(tile, channels, shift);
    for (long start = (size - 1) / length * length; start >= 0; start -= length)
        denormalise(half, least(length, size - start), at(half, g, start), at(half, x, start), means, scale, slope,
                    shift, (void *)at(half, dx, start));
}

void norm_backward(int half, long rows, long channels, long tile, const void *g, const void *x, const float *weight,
                   const float *mean, const float *inverse, void *dx, float *dweight, float *dbias, double *scratch)
{
    CHOOSE(backward, rows, channels, tile, g, x, weight, mean, inverse, dx, dweight, dbias, scratch);
}
