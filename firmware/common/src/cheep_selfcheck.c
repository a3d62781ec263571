/* SPDX-License-Identifier: MIT */
#include "cheep_selfcheck.h"

#include <string.h>

#include "cheep_crc32.h"
#include "cheep_math.h"

static uint8_t *put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4u; i++) {
        *at++ = (uint8_t)(value >> (8u * i));
    }
    return at;
}

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
                                      void *memory, size_t memory_bytes, uint32_t *columns_crc, uint32_t *int8_crc)
{
    cheep_frontend frontend;
    float column[CHEEP_MAX_MELS];
    int8_t quantized[CHEEP_MAX_MELS];
    int16_t pcm[64];
    uint32_t state = 0;
    uint32_t columns = 0;
    *columns_crc = 0;
    *int8_crc = 0;
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
                *int8_crc = cheep_crc32(*int8_crc, quantized, spec->n_mels);
                for (size_t i = 0; i < spec->n_mels; i++) {
                    uint8_t bytes[4];
                    (void)put32(bytes, (uint32_t)cheep_bits_of(column[i]));
                    *columns_crc = cheep_crc32(*columns_crc, bytes, sizeof bytes);
                }
                columns++;
            }
        }
    }
    cheep_frontend_reset(&frontend);
    return CHEEP_OK;
}

static uint32_t crc_of_events(uint32_t crc, const cheep_event *events, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        uint8_t bytes[14] = {(uint8_t)events[i].label, events[i].ended};
        uint8_t *at = put32(bytes + 2, (uint32_t)events[i].first_window);
        at = put32(at, (uint32_t)events[i].last_window);
        (void)put32(at, (uint32_t)events[i].peak_sum);
        crc = cheep_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

uint32_t cheep_selfcheck_detector(cheep_detector *detector, cheep_event *events)
{
    const cheep_detector_spec *spec = detector->spec;
    int8_t scores[CHEEP_MAX_CLASSES];
    uint32_t crc = 0;
    for (uint16_t c = 0; c < spec->n_classes; c++) {
        for (uint32_t row = 0; row < (uint32_t)spec->smoothing + spec->min_windows + 1u; row++) {
            memset(scores, -128, sizeof scores);
            scores[c] = 127;
            crc = crc_of_events(crc, events, cheep_detector_push(detector, scores, events));
        }
    }
    return crc_of_events(crc, events, cheep_detector_flush(detector, events));
}
