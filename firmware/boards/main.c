/* SPDX-License-Identifier: MIT */
/* Cheep on a plain board: an interrupt brings samples into the ring, the main loop does the rest, lines of JSON go to the
 * serial line (docs/firmware.md). What a board adds is in board.h. */
#include "board.h"
#include "cheep_app.h"
#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "hal.h"

/* Microphones want at least 16 kHz or so: capture a multiple of the model's rate and decimate. */
#define FACTOR (CHEEP_MEL_SAMPLE_RATE_HZ >= 16000 ? 1u : CHEEP_MEL_SAMPLE_RATE_HZ >= 8000 ? 2u : 3u)
#ifndef CHEEP_RING_SAMPLES
#define CHEEP_RING_SAMPLES 8192 /* a power of two: 1 s at 8 kHz */
#endif
#define POLL_SAMPLES (4 * CHEEP_MEL_HOP_SAMPLES)

static cheep_app app;
static cheep_ring ring;
static cheep_capture capture;
static int16_t samples[CHEEP_RING_SAMPLES];
static _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];
static char line[CHEEP_LINE_BYTES];

void board_samples(int16_t *pcm, size_t n, uint32_t dropped)
{
    static cheep_dc dc;
    cheep_dc_remove(&dc, pcm, n);
    capture.offset = dc.mean_q12 / 4096;
    cheep_capture_took(&capture, pcm, n, dropped);
}

void cheep_hal_alive(void)
{
    board_feed();
}

static void on_event(void *context, const cheep_app *from, const cheep_app_event *event)
{
    (void)context;
    board_write(line, cheep_line_event(line, sizeof line, from->spec, event));
}

static void on_stats(void *context, const cheep_app *from, const cheep_app_stats *stats)
{
    (void)context;
    board_write(line, cheep_line_stats(line, sizeof line, from->spec, stats, cheep_model_memory_bytes(),
                                       cheep_hal_stack_bytes()));
}

static void on_microphone(void *context, const cheep_app *from, cheep_microphone state)
{
    (void)context;
    board_write(line, cheep_line_microphone(line, sizeof line, from, state));
}

static void on_slow(void *context, const cheep_app *from, const cheep_app_slow *slow)
{
    (void)context;
    board_write(line, cheep_line_slow(line, sizeof line, from, slow));
}

/* Said again and again, so that a monitor opened later sees it. */
static void refuse(const char *stage, const char *reason)
{
    for (;;) {
        board_write(line, cheep_line_error(line, sizeof line, stage, reason));
        for (uint32_t begun = cheep_hal_clock_us(); cheep_hal_clock_us() - begun < 5000000u;) {
            board_feed();
        }
    }
}

int main(void)
{
    const cheep_app_handlers handlers = {.context = NULL,
                                         .event = on_event,
                                         .stats = on_stats,
                                         .scores = NULL,
                                         .microphone = on_microphone,
                                         .slow = on_slow};
    board_start();
    (void)cheep_ring_init(&ring, samples, CHEEP_RING_SAMPLES);
    (void)cheep_capture_init(&capture, &ring, FACTOR, CHEEP_MEL_SAMPLE_RATE_HZ);
    if (cheep_app_boot(&app, &cheep_generated_app, memory, sizeof memory, &ring, &handlers) != CHEEP_OK) {
        refuse(cheep_stage_name(app.failed_stage), app.failure);
    }
    board_write(line, cheep_line_boot(line, sizeof line, &cheep_generated_app, board_name, CHEEP_MODEL_CLASSES,
                                      sizeof app + sizeof memory, cheep_model_memory_bytes()));
    cheep_app_watch(&app, &capture);
    const char *problem = board_microphone(FACTOR * CHEEP_MEL_SAMPLE_RATE_HZ);
    if (problem != NULL) {
        refuse("microphone", problem);
    }
    for (;;) {
        board_feed();
        if (cheep_app_poll(&app, POLL_SAMPLES) == 0u) {
            board_wait();
        }
        if (app.failed_stage != CHEEP_STAGE_NONE) {
            refuse(cheep_stage_name(app.failed_stage), app.failure);
        }
    }
}
