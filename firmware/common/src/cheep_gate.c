/* SPDX-License-Identifier: MIT */
#include "cheep_gate.h"

#include <string.h>

cheep_status cheep_gate_init(cheep_gate *g, const cheep_gate_spec *spec, uint16_t n_mels, uint16_t window_frames,
                             uint16_t stride_frames, int16_t *memory)
{
    if (g == NULL || spec == NULL || spec->idle == NULL || memory == NULL || spec->first_band >= n_mels ||
        spec->floor_shift < 1u || spec->floor_shift > 10u || window_frames < 1u || stride_frames < 1u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    g->spec = spec;
    g->n_mels = n_mels;
    g->window_frames = window_frames;
    g->stride_frames = stride_frames;
    g->floor = memory;
    g->distance = memory + n_mels;
    cheep_gate_reset(g);
    return CHEEP_OK;
}

void cheep_gate_reset(cheep_gate *g)
{
    memset(g->distance, 0, g->window_frames * sizeof(int16_t));
    g->next = 0;
    g->hold = 0;
    g->begun = false;
    g->sum = 0;
    g->until_window = g->window_frames;
}

void cheep_gate_push(cheep_gate *g, const int8_t *column)
{
    const uint16_t shift = g->spec->floor_shift;
    int32_t most = INT16_MIN;

    for (uint16_t band = g->spec->first_band; band < g->n_mels; band++) {
        const int32_t level = column[band] * CHEEP_GATE_STEP;
        int32_t floor = g->begun ? g->floor[band] : level;
        const int32_t above = level - floor;
        /* A division, not a shift: the shift of a negative number is the compiler's to choose. */
        floor += above / (1 << shift);
        g->floor[band] = (int16_t)floor;
        if (level - floor > most) {
            most = level - floor;
        }
    }
    g->begun = true;
    g->sum += most - g->distance[g->next];
    g->distance[g->next] = (int16_t)most;
    g->next = (uint16_t)(g->next + 1u == g->window_frames ? 0u : g->next + 1u);
}

bool cheep_gate_window(cheep_gate *g)
{
    if (g->sum >= g->spec->on_sum) {
        g->hold = g->spec->hold_windows;
        return true;
    }
    if (g->hold > 0u) {
        g->hold--;
        return true;
    }
    return false;
}

size_t cheep_gate_run(cheep_gate *g, const int8_t *columns, size_t n, uint8_t *open)
{
    size_t windows = 0;

    for (size_t i = 0; i < n; i++) {
        cheep_gate_push(g, columns + i * g->n_mels);
        if (--g->until_window == 0u) {
            g->until_window = g->stride_frames;
            open[windows++] = cheep_gate_window(g) ? 1u : 0u;
        }
    }
    return windows;
}
