/* Average pooling over windows that do not overlap. */

#include "kernels.h"

/* y = means of x, `lines * side` rows of `across * side` pixels, over windows of side x side; `sums` holds one row. */
ALWAYS void average(int half, long lines, long across, long channels, long side, const void *x, void *y, float *sums)
{
    long length = across * side * channels;
    float share = 1.0f / (float)(side * side);
    for (long line = 0; line < lines; line++) {
        for (long row = 0; row < side; row++) {
            const void *xs = at(half, x, (line * side + row) * length);
            if (row == 0)
                add_scaled(half, 1, length, share, xs, sums);
            else
                add_scaled(half, 0, length, share, xs, sums);
        }
        for (long window = 0; window < across; window++) {
            const float *first = sums + window * side * channels;
            for (long c = 0; c < channels; c++) {
                float sum = first[c];
                for (long column = 1; column < side; column++)
                    sum += first[column * channels + c];
                put(half, y, (line * across + window) * channels + c, sum);
            }
        }
    }
}

void pool_forward(int half, long lines, long across, long channels, long side, const void *x, void *y, float *sums)
{
    CHOOSE(average, lines, across, channels, side, x, y, sums);
}

/* dx = gradient of that x from the gradient g of y: one row of windows is written once, then copied. */
ALWAYS void share_out(int half, long lines, long across, long channels, long side, const void *g, void *dx)
{
    long length = across * side * channels, bytes = half ? 2 : 4;
    float share = 1.0f / (float)(side * side);
    for (long line = 0; line < lines; line++) {
        char *first = (char *)at(half, dx, line * side * length);
        for (long window = 0; window < across; window++) {
            char *pixel = first + window * side * channels * bytes;
            for (long c = 0; c < channels; c++)
                put(half, pixel, c, share * get(half, g, (line * across + window) * channels + c));
            for (long column = 1; column < side; column++)
                memcpy(pixel + column * channels * bytes, pixel, channels * bytes);
        }
        for (long row = 1; row < side; row++)
            memcpy(first + row * length * bytes, first, length * bytes);
    }
}

void pool_backward(int half, long lines, long across, long channels, long side, const void *g, void *dx)
{
    CHOOSE(share_out, lines, across, channels, side, g, dx);
}
