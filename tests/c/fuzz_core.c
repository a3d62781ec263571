/* SPDX-License-Identifier: MIT */
/* libFuzzer: any PCM, any chunking, any settings block through front end, quantizer, columns and detector.
 *
 * The bytes choose settings (valid ones, and blocks with members overwritten), the detector's numbers, chunk sizes
 * and samples. What init accepts must run without a sanitizer's complaint, give the same columns in one piece and in
 * chunks, and consume every sample.
 */
#include <stdlib.h>

#include "cheep_columns.h"
#include "cheep_detector.h"
#include "core_settings.h"

static core_settings settings;
static _Alignas(8) unsigned char memory[2][64 * 1024];
static float columns[2][512 * CHEEP_MAX_MELS];

typedef struct {
    const uint8_t *data;
    size_t left;
} source;

static uint32_t take(source *from, uint32_t bytes)
{
    uint32_t value = 0;

    for (; bytes > 0; bytes--) {
        value = value << 8;
        if (from->left > 0) {
            value |= *from->data++;
            from->left--;
        }
    }
    return value;
}

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check(int condition)
{
    if (!condition) {
        abort();
    }
}

static void choose_settings(source *from)
{
    const uint16_t fft = (uint16_t)(64u << take(from, 1) % 6u);
    const uint16_t frame = take(from, 1) % 2u ? fft : (uint16_t)(16u + take(from, 2) % (fft - 15u));
    const uint16_t hop = (uint16_t)(1u + take(from, 2) % 5000u);
    const uint16_t n_mels = (uint16_t)(1u + take(from, 1) % CHEEP_MAX_MELS);
    const uint16_t width = (uint16_t)(1u + take(from, 1) % 31u);

    fill_settings(&settings, fft, frame, hop, n_mels, width);
    settings.spec.spectrum = (uint8_t)(take(from, 1) % 2u);
    settings.spec.compression = (uint8_t)(take(from, 1) % 2u);
    if (take(from, 1) % 3u == 0) { /* overwrite bytes of the numbers in the block, and of the tables */
        for (uint32_t i = take(from, 1) % 6u; i > 0; i--) {
            const uint32_t at = take(from, 1);
            const uint8_t value = (uint8_t)take(from, 1);
            const size_t first = offsetof(cheep_frontend_spec, window);
            const size_t last = offsetof(cheep_frontend_spec, log_floor);
            unsigned char *bytes = (unsigned char *)&settings.spec;
            if (at < first) {
                bytes[at] = value;
            } else if (at - first < sizeof(cheep_frontend_spec) - last) {
                bytes[at - first + last] = value;
            } else if (at < 160) {
                ((unsigned char *)settings.band_start)[take(from, 1)] = value;
            } else if (at < 200) {
                ((unsigned char *)settings.band_count)[take(from, 1)] = value;
            } else {
                ((unsigned char *)settings.band_weight)[take(from, 2) % sizeof settings.band_weight] = value;
            }
        }
    }
}

static void run_detector(source *from, const int8_t *scores, size_t n)
{
    static cheep_detector detector;
    cheep_class_threshold thresholds[CHEEP_MAX_CLASSES];
    cheep_event events[CHEEP_MAX_CLASSES];
    cheep_detector_spec spec = {
        .n_classes = (uint16_t)(take(from, 1) % 70u),
        .smoothing = (uint16_t)(take(from, 1) % 36u),
        .min_windows = (uint16_t)(take(from, 1) % 5u),
        .hold_off = (uint16_t)take(from, 2),
        .threshold = thresholds,
    };

    for (uint32_t c = 0; c < CHEEP_MAX_CLASSES; c++) {
        thresholds[c].on_sum = c % 7u == 6u ? INT32_MAX : (int32_t)(int8_t)take(from, 1) * spec.smoothing;
        thresholds[c].off_sum = thresholds[c].on_sum - 1 + (c % 7u == 6u ? 0 : 2) - (int32_t)(take(from, 1) % 40u);
    }
    if (spec.n_classes > CHEEP_MAX_CLASSES) {
        check(cheep_detector_init(&detector, &spec) == CHEEP_ERROR_ARGUMENT);
        return;
    }
    if (cheep_detector_init(&detector, &spec) != CHEEP_OK) {
        return;
    }
    for (size_t i = 0; i + spec.n_classes <= n; i += spec.n_classes) {
        check(cheep_detector_push(&detector, scores + i, events) <= spec.n_classes);
    }
    check(cheep_detector_flush(&detector, events) <= spec.n_classes);
    check(cheep_detector_flush(&detector, events) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int16_t pcm[16384];
    static int8_t quantized[512 * CHEEP_MAX_MELS];
    source from = {data, size};
    cheep_frontend fe[2];

    choose_settings(&from);
    const size_t bytes = cheep_frontend_memory_bytes(&settings.spec);
    check(bytes <= sizeof memory[0]);
    for (int i = 0; i < 2; i++) {
        if (cheep_frontend_init(&fe[i], &settings.spec, memory[i], bytes) != CHEEP_OK) {
            return 0;
        }
    }
    check(cheep_frontend_init(&fe[1], &settings.spec, memory[1], bytes - 1u) == CHEEP_ERROR_MEMORY);
    const uint32_t chunk_seed = take(&from, 2);
    const float inverse_scale = float_of(take(&from, 4));
    const int32_t zero_point = (int8_t)take(&from, 1);
    source detector_numbers = from;
    size_t n = from.left / 2u;

    n = n < 64u ? n : n * (1u + chunk_seed % 8u); /* repeat, so that long frames fill */
    n = n < sizeof pcm / sizeof *pcm ? n : sizeof pcm / sizeof *pcm;
    for (size_t i = 0; i < n; i++) {
        if (from.left < 2u) {
            from = detector_numbers;
        }
        pcm[i] = (int16_t)take(&from, 2);
    }
    const size_t n_mels = settings.spec.n_mels;
    const size_t room = 512u * CHEEP_MAX_MELS / n_mels;
    size_t made[2] = {0, 0};
    size_t consumed;

    made[0] = cheep_frontend_run(&fe[0], pcm, n, columns[0], room, &consumed);
    check(consumed == n || made[0] == room);
    uint32_t random = chunk_seed;
    for (size_t at = 0; at < n && made[1] < room;) {
        random = random * 1664525u + 1013904223u;
        size_t chunk = 1u + (random >> 8) % (1u + chunk_seed % 4096u);
        chunk = chunk < n - at ? chunk : n - at;
        for (size_t used = 0; used < chunk && made[1] < room;) {
            bool ready;
            float *column = columns[1] + made[1] * n_mels;
            const size_t taken = cheep_frontend_push(&fe[1], pcm + at + used, chunk - used, column, &ready);
            check(taken > 0);
            used += taken;
            made[1] += ready ? 1u : 0u;
        }
        at += chunk;
    }
    check(made[0] == made[1]);
    check(memcmp(columns[0], columns[1], made[0] * n_mels * sizeof(float)) == 0);
    cheep_quantize(columns[0], made[0] * n_mels, inverse_scale, zero_point, quantized);

    static int8_t ring[64 * CHEEP_MAX_MELS];
    static int8_t window[64 * CHEEP_MAX_MELS];
    cheep_columns held;
    cheep_columns_init(&held, ring, (uint16_t)(1u + chunk_seed % 64u), (uint16_t)n_mels);
    for (size_t i = 0; i < made[0]; i++) {
        cheep_columns_push(&held, quantized + i * n_mels);
        if (cheep_columns_full(&held)) {
            cheep_columns_window(&held, window);
            const size_t kept = (size_t)held.window_frames * n_mels;
            check(memcmp(window, quantized + (i + 1u) * n_mels - kept, kept) == 0);
        }
    }
    run_detector(&detector_numbers, quantized, made[0] * n_mels);
    return 0;
}
