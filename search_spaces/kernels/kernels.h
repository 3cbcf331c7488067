/* What all kernels share. */

#include <stdint.h>
#include <string.h>

#define ALWAYS static inline __attribute__((always_inline))

/* bfloat16 by rounding to nearest, ties to even. */
ALWAYS uint16_t rounded(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value != value ? 0x7fc0 : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
