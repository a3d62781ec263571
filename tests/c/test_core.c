/* SPDX-License-Identifier: MIT */
/* Front end, quantizer, columns and detector in C, run by pytest under ASan and UBSan. Exit status 0: all passed. */
#include <stdio.h>
#include <stdlib.h>

#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "cheep_columns.h"
#include "cheep_detector.h"
#include "core_settings.h"

static core_settings settings;
static _Alignas(8) unsigned char memory[2][64 * 1024];
static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

static int16_t sample(uint64_t i)
{
    uint32_t x = (uint32_t)i * 2654435761u ^ (uint32_t)(i >> 32) * 40503u;

    x ^= x >> 15;
    x *= 2246822519u;
    x ^= x >> 13;
    return (int16_t)((int32_t)(x & 0x3fffu) - 0x2000);
}

static void test_chunks_and_reset(uint16_t fft, uint16_t frame, uint16_t hop, uint8_t compression)
{
    enum { SAMPLES = 9000, MELS = 24 };
    static int16_t pcm[SAMPLES];
    static float whole[SAMPLES][MELS];
    cheep_frontend a, b;
    size_t consumed;

    fill_settings(&settings, fft, frame, hop, MELS, 1);
    settings.spec.compression = compression;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        pcm[i] = sample(i);
    }
    const size_t bytes = cheep_frontend_memory_bytes(&settings.spec);
    CHECK(cheep_frontend_init(&a, &settings.spec, memory[0], bytes) == CHEEP_OK);
    CHECK(cheep_frontend_init(&b, &settings.spec, memory[1], bytes) == CHEEP_OK);
    CHECK(cheep_frontend_init(&b, &settings.spec, memory[1], bytes - 1) == CHEEP_ERROR_MEMORY);
    const size_t n = cheep_frontend_run(&a, pcm, SAMPLES, whole[0], SAMPLES, &consumed);
    CHECK(consumed == SAMPLES);
    CHECK(n == 1u + (SAMPLES - (size_t)frame) / hop);
    CHECK(a.columns == n);
    for (uint32_t chunk = 1; chunk <= 4096; chunk = chunk * 3 + 1) {
        size_t made = 0;
        cheep_frontend_reset(&b);
        for (size_t at = 0; at < SAMPLES;) {
            const size_t stop = at + chunk < SAMPLES ? at + chunk : SAMPLES;
            while (at < stop) {
                float column[MELS];
                bool ready;
                at += cheep_frontend_push(&b, pcm + at, stop - at, column, &ready);
                if (ready) {
                    CHECK(made < n && memcmp(column, whole[made], sizeof column) == 0);
                    made++;
                }
            }
        }
        CHECK(made == n);
    }
}

static void test_refused_settings(void)
{
    cheep_frontend fe;
#define REFUSED(change) \
    do { \
        fill_settings(&settings, 256, 256, 200, 40, 1); \
        CHECK(cheep_frontend_init(&fe, &settings.spec, memory[0], sizeof memory[0]) == CHEEP_OK); \
        change; \
        CHECK(cheep_frontend_init(&fe, &settings.spec, memory[0], sizeof memory[0]) == CHEEP_ERROR_ARGUMENT); \
    } while (0)
    REFUSED(settings.spec.fft_size = 300);
    REFUSED(settings.spec.fft_size = 32);
    REFUSED(settings.spec.fft_size = 4096);
    REFUSED(settings.spec.fft_size = 512); /* the twiddles are those of 256 points */
    REFUSED(settings.spec.frame_samples = 15);
    REFUSED(settings.spec.frame_samples = 257);
    REFUSED(settings.spec.hop_samples = 0);
    REFUSED(settings.spec.n_mels = 0);
    REFUSED(settings.spec.n_mels = CHEEP_MAX_MELS + 1);
    REFUSED(settings.spec.spectrum = 2);
    REFUSED(settings.spec.compression = 2);
    REFUSED(settings.spec.weight_count++);
    REFUSED(settings.band_count[3]++);
    REFUSED(settings.band_start[39] = 129);
    REFUSED(settings.spec.window = NULL);
    REFUSED(settings.spec.twiddle = NULL);
    REFUSED(settings.spec.log_floor = 0.0f);
    REFUSED(settings.spec.log_floor = NAN);
    REFUSED(settings.spec.log_offset = -0.001f);
    REFUSED(settings.spec.log_offset = NAN);
    REFUSED(settings.spec.compression = CHEEP_COMPRESSION_PCEN; settings.spec.pcen_smoothing = 1.5f);
    REFUSED(settings.spec.compression = CHEEP_COMPRESSION_PCEN; settings.spec.pcen_eps = 0.0f);
    REFUSED(settings.spec.compression = CHEEP_COMPRESSION_PCEN; settings.spec.pcen_gain = NAN);
#undef REFUSED
    CHECK(cheep_frontend_init(&fe, NULL, memory[0], sizeof memory[0]) == CHEEP_ERROR_ARGUMENT);
    CHECK(cheep_frontend_memory_bytes(NULL) == 0);
}

/* An unchained bank (bands in no order) takes the general way through the bands: the same sums as the chained one. */
static void test_unchained_bank(void)
{
    cheep_frontend fe;
    float chained[40], general[40];
    int16_t pcm[256];
    bool ready;

    for (uint32_t i = 0; i < 256; i++) {
        pcm[i] = sample(i);
    }
    fill_settings(&settings, 256, 256, 200, 40, 1);
    CHECK(cheep_frontend_init(&fe, &settings.spec, memory[0], sizeof memory[0]) == CHEEP_OK && fe.chained);
    cheep_frontend_push(&fe, pcm, 256, chained, &ready);
    CHECK(ready);
    fe.chained = false;
    cheep_frontend_reset(&fe);
    cheep_frontend_push(&fe, pcm, 256, general, &ready);
    CHECK(ready && memcmp(chained, general, sizeof general) == 0);
    settings.band_start[5] = 90;
    CHECK(cheep_frontend_init(&fe, &settings.spec, memory[0], sizeof memory[0]) == CHEEP_OK && !fe.chained);
    cheep_frontend_push(&fe, pcm, 256, general, &ready);
    CHECK(ready && memcmp(chained, general, 5 * sizeof(float)) == 0 && chained[5] != general[5]);
}

/* Sub-normal numbers flushed to zero, as some FPUs do: the same bits, on faint and on sparse signals. */
static void test_flushing_changes_nothing(void)
{
#ifdef __SSE__
    enum { SAMPLES = 4000, MELS = 40 };
    static float kept[SAMPLES / 50][MELS], flushed[SAMPLES / 50][MELS];
    static int16_t pcm[SAMPLES];
    cheep_frontend fe;
    size_t consumed;

    for (uint32_t kind = 0; kind < 6; kind++) {
        for (uint32_t i = 0; i < SAMPLES; i++) {
            const int16_t full = (int16_t)(i / (kind + 4u) % 2u ? 32767 : -32768);
            const int16_t faint = (int16_t)(sample(i) % 2);
            pcm[i] = kind == 0 ? 0 : kind == 1 ? (int16_t)(i % 700 == 0) : kind == 2 ? faint : kind == 3 ? sample(i) : full;
        }
        for (uint8_t mode = 0; mode < 4; mode++) {
            fill_settings(&settings, 256, 256, 100, MELS, 1);
            settings.spec.spectrum = mode & 1u;
            settings.spec.compression = mode >> 1;
            CHECK(cheep_frontend_init(&fe, &settings.spec, memory[0], sizeof memory[0]) == CHEEP_OK);
            const size_t n = cheep_frontend_run(&fe, pcm, SAMPLES, kept[0], SAMPLES / 50, &consumed);
            const unsigned control = _mm_getcsr();
            _mm_setcsr(control | 0x8040u); /* flush results and operands */
            cheep_frontend_reset(&fe);
            CHECK(cheep_frontend_run(&fe, pcm, SAMPLES, flushed[0], SAMPLES / 50, &consumed) == n && n > 30);
            _mm_setcsr(control);
            CHECK(memcmp(kept, flushed, n * sizeof kept[0]) == 0);
        }
    }
#endif
}

static void test_quantize(void)
{
    const float x[] = {0.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.4f, 126.6f, 1e9f, -1e9f, NAN, -NAN, INFINITY,
                       -INFINITY, -127.6f, -128.4f, 3e38f};
    const int8_t expected[] = {0, 0, 2, 2, 0, -2, 126, 127, 127, -128, -128, -128, 127, -128, -128, -128, 127};
    int8_t q[sizeof expected];

    cheep_quantize(x, sizeof expected, 1.0f, 0, q);
    for (size_t i = 0; i < sizeof expected; i++) {
        CHECK(q[i] == expected[i]);
    }
}

/* 24 hours at 8 kHz in chunks of 1..4096 samples. The front end counts every column and none twice; bursts of scores
 * placed by column index make one event each, at the windows where they are. */
static void test_a_day(uint16_t frame, uint16_t hop, uint16_t mels)
{
    enum { STRIDE_COLUMNS = 2, BURST_EVERY = 300 };
    const uint64_t total = 24ull * 3600ull * 8000ull;
    const cheep_class_threshold threshold = {3 * 50, 3 * 20};
    const cheep_detector_spec spec = {1, 3, 2, 4, &threshold, {CHEEP_SCORES_PROBABILITY, 0.0f, 0}};
    static cheep_detector detector;
    static int16_t pcm[4096];
    cheep_frontend fe;
    cheep_event events[1];
    uint64_t at = 0, columns = 0, windows = 0, starts = 0, ends = 0;
    uint32_t random = 1;

    fill_settings(&settings, frame, frame, hop, mels, 1);
    CHECK(cheep_frontend_init(&fe, &settings.spec, memory[0], sizeof memory[0]) == CHEEP_OK);
    CHECK(cheep_detector_init(&detector, &spec) == CHEEP_OK);
    while (at < total) {
        random = random * 1664525u + 1013904223u;
        uint64_t chunk = 1u + (random >> 8) % 4096u;
        chunk = chunk < total - at ? chunk : total - at;
        for (uint64_t used = 0; used < chunk;) {
            float column[CHEEP_MAX_MELS];
            bool ready;
            const uint64_t position = at + used;
            const size_t left = (size_t)(chunk - used);
            for (size_t i = 0; i < left; i++) { /* only the samples of frames matter */
                const uint64_t in_hop = (position + i) % hop;
                pcm[i] = sample(position + i);
                if (in_hop >= frame) {
                    const uint64_t skip = hop - in_hop - 1u;
                    i += (size_t)(skip < left - i - 1u ? skip : left - i - 1u);
                }
            }
            used += cheep_frontend_push(&fe, pcm, left, column, &ready);
            if (!ready) {
                continue;
            }
            columns++;
            CHECK(at + used == (columns - 1) * hop + frame); /* no drift */
            if (columns % STRIDE_COLUMNS == 0) {
                const int8_t score = windows % BURST_EVERY >= 100 && windows % BURST_EVERY < 110 ? 100 : -100;
                const uint64_t first = windows / BURST_EVERY * BURST_EVERY;
                if (cheep_detector_push(&detector, &score, events) == 1) {
                    /* mean of three: on from the burst's 3rd window, off at the 2nd without */
                    CHECK(events[0].first_window == first + 102);
                    CHECK(events[0].ended == (windows != first + 103));
                    CHECK(!events[0].ended || (windows == first + 111 && events[0].last_window == first + 110));
                    starts += events[0].ended ? 0u : 1u;
                    ends += events[0].ended ? 1u : 0u;
                }
                windows++;
            }
        }
        at += chunk;
    }
    CHECK(columns == 1 + (total - frame) / hop);
    CHECK(fe.columns == columns);
    CHECK(detector.windows == windows && windows == columns / STRIDE_COLUMNS);
    CHECK(starts == (windows + BURST_EVERY - 104) / BURST_EVERY);
    CHECK(ends == (windows + BURST_EVERY - 112) / BURST_EVERY);
    CHECK(cheep_detector_flush(&detector, events) == 0);
}

/* "day": the default settings for a whole day, every column; without it, one column a second. */
int main(int count, char **words)
{
    if (count > 1 && strcmp(words[1], "day") == 0) {
        test_a_day(256, 200, 40);
        printf("%d failures\n", failures);
        return failures == 0 ? 0 : 1;
    }
    for (uint8_t compression = 0; compression < 2; compression++) {
        test_chunks_and_reset(256, 256, 200, compression);
        test_chunks_and_reset(256, 200, 80, compression);
        test_chunks_and_reset(64, 64, 1, compression);
        test_chunks_and_reset(512, 400, 3, compression);
        test_chunks_and_reset(1024, 1000, 1500, compression);
        test_chunks_and_reset(2048, 2048, 2048, compression);
    }
    test_refused_settings();
    test_unchained_bank();
    test_flushing_changes_nothing();
    test_quantize();
    test_a_day(64, 8000, 2);
    printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
