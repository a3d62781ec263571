/* SPDX-License-Identifier: MIT */
/* Front end and detector over a PCM file on the emulated core.
 *
 * Arguments: IN OUT CHUNK. IN: int16 little-endian mono PCM. OUT: the int8 columns, then the events.
 * CHUNK: samples per push (0: chunks of 1..4096 from a fixed generator). A stand-in takes the place of
 * the network: the score of class c is the largest value of its share of the bands in the column.
 */
#include <stdbool.h>
#include <string.h>

#include "cheep_columns.h"
#include "cheep_detector.h"
#include "cheep_frontend.h"
#include "emulator.h"
#include "frontend_spec.h" /* rendered: frontend_spec, FRONTEND_MEMORY_BYTES, INVERSE_SCALE, ZERO_POINT, detector_spec */

#define BLOCK 4096

static cheep_frontend frontend;
static _Alignas(8) unsigned char memory[FRONTEND_MEMORY_BYTES];
static cheep_detector detector;
static int16_t block[BLOCK];

typedef struct {
    uint32_t columns, events, worst, quantize, stack;
    uint64_t total;
} counters;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void stand_in_scores(const int8_t *column, int8_t *scores)
{
    const uint32_t classes = detector_spec.n_classes;

    for (uint32_t c = 0; c < classes; c++) {
        int8_t best = -128;
        for (uint32_t m = c * N_MELS / classes; m < (c + 1) * N_MELS / classes; m++) {
            best = column[m] > best ? column[m] : best;
        }
        scores[c] = best;
    }
}

static void write_events(int file, const cheep_event *events, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        const uint32_t row[5] = {0x544e5645u, (uint32_t)events[i].label * 2u + (events[i].ended ? 1u : 0u),
                                 (uint32_t)events[i].first_window, (uint32_t)events[i].last_window,
                                 (uint32_t)events[i].peak_sum};
        emulator_write(file, row, sizeof row);
    }
}

static void push_all(const int16_t *pcm, size_t n, int file, counters *count)
{
    static uint32_t pending; /* instructions since the last column */
    float column[N_MELS];
    int8_t quantized[N_MELS];
    int8_t scores[CHEEP_MAX_CLASSES];
    cheep_event events[CHEEP_MAX_CLASSES];

    while (n > 0) {
        bool ready;
        if (count->columns < 3) {
            emulator_stack_paint();
        }
        const uint32_t start = emulator_ticks();
        const size_t used = cheep_frontend_push(&frontend, pcm, n, column, &ready);
        if (ready) {
            const uint32_t middle = emulator_ticks();
            cheep_quantize(column, N_MELS, INVERSE_SCALE, ZERO_POINT, quantized);
            count->quantize = emulator_elapsed(middle);
        }
        pending += emulator_elapsed(start);
        pcm += used;
        n -= used;
        if (!ready) {
            continue;
        }
        if (count->columns < 3) {
            count->stack = emulator_stack_peak_bytes() - emulator_stack_depth_bytes();
        }
        count->columns++;
        count->total += pending;
        count->worst = pending > count->worst && count->columns > 1 ? pending : count->worst;
        pending = 0;
        emulator_write(file, quantized, N_MELS);
        stand_in_scores(quantized, scores);
        const uint16_t n_events = cheep_detector_push(&detector, scores, events);
        count->events += n_events;
        write_events(file, events, n_events);
    }
}

int main(void)
{
    char buffer[512];
    char in[256];
    char out[256];
    const char *rest = emulator_arguments(buffer, sizeof buffer);
    counters count = {0};
    uint32_t random = 1;
    cheep_event events[CHEEP_MAX_CLASSES];
    char *targets[2] = {in, out};

    for (int i = 0; i < 2; i++) {
        const char *space = strchr(rest, ' ');
        if (space == NULL || (size_t)(space - rest) >= sizeof in) {
            emulator_print("usage: IN OUT CHUNK\n");
            return 2;
        }
        memcpy(targets[i], rest, (size_t)(space - rest));
        targets[i][space - rest] = '\0';
        rest = space + 1;
    }
    uint32_t chunk = 0;
    for (; *rest >= '0' && *rest <= '9'; rest++) {
        chunk = chunk * 10u + (uint32_t)(*rest - '0');
    }
    const int source = emulator_open_read(in);
    const int sink = emulator_open_write(out);
    if (source < 0 || sink < 0 || chunk > BLOCK) {
        emulator_print("cannot open the files, or CHUNK above 4096\n");
        return 2;
    }
    if (cheep_frontend_init(&frontend, &frontend_spec, memory, sizeof memory) != CHEEP_OK ||
        cheep_detector_init(&detector, &detector_spec) != CHEEP_OK) {
        emulator_print("init refused\n");
        return 1;
    }
    for (;;) {
        const uint32_t want = chunk != 0 ? chunk : 1u + next_random(&random) % BLOCK;
        const size_t got = emulator_read(source, block, want * sizeof(int16_t)) / sizeof(int16_t);
        push_all(block, got, sink, &count);
        if (got < want) {
            break;
        }
    }
    const uint16_t closing = cheep_detector_flush(&detector, events);
    write_events(sink, events, closing);
    emulator_close(sink);
    emulator_report("columns", count.columns);
    emulator_report("events", count.events + closing);
    emulator_report("instructions_mean", count.columns == 0 ? 0 : (uint32_t)(count.total / count.columns));
    emulator_report("instructions_worst", count.worst);
    emulator_report("instructions_quantize", count.quantize);
    emulator_report("frontend_stack_bytes", count.stack);
    emulator_report("frontend_bytes", (uint32_t)(sizeof frontend + sizeof memory));
    emulator_report("detector_bytes", (uint32_t)sizeof detector);
    return 0;
}
