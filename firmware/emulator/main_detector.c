/* SPDX-License-Identifier: MIT */
/* The whole detector over a PCM file on the emulated core: front end, compiled network, detector; instructions of each.
 *
 * Arguments: IN OUT. IN: int16 little-endian mono PCM; OUT: the scores of every window, one after another.
 * frontend_spec.h and bench_detector.h are rendered for the model: see src/cheep/bench/detector.py. With
 * BENCH_STREAM only the new columns are computed, else every window from its start.
 */
#include <stdbool.h>
#include <string.h>

#include "bench_detector.h" /* the network's header, BENCH_*: names, stride, sizes */
#include "cheep_columns.h"
#include "cheep_detector.h"
#include "cheep_frontend.h"
#include "emulator.h"
#include "frontend_spec.h"

#define BLOCK 512

static cheep_frontend frontend;
static _Alignas(8) unsigned char memory[FRONTEND_MEMORY_BYTES];
static cheep_detector detector;
static BENCH_STATE network;
#ifndef BENCH_STREAM
static cheep_columns columns;
static int8_t column_ring[BENCH_FRAMES * N_MELS];
static _Alignas(4) int8_t input[BENCH_FRAMES * N_MELS];
#endif
static int16_t block[BLOCK];

typedef struct {
    uint64_t frontend, network, detector;
    uint32_t columns, windows, events, worst;
} counters;

static void column_ready(const int8_t *column, int sink, counters *count)
{
    int8_t scores[BENCH_CLASSES];
    cheep_event events[CHEEP_MAX_CLASSES];
    uint32_t start = emulator_ticks();

    count->columns++;
    const bool due = count->columns >= BENCH_FRAMES && (count->columns - BENCH_FRAMES) % BENCH_STRIDE == 0;
#ifdef BENCH_STREAM
    BENCH_PUSH(&network, column);
    if (due) {
        (void)BENCH_SCORES(&network, scores);
    }
#else
    cheep_columns_push(&columns, column);
    if (due) {
        cheep_columns_window(&columns, input);
        BENCH_INVOKE(&network, input, scores);
    }
#endif
    uint32_t spent = emulator_elapsed(start);
    count->network += spent;
    count->worst = spent > count->worst ? spent : count->worst;
    if (due) {
        start = emulator_ticks();
        count->events += cheep_detector_push(&detector, scores, events);
        count->detector += emulator_elapsed(start);
        count->windows++;
        emulator_write(sink, scores, sizeof scores);
    }
}

int main(void)
{
    static char buffer[512];
    static char in[256];
    float values[N_MELS];
    int8_t column[N_MELS];
    counters count = {0};

    const char *rest = emulator_arguments(buffer, sizeof buffer);
    const char *space = strchr(rest, ' ');
    if (space == NULL || (size_t)(space - rest) >= sizeof in) {
        emulator_print("usage: IN OUT\n");
        return 2;
    }
    memcpy(in, rest, (size_t)(space - rest));
    const int source = emulator_open_read(in), sink = emulator_open_write(space + 1);
    if (source < 0 || sink < 0) {
        emulator_print("cannot open the files\n");
        return 2;
    }
    if (cheep_frontend_init(&frontend, &frontend_spec, memory, sizeof memory) != CHEEP_OK ||
        cheep_detector_init(&detector, &detector_spec) != CHEEP_OK) {
        emulator_print("init refused\n");
        return 1;
    }
#ifdef BENCH_STREAM
    BENCH_RESET(&network);
#else
    cheep_columns_init(&columns, column_ring, BENCH_FRAMES, N_MELS);
#endif
    emulator_stack_paint();
    for (;;) {
        const size_t got = emulator_read(source, block, sizeof block) / sizeof block[0];
        for (size_t at = 0; at < got;) {
            bool ready;
            const uint32_t start = emulator_ticks();
            at += cheep_frontend_push(&frontend, block + at, got - at, values, &ready);
            if (ready) {
                cheep_quantize(values, N_MELS, INVERSE_SCALE, ZERO_POINT, column);
            }
            count.frontend += emulator_elapsed(start);
            if (ready) {
                column_ready(column, sink, &count);
            }
        }
        if (got < BLOCK) {
            break;
        }
    }
    emulator_close(sink);
    emulator_report("columns", count.columns);
    emulator_report("windows", count.windows);
    emulator_report("events", count.events);
    emulator_report("frontend_thousands", (uint32_t)(count.frontend / 1000));
    emulator_report("network_thousands", (uint32_t)(count.network / 1000));
    emulator_report("network_worst", count.worst);
    emulator_report("detector_instructions", (uint32_t)count.detector);
    emulator_report("stack_bytes", emulator_stack_peak_bytes());
    emulator_report("frontend_bytes", (uint32_t)(sizeof frontend + sizeof memory));
    emulator_report("detector_bytes", (uint32_t)sizeof detector);
    emulator_report("network_bytes", (uint32_t)sizeof network);
#ifndef BENCH_STREAM
    emulator_report("columns_bytes", (uint32_t)(sizeof columns + sizeof column_ring + sizeof input));
#else
    emulator_report("columns_bytes", 0);
#endif
    return 0;
}
