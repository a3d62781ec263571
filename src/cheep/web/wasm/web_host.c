/* SPDX-License-Identifier: MIT */
/* The application of every board, in a browser's WebAssembly: samples in, columns, scores and lines out.
 *
 * The page writes samples to cheep_web_pcm(), calls cheep_web_push(n), and reads the three outputs.
 * All memory is static; one instance per module. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cheep_app.h"
#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "hal.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define MAX_SAMPLES 4096u
#define MAX_LINES 16384u

__attribute__((import_module("env"), import_name("now_us"))) extern double now_us(void);

static struct {
    cheep_app app;
    cheep_ring ring;
    int16_t ring_data[2u * MAX_SAMPLES];
    int16_t pcm[MAX_SAMPLES];
    int8_t columns[MAX_SAMPLES * CHEEP_MODEL_MELS / CHEEP_MEL_HOP_SAMPLES + 2u * CHEEP_MODEL_MELS];
    uint32_t n_columns;
    int8_t scores[(MAX_SAMPLES / CHEEP_MEL_HOP_SAMPLES + 2u) * CHEEP_MODEL_CLASSES];
    uint32_t n_scores;
    uint32_t probabilities[CHEEP_MODEL_CLASSES]; /* of the last row, in millionths */
    char lines[MAX_LINES];
    uint32_t line_bytes;
    uint64_t seen_columns;
} web;

static _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];

uint32_t cheep_hal_clock_us(void)
{
    return (uint32_t)(uint64_t)now_us();
}

uint32_t cheep_hal_stack_bytes(void)
{
    return 0;
}

void cheep_hal_alive(void)
{
}

static void write_line(const char *line, size_t n)
{
    if (web.line_bytes + n <= MAX_LINES) {
        memcpy(web.lines + web.line_bytes, line, n);
        web.line_bytes += (uint32_t)n;
    }
}

static void on_event(void *context, const cheep_app *app, const cheep_app_event *event)
{
    char line[CHEEP_LINE_BYTES];
    (void)context;
    write_line(line, cheep_line_event(line, sizeof line, app->spec, event));
}

static void on_stats(void *context, const cheep_app *app, const cheep_app_stats *stats)
{
    char line[CHEEP_LINE_BYTES];
    (void)context;
    write_line(line, cheep_line_stats(line, sizeof line, app->spec, stats, cheep_model_memory_bytes(), 0));
}

static void on_scores(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *scores)
{
    (void)context;
    (void)window_sample;
    const cheep_score_scale *scale = &app->spec->detector->scores;
    int16_t units[CHEEP_MODEL_CLASSES];
    cheep_scores_units(scale, scores, CHEEP_MODEL_CLASSES, units);
    for (uint32_t i = 0; i < CHEEP_MODEL_CLASSES; i++) {
        web.probabilities[i] = cheep_scores_sum_e6(scale, units[i], 1);
    }
    memcpy(web.scores + web.n_scores * CHEEP_MODEL_CLASSES, scores, CHEEP_MODEL_CLASSES);
    web.n_scores++;
}

static void forget_output(void)
{
    web.n_columns = 0;
    web.n_scores = 0;
    web.line_bytes = 0;
}

/* The boot self-check; 0 when the application may listen. A line says what was found. */
EXPORT(cheep_web_boot) int32_t cheep_web_boot(void)
{
    char line[CHEEP_LINE_BYTES];
    const cheep_app_handlers handlers = {NULL, on_event, on_stats, on_scores, NULL, NULL};
    memset(&web, 0, sizeof web);
    cheep_status status = cheep_ring_init(&web.ring, web.ring_data, 2u * MAX_SAMPLES);
    if (status == CHEEP_OK) {
        status = cheep_app_boot(&web.app, &cheep_generated_app, memory, sizeof memory, &web.ring, &handlers);
    }
    if (status == CHEEP_OK) {
        write_line(line, cheep_line_boot(line, sizeof line, &cheep_generated_app, "web", CHEEP_MODEL_CLASSES,
                                         sizeof web.app + sizeof memory, cheep_model_memory_bytes()));
    } else {
        write_line(line, cheep_line_error(line, sizeof line, cheep_stage_name(web.app.failed_stage),
                                          web.app.failure));
    }
    return (int32_t)status;
}

EXPORT(cheep_web_pcm) int16_t *cheep_web_pcm(void) { return web.pcm; }
EXPORT(cheep_web_pcm_capacity) uint32_t cheep_web_pcm_capacity(void) { return MAX_SAMPLES; }
EXPORT(cheep_web_columns) int8_t *cheep_web_columns(void) { return web.columns; }
EXPORT(cheep_web_column_count) uint32_t cheep_web_column_count(void) { return web.n_columns; }
EXPORT(cheep_web_scores) int8_t *cheep_web_scores(void) { return web.scores; }
EXPORT(cheep_web_probabilities) uint32_t *cheep_web_probabilities(void) { return web.probabilities; }
EXPORT(cheep_web_score_count) uint32_t cheep_web_score_count(void) { return web.n_scores; }
EXPORT(cheep_web_lines) char *cheep_web_lines(void) { return web.lines; }
EXPORT(cheep_web_line_bytes) uint32_t cheep_web_line_bytes(void) { return web.line_bytes; }

/* Take the first n samples of cheep_web_pcm(); the outputs hold what they gave. */
EXPORT(cheep_web_push) void cheep_web_push(uint32_t n)
{
    forget_output();
    for (uint32_t done = 0; done < n;) {
        uint32_t piece = n - done < CHEEP_MEL_HOP_SAMPLES ? n - done : CHEEP_MEL_HOP_SAMPLES;
        cheep_ring_push(&web.ring, web.pcm + done, piece);
        while (cheep_app_poll(&web.app, piece) > 0u) {
            if (web.app.frontend.columns != web.seen_columns) { /* at most one: a piece is no longer than a hop */
                web.seen_columns = web.app.frontend.columns;
                memcpy(web.columns + web.n_columns * CHEEP_MODEL_MELS, web.app.quantized, CHEEP_MODEL_MELS);
                web.n_columns++;
            }
        }
        done += piece;
    }
}

/* The recording is over: running events end. */
EXPORT(cheep_web_finish) void cheep_web_finish(void)
{
    forget_output();
    cheep_app_finish(&web.app);
}

/* no_builtin: or the compiler would make each of these call itself. */
#define OWN __attribute__((no_builtin))

OWN void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    uint8_t *a = to;
    const uint8_t *b = from;
    while (n-- > 0u) {
        *a++ = *b++;
    }
    return to;
}

OWN void *memmove(void *to, const void *from, size_t n)
{
    uint8_t *a = to;
    const uint8_t *b = from;
    if (a < b) {
        return memcpy(to, from, n);
    }
    while (n-- > 0u) {
        a[n] = b[n];
    }
    return to;
}

OWN void *memset(void *to, int value, size_t n)
{
    uint8_t *a = to;
    while (n-- > 0u) {
        *a++ = (uint8_t)value;
    }
    return to;
}

OWN int memcmp(const void *a, const void *b, size_t n)
{
    const uint8_t *x = a, *y = b;
    for (; n > 0u; n--, x++, y++) {
        if (*x != *y) {
            return *x < *y ? -1 : 1;
        }
    }
    return 0;
}

OWN size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
    }
    return n;
}
