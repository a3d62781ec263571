/* SPDX-License-Identifier: MIT */
#include "cheep_selfcheck.h"

#include "cheep_crc32.h"

void cheep_selfcheck_pcm(uint32_t *state, int16_t *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t t = (*state)++;
        uint32_t hash = (t ^ (t >> 7)) * 2654435761u;
        hash = (hash ^ (hash >> 15)) * 2246822519u;
        hash ^= hash >> 13;
        int32_t noise = (int32_t)(hash & 0xFFFFu) - 32768;
        uint32_t phase = ((t * t) / 64u + t * 37u) & 1023u; /* a triangle wave whose pitch rises */
        int32_t tone = phase < 512u ? (int32_t)phase * 64 - 16384 : 49152 - (int32_t)phase * 64;
        /* 256 samples each at full strength, 1/16, 1/256, silence but for one bit */
        int32_t divisor = 2 << (4u * ((t >> 8) & 3u));
        pcm[i] = (int16_t)((noise / 2 + tone) / divisor);
    }
}

cheep_status cheep_selfcheck_frontend(const cheep_frontend_spec *spec, float inverse_scale, int32_t zero_point,
                                      void *memory, size_t memory_bytes, uint32_t *crc)
{
    cheep_frontend frontend;
    float column[CHEEP_MAX_MELS];
    int8_t quantized[CHEEP_MAX_MELS];
    int16_t pcm[64];
    uint32_t state = 0;
    uint32_t columns = 0;
    *crc = 0;
    cheep_status status = cheep_frontend_init(&frontend, spec, memory, memory_bytes);
    if (status != CHEEP_OK) {
        return status;
    }
    while (columns < CHEEP_SELFCHECK_COLUMNS) {
        size_t used = 0;
        cheep_selfcheck_pcm(&state, pcm, sizeof pcm / sizeof pcm[0]);
        while (used < sizeof pcm / sizeof pcm[0] && columns < CHEEP_SELFCHECK_COLUMNS) {
            bool ready = false;
            used += cheep_frontend_push(&frontend, pcm + used, sizeof pcm / sizeof pcm[0] - used, column, &ready);
            if (ready) {
                cheep_quantize(column, spec->n_mels, inverse_scale, zero_point, quantized);
                *crc = cheep_crc32(*crc, quantized, spec->n_mels);
                columns++;
            }
        }
    }
    cheep_frontend_reset(&frontend);
    return CHEEP_OK;
}
