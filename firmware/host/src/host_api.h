/* SPDX-License-Identifier: MIT */
/* The application on this machine, driven by a program: tests, `cheep simulate`, main.c.
 *
 * One cheep_host per loaded library or process (the model behind cheep_model.h is one, too). Unlike
 * the core, the host may use the heap. */
#ifndef CHEEP_HOST_API_H
#define CHEEP_HOST_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_app.h"

typedef void (*cheep_host_line)(void *context, const char *line, size_t length);
typedef void (*cheep_host_scores)(void *context, uint64_t window_sample, const int8_t *scores, size_t n_classes);

typedef struct {
    cheep_host_line line;       /* every line that a board would write to its serial port */
    cheep_host_scores scores;   /* may be NULL */
    void *context;
    bool real_time;             /* as on a board: a network that takes longer than its stride leaves windows out */
} cheep_host_output;

/* Boot with a ring of ring_capacity samples (a power of two). memory_bytes: 0 for what is needed (another
 * value is for tests). Returns a cheep_status; a refusal has also been written as an error line. */
cheep_status cheep_host_boot(uint32_t ring_capacity, size_t memory_bytes, const cheep_host_output *output);

/* A microphone's driver, as on a board (cheep_capture.h): once after the boot, then one of the others for each read. */
cheep_status cheep_host_capture(uint32_t factor);
void cheep_host_took(int16_t *pcm, size_t n, uint32_t dropped);
uint32_t cheep_host_failed(void);

/* As the audio interrupt does: into the ring, all n or (counted as lost) none. */
size_t cheep_host_push(const int16_t *pcm, size_t n);

/* As the main loop does. Returns samples consumed. */
size_t cheep_host_poll(size_t max_samples);

/* Whole chunk through ring and application, in pieces that always fit. */
void cheep_host_run(const int16_t *pcm, size_t n);

void cheep_host_finish(void);
void cheep_host_close(void);

/* For tests: the ring's counters start here (they wrap at 2^32), the clock jumps ahead. */
void cheep_host_set_ring_counters(uint32_t start);
void cheep_host_clock_add_us(uint32_t us);

const cheep_app *cheep_host_app(void);

#endif
