/* SPDX-License-Identifier: MIT */
#include "cheep_levels.h"

#include "cheep_math.h"

#define STEP 4u /* samples from one that is looked at to the next */
#define FULL_SCALE_DB 90.3089987f /* 20 log10(32768) */
#define DB_PER_OCTAVE 3.01029996f /* of the mean square */

void cheep_levels_add(cheep_levels *levels, uint32_t rate_hz, const int16_t *pcm, size_t n)
{
    uint64_t squares = 0;
    int32_t sum = 0;
    uint32_t clipped = 0;
    uint32_t zeros = 0;
    int32_t bits = 0; /* of all magnitudes: at most 1 where every sample is -2..1 */
    uint32_t seen = 0;
    for (size_t i = levels->phase; i < n; i += STEP) {
        const int32_t x = pcm[i];
        seen++;
        const int32_t magnitude = x ^ (x >> 15);
        squares += (uint32_t)(x * x);
        sum += x; /* a chunk has at most 65,536 of them */
        clipped += magnitude == 32767 ? 1u : 0u;
        zeros += x == 0 ? 1u : 0u;
        bits |= magnitude;
    }
    levels->squares += squares;
    levels->sum += sum;
    levels->samples += seen;
    levels->phase = (uint8_t)((levels->phase + 1u) % STEP); /* a tone at a fraction of the rate is met at every phase */
    levels->clipped += clipped;
    levels->zeros += zeros;
    if (seen == 0u) {
        return;
    }
    if (bits <= 1) {
        levels->still += levels->still < (1u << 30) ? (uint32_t)n : 0u;
        levels->lively = 0;
        levels->silent = levels->silent || levels->still >= CHEEP_SILENT_SECONDS * rate_hz;
    } else {
        levels->lively += levels->lively < (1u << 30) ? (uint32_t)n : 0u;
        levels->still = 0;
        levels->silent = levels->silent && levels->lively < CHEEP_HEARD_SECONDS * rate_hz;
    }
}

cheep_levels_summary cheep_levels_take(cheep_levels *levels)
{
    cheep_levels_summary summary = {.level_e1 = -1000, .dc = 0, .clipped_e4 = 0, .zeros_e4 = 0};
    const uint32_t n = levels->samples;
    if (n > 0u) {
        if (levels->squares > 0u) {
            const float mean = (float)levels->squares / (float)n;
            const float tenths = 10.0f * (DB_PER_OCTAVE * cheep_log2(mean) - FULL_SCALE_DB);
            summary.level_e1 = (int32_t)(tenths - 0.5f); /* never above zero but for rounding */
        }
        summary.dc = (int32_t)(levels->sum / (int64_t)n);
        summary.clipped_e4 = (uint32_t)((uint64_t)levels->clipped * 10000u / n);
        summary.zeros_e4 = (uint32_t)((uint64_t)levels->zeros * 10000u / n);
    }
    levels->squares = 0;
    levels->sum = 0;
    levels->samples = 0;
    levels->clipped = 0;
    levels->zeros = 0;
    return summary;
}
