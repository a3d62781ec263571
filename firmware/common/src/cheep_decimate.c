/* SPDX-License-Identifier: MIT */
#include "cheep_decimate.h"

#include <string.h>

/* First halves of symmetrical low-passes, Q15, sum 32768: firwin(48 or 72, 0.494 of the new rate,
 * Kaiser 6.2). The sums of magnitudes stay below 2^16, so 32-bit accumulators cannot overflow. */
static const int16_t half_by_2[24] = {-5,  -4,  19,   12,   -44, -28, 85,   57,   -149, -105,  242,  181,
                                      -374, -300, 560, 485, -831, -787, 1263, 1340, -2109, -2713, 5002, 14587};
static const int16_t half_by_3[36] = {-3,  -5,   -1,  11,  16,   3,    -24, -37, -8,   47,    71,    18,
                                      -81, -125, -37, 129, 205,  69,   -196, -324, -120, 288, 497,   205,
                                      -417, -764, -347, 617, 1218, 619, -994, -2211, -1333, 2173, 6918, 10307};

static int16_t saturate(int32_t x)
{
    return (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x);
}

cheep_status cheep_decimate_init(cheep_decimator *d, unsigned factor)
{
    if (factor < 1u || factor > 3u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    memset(d, 0, sizeof *d);
    d->factor = (uint8_t)factor;
    d->taps = (uint8_t)(24u * factor);
    return CHEEP_OK;
}

static int16_t filter(const cheep_decimator *d)
{
    const int16_t *half = d->factor == 2u ? half_by_2 : half_by_3;
    const int16_t *oldest = d->history + d->next;
    const int16_t *newest = oldest + d->taps - 1;
    int32_t sum = 1 << 14;
    for (unsigned i = 0; i < d->taps / 2u; i++) {
        sum += half[i] * (oldest[i] + *(newest - i));
    }
    return saturate(sum >> 15);
}

size_t cheep_decimate(cheep_decimator *d, const int16_t *in, size_t n, int16_t *out)
{
    size_t made = 0;
    if (d->factor == 1u) {
        memmove(out, in, n * sizeof *in);
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        int16_t x = in[i];
        d->history[d->next] = x;
        d->history[d->next + d->taps] = x;
        d->next = (uint8_t)(d->next + 1u == d->taps ? 0u : d->next + 1u);
        d->phase++;
        if (d->phase == d->factor) {
            d->phase = 0;
            out[made++] = filter(d);
        }
    }
    return made;
}

void cheep_decimate8_init(cheep_decimator8 *d, unsigned gain_bits)
{
    memset(d, 0, sizeof *d);
    d->shift = (uint8_t)(6u - (gain_bits > 4u ? 4u : gain_bits));
}

size_t cheep_decimate8(cheep_decimator8 *d, const int16_t *in, size_t n, int16_t *out)
{
    size_t made = 0;
    for (size_t i = 0; i < n; i++) {
        /* weights 1..8 over the block before, 7..0 over this one: together 64 */
        d->sum_now += in[i];
        d->slope_now += in[i] * d->at;
        if (++d->at == 8u) {
            int32_t total = d->slope + d->sum + 7 * d->sum_now - d->slope_now;
            out[made++] = saturate((total + (1 << (d->shift - 1u))) >> d->shift);
            d->sum = d->sum_now;
            d->slope = d->slope_now;
            d->sum_now = 0;
            d->slope_now = 0;
            d->at = 0;
        }
    }
    return made;
}

void cheep_dc_remove(cheep_dc *dc, int16_t *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t x = pcm[i];
        dc->mean_q12 += ((x * 4096) - dc->mean_q12) / 1024;
        pcm[i] = saturate(x - dc->mean_q12 / 4096);
    }
}

void cheep_i2s24_to_pcm(cheep_i2s24 *state, const int32_t *in, size_t n, int16_t *out)
{
    unsigned shift = 8u - (state->gain_bits > 8u ? 8u : state->gain_bits);
    int32_t half = shift > 0u ? 1 << (shift - 1u) : 0;
    for (size_t i = 0; i < n; i++) {
        int32_t x = in[i] / 256; /* what lies below the 24 bits is undefined on some microphones */
        state->mean_q8 += (int32_t)(((int64_t)x * 256 - state->mean_q8) / 1024);
        out[i] = saturate((x - state->mean_q8 / 256 + half) >> shift);
    }
}
