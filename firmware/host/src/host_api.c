/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "host_api.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "hal.h"

static struct {
    cheep_app app;
    cheep_ring ring;
    cheep_capture capture;
    cheep_host_output output;
    int16_t *samples;
    void *memory;
    uint32_t clock_offset_us;
} host;

uint32_t cheep_hal_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u) + host.clock_offset_us;
}

uint32_t cheep_hal_stack_bytes(void)
{
    return 0;
}

void cheep_hal_alive(void)
{
}

static void write_line(const char *line, size_t length)
{
    host.output.line(host.output.context, line, length);
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
    write_line(line, cheep_line_stats(line, sizeof line, app->spec, stats, cheep_model_memory_bytes(),
                                      cheep_hal_stack_bytes()));
}

static void on_microphone(void *context, const cheep_app *app, cheep_microphone state)
{
    char line[CHEEP_LINE_BYTES];
    (void)context;
    write_line(line, cheep_line_microphone(line, sizeof line, app, state));
}

static void on_slow(void *context, const cheep_app *app, const cheep_app_slow *slow)
{
    char line[CHEEP_LINE_BYTES];
    (void)context;
    write_line(line, cheep_line_slow(line, sizeof line, app, slow));
}

static void on_scores(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *scores)
{
    (void)context;
    host.output.scores(host.output.context, window_sample, scores, app->spec->detector->n_classes);
}

cheep_status cheep_host_boot(uint32_t ring_capacity, size_t memory_bytes, const cheep_host_output *output)
{
    char line[CHEEP_LINE_BYTES];
    const cheep_app_spec *spec = &cheep_generated_app;
    size_t given = memory_bytes == 0u ? CHEEP_APP_MEMORY_BYTES : memory_bytes;
    cheep_host_close();
    host.output = *output;
    host.samples = malloc(ring_capacity * sizeof *host.samples);
    host.memory = malloc(given);
    cheep_app_handlers handlers = {.context = NULL,
                                   .event = on_event,
                                   .stats = on_stats,
                                   .scores = output->scores != NULL ? on_scores : NULL,
                                   .microphone = on_microphone,
                                   .slow = output->real_time ? on_slow : NULL};
    cheep_status status = CHEEP_ERROR_MEMORY;
    if (host.samples != NULL && host.memory != NULL) {
        status = cheep_ring_init(&host.ring, host.samples, ring_capacity);
    }
    if (status != CHEEP_OK) {
        write_line(line, cheep_line_error(line, sizeof line, "settings", "the ring's length must be a power of two"));
        return status;
    }
    status = cheep_app_boot(&host.app, spec, host.memory, given, &host.ring, &handlers);
    if (status != CHEEP_OK) {
        write_line(line, cheep_line_error(line, sizeof line, cheep_stage_name(host.app.failed_stage),
                                          host.app.failure));
        return status;
    }
    write_line(line, cheep_line_boot(line, sizeof line, spec, "host", spec->detector->n_classes,
                                     sizeof host.app + CHEEP_APP_MEMORY_BYTES, cheep_model_memory_bytes()));
    return CHEEP_OK;
}

cheep_status cheep_host_capture(uint32_t factor)
{
    cheep_app_watch(&host.app, &host.capture);
    return cheep_capture_init(&host.capture, &host.ring, factor, cheep_generated_app.frontend->sample_rate_hz);
}

void cheep_host_took(int16_t *pcm, size_t n, uint32_t dropped)
{
    cheep_capture_took(&host.capture, pcm, n, dropped);
}

uint32_t cheep_host_failed(void)
{
    return cheep_capture_failed(&host.capture);
}

size_t cheep_host_push(const int16_t *pcm, size_t n)
{
    return cheep_ring_push(&host.ring, pcm, n);
}

size_t cheep_host_poll(size_t max_samples)
{
    return cheep_app_poll(&host.app, max_samples);
}

void cheep_host_run(const int16_t *pcm, size_t n)
{
    while (n > 0u) {
        size_t piece = n < host.ring.capacity / 2u ? n : host.ring.capacity / 2u;
        cheep_ring_push(&host.ring, pcm, piece);
        cheep_app_poll(&host.app, SIZE_MAX);
        pcm += piece;
        n -= piece;
    }
}

void cheep_host_finish(void)
{
    cheep_app_finish(&host.app);
}

void cheep_host_close(void)
{
    free(host.samples);
    free(host.memory);
    memset(&host, 0, sizeof host);
}

void cheep_host_set_ring_counters(uint32_t start)
{
    host.ring.head = start;
    host.ring.tail = start;
}

void cheep_host_clock_add_us(uint32_t us)
{
    host.clock_offset_us += us;
}

const cheep_app *cheep_host_app(void)
{
    return &host.app;
}
