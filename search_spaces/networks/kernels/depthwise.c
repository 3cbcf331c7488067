/* The backward pass of depthwise convolutions, whose channels are filtered one by one.

A vector holds channels of one pixel. Images are first copied, as float32, into planes: a plane holds 16 channels of all
pixels, with a border of zeros, so that no window ends outside. The plane of the gradient also has zeros between the
pixels that a stride skips. Weights and their gradient are `tap x channel` arrays, filled up to whole planes. */

#include "kernels.h"

#define LANES 16
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

/* Copies 16 channels, of which `lanes` exist, of an image into a plane of rows of `across` pixels, `step` pixels apart. */
ALWAYS void to_plane(int half, long height, long width, long channels, long lanes, long step, long across,
                     const void *image, vec *plane)
{
    for (long y = 0; y < height; y++)
        for (long x = 0; x < width; x++) {
            float *to = (float *)(plane + (y * across + x) * step);
            const void *from = at(half, image, (y * width + x) * channels);
            if (lanes == LANES)
                for (int c = 0; c < LANES; c++)
                    to[c] = get(half, from, c);
            else
                for (long c = 0; c < lanes; c++)
                    to[c] = get(half, from, c);
        }
}

/* Adds to dw of one plane the products of the gradient's pixels, `step` apart, with the input's windows. */
ALWAYS void correlate(int side, int rows, long height, long width, long step, long across, long input_across,
                      const vec *input, const vec *gradient, vec *dw, long planes)
{
    vec sums[7 * 3];
    for (int top = 0; top < side; top += rows) {
        for (int tap = 0; tap < rows * side; tap++)
            sums[tap] = dw[(top * side + tap) * planes];
        for (long y = 0; y < height; y++)
            for (long x = 0; x < width; x++) {
                vec g = gradient[(y * across + x) * step];
                for (int dy = 0; dy < rows; dy++)
                    for (int dx = 0; dx < side; dx++)
                        sums[dy * side + dx] += g * input[(y * step + top + dy) * input_across + x * step + dx];
            }
        for (int tap = 0; tap < rows * side; tap++)
            dw[(top * side + tap) * planes] = sums[tap];
    }
}

/* `rounded` of each lane, which the compiler does not find by itself. */
ALWAYS halves rounded_lanes(vec value)
{
    words bits = (words)value, nan = (words)(value != value);
    return __builtin_convertvector((((bits + 0x7fff + (bits >> 16 & 1)) >> 16) & ~nan) | (nan & 0x7fc0), halves);
}

/* Writes the channels that exist of one pixel. */
ALWAYS void put_lanes(int half, long lanes, vec value, void *to)
{
    halves narrow;
    if (half)
        narrow = rounded_lanes(value);
    if (lanes == LANES)
        memcpy(to, half ? (void *)&narrow : (void *)&value, LANES * (half ? 2 : 4));
    else
        memcpy(to, half ? (void *)&narrow : (void *)&value, lanes * (half ? 2 : 4));
}

/* dx of one plane: the gradient's plane, whose window begins at each pixel, convolved with the turned weights. */
ALWAYS void convolve(int half, int side, long height, long width, long channels, long lanes, long across,
                     const vec *gradient, const vec *w, long planes, void *dx)
{
    vec turned[7 * 7];
    for (int tap = 0; tap < side * side; tap++)
        turned[tap] = w[(side * side - 1 - tap) * planes];
    for (long y = 0; y < height; y++)
        for (long x = 0; x < width; x++) {
            vec sum = {0};
            for (int dy = 0; dy < side; dy++)
                for (int dx = 0; dx < side; dx++)
                    sum += turned[dy * side + dx] * gradient[(y + dy) * across + x + dx];
            put_lanes(half, lanes, sum, (void *)at(half, dx, (y * width + x) * channels));
        }
}

#define WITH_SIDE(call)    \
    switch (side) {        \
        case 3: {          \
            enum { K = 3 }; \
            call;          \
            break;         \
        }                  \
        case 5: {          \
            enum { K = 5 }; \
            call;          \
            break;         \
        }                  \
        case 7: {          \
            enum { K = 7 }; \
            call;          \
            break;         \
        }                  \
    }

ALWAYS void backward(int half, long images, long channels, long height, long width, long out_height, long out_width,
                     long side, long stride, const void *x, const void *g, const float *weights, void *dx,
                     float *gradients, float *input, float *gradient)
{
    long pad = side / 2, planes = (channels + LANES - 1) / LANES;
    long across = width + 2 * pad; /* of both planes: the border is the same for the odd sides */
    vec *xs = (vec *)input, *gs = (vec *)gradient;
    memset(xs, 0, (height + 2 * pad) * across * sizeof *xs);
    memset(gs, 0, (height + 2 * pad) * across * sizeof *gs);
    for (long image = 0; image < images; image++)
        for (long plane = 0; plane < planes; plane++) {
            long first = plane * LANES, lanes = least(LANES, channels - first);
            const vec *w = (const vec *)weights + plane;
            vec *dw = (vec *)gradients + plane, *inside = gs + pad * across + pad;
            const void *from = at(half, x, image * height * width * channels + first);
            const void *above = at(half, g, image * out_height * out_width * channels + first);
            to_plane(half, height, width, channels, lanes, 1, across, from, xs + pad * across + pad);
            to_plane(half, out_height, out_width, channels, lanes, stride, across, above, inside);
            WITH_SIDE(correlate(K, K == 3 ? 3 : 1, out_height, out_width, stride, across, across, xs, inside, dw, planes));
            if (dx) {
                void *to = (void *)at(half, dx, image * height * width * channels + first);
                WITH_SIDE(convolve(half, K, height, width, channels, lanes, across, gs, w, planes, to));
            }
        }
}

/* dx and dw = gradients of x and of the weights w from the gradient g of the output, for filters of side x side taps, with
a padding of side / 2; dx may be NULL. `xs` and `gs` hold a plane each. */
void depthwise_backward(int half, long images, long channels, long height, long width, long out_height, long out_width,
                        long side, long stride, const void *x, const void *g, const float *w, void *dx, float *dw,
                        float *xs, float *gs)
{
    CHOOSE(backward, images, channels, height, width, out_height, out_width, side, stride, x, g, w, dx, dw, xs, gs);
}
