/* SPDX-License-Identifier: MIT */
#include "cheep_columns.h"

#include <string.h>

void cheep_columns_init(cheep_columns *c, int8_t *data, uint16_t window_frames, uint16_t n_mels)
{
    c->data = data;
    c->window_frames = window_frames;
    c->n_mels = n_mels;
    cheep_columns_reset(c);
}

void cheep_columns_reset(cheep_columns *c)
{
    c->next = 0;
    c->count = 0;
}

void cheep_columns_push(cheep_columns *c, const int8_t *column)
{
    memcpy(c->data + (size_t)c->next * c->n_mels, column, c->n_mels);
    c->next = (uint16_t)(c->next + 1u == c->window_frames ? 0u : c->next + 1u);
    if (c->count < c->window_frames) {
        c->count++;
    }
}

bool cheep_columns_full(const cheep_columns *c)
{
    return c->count == c->window_frames;
}

void cheep_columns_window(const cheep_columns *c, int8_t *window)
{
    const size_t oldest = (size_t)c->next * c->n_mels;
    const size_t total = (size_t)c->window_frames * c->n_mels;

    memcpy(window, c->data + oldest, total - oldest);
    memcpy(window + (total - oldest), c->data, oldest);
}
