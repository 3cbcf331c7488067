/* What all kernels share.

A tensor is an array of float32, or of bfloat16 where `half` is 1; images are channels_last, so that the channels of a
pixel lie side by side. Arithmetic is in float32. Nothing is allocated: what a kernel needs is memory of the caller. NaN
and infinity go through as in torch. */

#include <stdint.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* Calls a function for the type of its arrays, which the compiler then knows. */
#define CHOOSE(function, ...)           \
    do {                                \
        if (half)                       \
            function(1, __VA_ARGS__);   \
        else                            \
            function(0, __VA_ARGS__);   \
    } while (0)

/* bfloat16 by rounding to nearest, ties to even. */
ALWAYS uint16_t rounded(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

ALWAYS float get(int half, const void *array, long index)
{
    if (!half)
        return ((const float *)array)[index];
    uint32_t bits = (uint32_t)((const uint16_t *)array)[index] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

ALWAYS void put(int half, void *array, long index, float value)
{
    if (half)
        ((uint16_t *)array)[index] = rounded(value);
    else
        ((float *)array)[index] = value;
}

ALWAYS const void *at(int half, const void *array, long index)
{
    return (const char *)array + index * (half ? 2 : 4);
}

ALWAYS long least(long a, long b) { return a < b ? a : b; }

/* sums = factor * x where it is the first, else sums += factor * x. */
ALWAYS void add_scaled(int half, int first, long length, float factor, const void *restrict x, float *restrict sums)
{
    for (long i = 0; i < length; i++)
        sums[i] = first ? factor * get(half, x, i) : sums[i] + factor * get(half, x, i);
}
