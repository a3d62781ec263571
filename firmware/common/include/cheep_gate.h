/* SPDX-License-Identifier: MIT */
/* Gate: decides from the columns that exist anyway whether the network runs on a window, so that it rests where a night
 * holds nothing.
 *
 * Of each int8 column the largest distance of a band above its own slow floor is kept, in 1/64 of a step; a window whose
 * columns reach on_sum together opens the gate, which then stays open for hold_windows windows more. The network looks
 * back over a whole window, so what came before the column that opened it is heard. A window that is not run has the
 * scores `idle`. Integers alone: the same decisions on every processor.
 */
#ifndef CHEEP_GATE_H
#define CHEEP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_GATE_STEP 64 /* parts of a step of the columns */

typedef struct {
    int32_t on_sum;          /* of the distances of a window's columns, in 1/64 of a step */
    uint16_t first_band;     /* the bands from here on count */
    uint16_t floor_shift;    /* the floor follows a band with a time constant of 2^floor_shift columns, 1..10 */
    uint16_t hold_windows;   /* run behind the last window that reached on_sum */
    const int8_t *idle;      /* n_classes scores of a window that is not run */
} cheep_gate_spec;

typedef struct {
    const cheep_gate_spec *spec;
    int16_t *floor;          /* n_mels */
    int16_t *distance;       /* window_frames, a ring */
    uint16_t n_mels, window_frames, stride_frames;
    uint16_t next;           /* place of the next distance */
    uint16_t hold;           /* windows left to run */
    bool begun;              /* the floor is known */
    int32_t sum;             /* of distance */
    uint32_t until_window;   /* columns left until a window is complete */
} cheep_gate;

/* Bytes that a gate wants. */
#define CHEEP_GATE_BYTES(n_mels, window_frames) (((n_mels) + (window_frames)) * sizeof(int16_t))

/* memory: CHEEP_GATE_BYTES, aligned to 2. */
cheep_status cheep_gate_init(cheep_gate *g, const cheep_gate_spec *spec, uint16_t n_mels, uint16_t window_frames,
                             uint16_t stride_frames, int16_t *memory);
/* Forget the past: the next column is the first of a recording. */
void cheep_gate_reset(cheep_gate *g);
/* Take a column, int8 [n_mels]. */
void cheep_gate_push(cheep_gate *g, const int8_t *column);
/* Whether the network runs on the window that ends with the last column. Once for every window. */
bool cheep_gate_window(cheep_gate *g);
/* The same of n columns: open[i] says whether window i of those that they complete is run; returns how many. Windows
 * end behind window_frames columns, and then every stride_frames. */
size_t cheep_gate_run(cheep_gate *g, const int8_t *columns, size_t n, uint8_t *open);

#ifdef __cplusplus
}
#endif
#endif
