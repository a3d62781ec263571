/* SPDX-License-Identifier: MIT */
/* Ring of the last window_frames int8 mel columns. Memory is the caller's. */
#ifndef CHEEP_COLUMNS_H
#define CHEEP_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int8_t *data; /* window_frames * n_mels */
    uint16_t window_frames, n_mels;
    uint16_t next;  /* row that the next column overwrites */
    uint16_t count; /* columns held, at most window_frames */
} cheep_columns;

void cheep_columns_init(cheep_columns *c, int8_t *data, uint16_t window_frames, uint16_t n_mels);
/* Forget all columns. */
void cheep_columns_reset(cheep_columns *c);
void cheep_columns_push(cheep_columns *c, const int8_t *column);
bool cheep_columns_full(const cheep_columns *c);
/* window[window_frames][n_mels], oldest first; call only when full. */
void cheep_columns_window(const cheep_columns *c, int8_t *window);

#ifdef __cplusplus
}
#endif
#endif
