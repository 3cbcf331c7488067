/* 3 x 3 convolutions of stride 1 and padding 1 between few channels, on small bfloat16 images whose channels lie side by
side (channels_last), for training; on processors with AVX-512 instructions for bfloat16.

The channels fill only a part of a vector, so its lanes are pixels of one row instead: an image is first taken apart
into planes. A plane holds two channels of each pixel for the sums over channels (forward, and gradient of the input), or
one channel for the sums over pixels (gradient of the weights), so that an instruction multiplies and adds two bfloat16
numbers in each float32 lane. Planes have a border of zeros. Sums are float32; results are rounded once. Weights come and
their gradient goes as float32, with the strides of output channel, input channel and tap. */

#include "kernels.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)

#include <immintrin.h>

#define SIDE 32 /* the greatest height and width */
#define MOST 12 /* channels: twice as many sums fit into registers */
#define GROUP 8 /* channels of which three sums each fit into registers */
#define PAIRS (MOST / 2)
#define LANES 16 /* float32 numbers of a vector */
#define WORDS 32 /* bfloat16 numbers of a vector */
#define ACROSS (SIDE + 4)
#define DOWN (SIDE + 2)
#define TAPS 9

/* Where the words of some vectors come from: word j of vector d from word index[d][j] of the source where mask says. */
typedef struct {
    int made, sources;
    __m512i index[PAIRS];
    __mmask32 mask[PAIRS][PAIRS];
} Shuffle;

/* Fills row d of a shuffle by the numbers of source words, negative for zero. */
static void choose(Shuffle *shuffle, int d, const int *from)
{
    uint16_t index[WORDS];
    memset(shuffle->mask[d], 0, sizeof shuffle->mask[d]);
    for (int j = 0; j < WORDS; j++) {
        index[j] = (uint16_t)(from[j] & (WORDS - 1));
        if (from[j] >= 0)
            shuffle->mask[d][from[j] / WORDS] |= (__mmask32)1 << j;
    }
    shuffle->index[d] = _mm512_loadu_si512(index);
}

ALWAYS __m512i pick(const Shuffle *shuffle, int d, const __m512i *source)
{
    __m512i found = _mm512_setzero_si512();
    for (int s = 0; s < shuffle->sources; s++)
        found = _mm512_mask_permutexvar_epi16(found, shuffle->mask[d][s], shuffle->index[d], source[s]);
    return found;
}

/* From 16 pixels to pairs of channels. */
static void to_pairs(Shuffle *shuffle, int channels)
{
    int from[WORDS];
    shuffle->made = shuffle->sources = (channels + 1) / 2;
    for (int p = 0; p < shuffle->made; p++) {
        for (int j = 0; j < WORDS; j++)
            from[j] = 2 * p + j % 2 < channels ? j / 2 * channels + 2 * p + j % 2 : -1;
        choose(shuffle, p, from);
    }
}

/* From vectors that hold one channel of 16 pixels, then the next channel of them, to 16 pixels. */
static void to_pixels(Shuffle *shuffle, int channels)
{
    int from[WORDS];
    shuffle->made = shuffle->sources = (channels + 1) / 2;
    for (int s = 0; s < shuffle->made; s++) {
        for (int j = 0; j < WORDS; j++) {
            int pixel = (WORDS * s + j) / channels, channel = (WORDS * s + j) % channels;
            from[j] = pixel < LANES ? WORDS * (channel / 2) + channel % 2 * LANES + pixel : -1;
        }
        choose(shuffle, s, from);
    }
}

ALWAYS __mmask16 first_lanes(long n) { return n >= LANES ? 0xffff : (1u << n) - 1; }

ALWAYS __mmask32 first_words(long n) { return n >= WORDS ? 0xffffffffu : n <= 0 ? 0 : (1u << n) - 1; }

/* The pairs of channels of up to 16 pixels. */
ALWAYS void take_apart(const Shuffle *shuffle, long pixels, long channels, const uint16_t *from, __m512i *pairs)
{
    __m512i source[PAIRS];
    for (int s = 0; s < shuffle->sources; s++)
        source[s] = _mm512_maskz_loadu_epi16(first_words(pixels * channels - WORDS * s), from + WORDS * s);
    for (int p = 0; p < shuffle->made; p++)
        pairs[p] = pick(shuffle, p, source);
}

/* An image as planes of pairs of channels with a border of one pixel. */
ALWAYS void pair_planes(const Shuffle *shuffle, long height, long width, long channels, const uint16_t *image,
                        uint32_t *planes)
{
    __m512i pairs[PAIRS];
    for (long y = 0; y < height; y++)
        for (long x = 0; x < width; x += LANES) {
            take_apart(shuffle, width - x, channels, image + (y * width + x) * channels, pairs);
            for (int p = 0; p < shuffle->made; p++)
                _mm512_mask_storeu_epi32(planes + (p * DOWN + y + 1) * ACROSS + x + 1, first_lanes(width - x), pairs[p]);
        }
}

/* An image as planes of single channels with a border of so many pixels, in which narrow rows are followed by the next
row after 16 pixels. */
ALWAYS void channel_planes(const Shuffle *shuffle, long height, long width, long channels, const uint16_t *image,
                           long border, int narrow, uint16_t *planes)
{
    __m512i pairs[PAIRS];
    for (long y = 0; y < height; y++)
        for (long x = 0; x < width; x += LANES) {
            take_apart(shuffle, width - x, channels, image + (y * width + x) * channels, pairs);
            for (int c = 0; c < channels; c++) {
                __m512i low = c % 2 ? _mm512_srli_epi32(pairs[c / 2], 16) : pairs[c / 2];
                uint16_t *to = planes + (c * DOWN + y + border) * ACROSS + x + border;
                __mmask16 there = first_lanes(width - x);
                _mm256_mask_storeu_epi16(to, there, _mm512_cvtepi32_epi16(low));
                if (narrow && y + border)
                    _mm256_mask_storeu_epi16(to - ACROSS + LANES, there, _mm512_cvtepi32_epi16(low));
            }
        }
}

/* Sums over input channels and taps for each output channel of one or two vectors of pixels. */
ALWAYS void add(int out, int vectors, long pairs, const uint32_t *planes, const uint32_t *weights,
                __m512 sums[2][MOST])
{
    for (int v = 0; v < vectors; v++)
        for (int c = 0; c < out; c++)
            sums[v][c] = _mm512_setzero_ps();
    for (long p = 0; p < pairs; p++)
        for (int dy = 0; dy < 3; dy++)
            for (int dx = 0; dx < 3; dx++) {
                const uint32_t *from = planes + (p * DOWN + dy) * ACROSS + dx;
                const uint32_t *factors = weights + (p * TAPS + dy * 3 + dx) * MOST;
                __m512bh pixels[2];
                for (int v = 0; v < vectors; v++)
                    pixels[v] = (__m512bh)_mm512_loadu_si512(from + v * LANES);
                for (int c = 0; c < out; c++) {
                    __m512bh factor = (__m512bh)_mm512_set1_epi32((int)factors[c]);
                    for (int v = 0; v < vectors; v++)
                        sums[v][c] = _mm512_dpbf16_ps(sums[v][c], pixels[v], factor);
                }
            }
}

ALWAYS void put_together(int out, const Shuffle *shuffle, const __m512 *sums, long pixels, uint16_t *to)
{
    __m512i source[PAIRS];
    for (int c = 0; c < out; c += 2) {
        __m512 second = c + 1 < out ? sums[c + 1] : _mm512_setzero_ps();
        source[c / 2] = (__m512i)_mm512_cvtne2ps_pbh(second, sums[c]);
    }
    for (int s = 0; s < (out + 1) / 2; s++)
        _mm512_mask_storeu_epi16(to + WORDS * s, first_words(pixels * out - WORDS * s), pick(shuffle, s, source));
}

ALWAYS void convolve(int out, long height, long width, long in, const Shuffle *shuffle, const uint32_t *planes,
                     const uint32_t *weights, uint16_t *image)
{
    __m512 sums[2][MOST];
    for (long y = 0; y < height; y++) {
        uint16_t *to = image + y * width * out;
        if (width > LANES) {
            add(out, 2, (in + 1) / 2, planes + y * ACROSS, weights, sums);
            put_together(out, shuffle, sums[0], LANES, to);
            put_together(out, shuffle, sums[1], width - LANES, to + LANES * out);
        } else {
            add(out, 1, (in + 1) / 2, planes + y * ACROSS, weights, sums);
            put_together(out, shuffle, sums[0], width, to);
        }
    }
}

#define CASE(number, call)     \
    case number: {             \
        enum { N = number };   \
        call;                  \
        break;                 \
    }
#define FOR_CHANNELS(number, call)                                                                      \
    switch (number) {                                                                                   \
        CASE(1, call) CASE(2, call) CASE(3, call) CASE(4, call) CASE(5, call) CASE(6, call)             \
        CASE(7, call) CASE(8, call) CASE(9, call) CASE(10, call) CASE(11, call) CASE(12, call)          \
    }

/* The weights of each pair of input channels and tap for all output channels; turned, the channels of w change places and
its taps are turned around. */
ALWAYS void pack(long in, long out, const float *w, const long *strides, int turned, uint32_t *weights)
{
    memset(weights, 0, PAIRS * TAPS * MOST * sizeof *weights);
    for (long i = 0; i < in; i++)
        for (long o = 0; o < out; o++)
            for (long tap = 0; tap < TAPS; tap++) {
                float value = turned ? w[i * strides[0] + o * strides[1] + (TAPS - 1 - tap) * strides[2]]
                                     : w[o * strides[0] + i * strides[1] + tap * strides[2]];
                weights[(i / 2 * TAPS + tap) * MOST + o] |= (uint32_t)rounded(value) << (i % 2 * 16);
            }
}

/* y = x convolved with w; or, turned, the gradient of x, as y, from that of y, as x. */
void convolution_forward(long images, long height, long width, long in, long out, int turned, const uint16_t *x,
                         const float *w, const long *strides, uint16_t *y)
{
    Shuffle apart, together;
    uint32_t planes[PAIRS * DOWN * ACROSS], weights[PAIRS * TAPS * MOST];
    memset(planes, 0, sizeof planes);
    pack(in, out, w, strides, turned, weights);
    to_pairs(&apart, (int)in);
    to_pixels(&together, (int)out);
    for (long image = 0; image < images; image++) {
        pair_planes(&apart, height, width, in, x + image * height * width * in, planes);
        uint16_t *to = y + image * height * width * out;
        FOR_CHANNELS(out, convolve(N, height, width, in, &together, planes, weights, to));
    }
}

/* Adds to sums[i][dy][o][dx] the products of gradient o with input i, dy - 1 and dx - 1 off, `step` rows at once. */
ALWAYS void correlate_group(int out, long step, long height, long in, const uint16_t *x, const uint16_t *g, __m512 *sums)
{
    for (long i = 0; i < in; i++)
        for (long dy = 0; dy < 3; dy++) {
            __m512 *those = sums + (i * 3 + dy) * MOST * 3, held[GROUP][3];
            for (int o = 0; o < out; o++)
                for (int dx = 0; dx < 3; dx++)
                    held[o][dx] = those[o * 3 + dx];
            for (long y = 0; y < height; y += step) {
                const uint16_t *row = x + (i * DOWN + y + dy) * ACROSS;
                __m512bh pixels[3];
                for (int dx = 0; dx < 3; dx++)
                    pixels[dx] = (__m512bh)_mm512_loadu_si512(row + dx);
                for (int o = 0; o < out; o++) {
                    __m512bh gradient = (__m512bh)_mm512_loadu_si512(g + (o * DOWN + y) * ACROSS);
                    for (int dx = 0; dx < 3; dx++)
                        held[o][dx] = _mm512_dpbf16_ps(held[o][dx], gradient, pixels[dx]);
                }
            }
            for (int o = 0; o < out; o++)
                for (int dx = 0; dx < 3; dx++)
                    those[o * 3 + dx] = held[o][dx];
        }
}

ALWAYS void correlate(int out, long step, long height, long in, const uint16_t *x, const uint16_t *g, __m512 *sums)
{
    int before = out > GROUP ? out / 2 : 0;
    if (before)
        correlate_group(out / 2, step, height, in, x, g, sums);
    correlate_group(out - before, step, height, in, x, g + before * DOWN * ACROSS, sums + before * 3);
}

/* dw = gradient of w from x and the gradient g of y. */
void convolution_weights(long images, long height, long width, long in, long out, const uint16_t *x, const uint16_t *g,
                         const long *strides, float *dw)
{
    long step = width + 2 <= LANES ? 2 : 1; /* rows of a vector: the second half holds the next row */
    Shuffle inputs, gradients;
    uint16_t xs[MOST * DOWN * ACROSS], gs[MOST * DOWN * ACROSS];
    __m512 sums[MOST * 3 * MOST * 3];
    memset(xs, 0, sizeof xs);
    memset(gs, 0, sizeof gs);
    memset(sums, 0, sizeof sums);
    to_pairs(&inputs, (int)in);
    to_pairs(&gradients, (int)out);
    for (long image = 0; image < images; image++) {
        channel_planes(&inputs, height, width, in, x + image * height * width * in, 1, step == 2, xs);
        channel_planes(&gradients, height, width, out, g + image * height * width * out, 0, step == 2, gs);
        FOR_CHANNELS(out, correlate(N, step, height, in, xs, gs, sums));
    }
    for (long i = 0; i < in; i++)
        for (long dy = 0; dy < 3; dy++)
            for (long o = 0; o < out; o++)
                for (long dx = 0; dx < 3; dx++)
                    dw[o * strides[0] + i * strides[1] + (dy * 3 + dx) * strides[2]] =
                        _mm512_reduce_add_ps(sums[((i * 3 + dy) * MOST + o) * 3 + dx]);
}

/* The most channels in or out, and the greatest height or width. */
void convolution_limits(long *limits)
{
    limits[0] = MOST;
    limits[1] = SIDE;
}

#else

void convolution_limits(long *limits) { limits[0] = limits[1] = 0; }

void convolution_forward(long images, long height, long width, long in, long out, int turned, const uint16_t *x,
                         const float *w, const long *strides, uint16_t *y)
{
}

void convolution_weights(long images, long height, long width, long in, long out, const uint16_t *x, const uint16_t *g,
                         const long *strides, float *dw)
{
}

#endif
