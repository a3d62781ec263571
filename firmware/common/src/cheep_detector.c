/* SPDX-License-Identifier: MIT */
#include "cheep_detector.h"

#include <string.h>

cheep_status cheep_detector_init(cheep_detector *d, const cheep_detector_spec *spec)
{
    if (d == NULL || spec == NULL || spec->threshold == NULL) {
        return CHEEP_ERROR_ARGUMENT;
    }
    if (spec->n_classes < 1 || spec->n_classes > CHEEP_MAX_CLASSES || spec->smoothing < 1 ||
        spec->smoothing > CHEEP_MAX_SMOOTHING || spec->min_windows < 1 ||
        (uint32_t)spec->smoothing * spec->n_classes > CHEEP_MAX_SCORES) {
        return CHEEP_ERROR_ARGUMENT;
    }
    for (uint16_t c = 0; c < spec->n_classes; c++) {
        if (spec->threshold[c].off_sum > spec->threshold[c].on_sum) {
            return CHEEP_ERROR_ARGUMENT;
        }
    }
    d->spec = spec;
    cheep_detector_reset(d);
    return CHEEP_OK;
}

void cheep_detector_reset(cheep_detector *d)
{
    d->windows = 0;
    d->next = 0;
    memset(d->units, 0, sizeof d->units);
    memset(d->classes, 0, sizeof d->classes);
}

static void make_event(const cheep_class_state *state, uint16_t label, bool ended, cheep_event *event)
{
    event->label = label;
    event->ended = ended;
    event->first_window = state->first_window;
    event->last_window = state->last_window;
    event->peak_sum = state->peak_sum;
}

/* One class, one window. Returns whether an event was written. */
static bool step(const cheep_detector *d, uint16_t label, cheep_class_state *state, cheep_event *event)
{
    const cheep_class_threshold *threshold = &d->spec->threshold[label];
    const bool never = threshold->on_sum == INT32_MAX;

    if (state->active) {
        if (state->sum >= threshold->off_sum) {
            state->last_window = d->windows;
            if (state->sum > state->peak_sum) {
                state->peak_sum = state->sum;
            }
            return false;
        }
        state->active = false;
        state->run = 0;
        state->quiet = d->spec->hold_off;
        make_event(state, label, true, event);
        return true;
    }
    if (state->quiet > 0) {
        state->quiet--;
        return false;
    }
    if (never || d->windows + 1 < d->spec->smoothing || state->sum < threshold->on_sum) {
        state->run = 0;
        return false;
    }
    if (state->run == 0 || state->sum > state->peak_sum) {
        state->peak_sum = state->sum;
    }
    state->run++;
    if (state->run < d->spec->min_windows) {
        return false;
    }
    state->active = true;
    state->first_window = d->windows + 1 - state->run;
    state->last_window = d->windows;
    make_event(state, label, false, event);
    return true;
}

uint16_t cheep_detector_push(cheep_detector *d, const int8_t *scores, cheep_event *events)
{
    int16_t units[CHEEP_MAX_CLASSES];

    cheep_scores_units(&d->spec->scores, scores, d->spec->n_classes, units);
    return cheep_detector_push_units(d, units, events);
}

uint16_t cheep_detector_push_units(cheep_detector *d, const int16_t *units, cheep_event *events)
{
    const uint16_t n_classes = d->spec->n_classes;
    int16_t *oldest = d->units + (size_t)d->next * n_classes;
    uint16_t n_events = 0;

    for (uint16_t c = 0; c < n_classes; c++) {
        cheep_class_state *state = &d->classes[c];

        state->sum += units[c] - oldest[c]; /* the ring starts at zero */
        oldest[c] = units[c];
        if (step(d, c, state, &events[n_events])) {
            n_events++;
        }
    }
    d->next = (uint16_t)(d->next + 1u == d->spec->smoothing ? 0u : d->next + 1u);
    d->windows++;
    return n_events;
}

uint16_t cheep_detector_flush(cheep_detector *d, cheep_event *events)
{
    uint16_t n_events = 0;

    for (uint16_t c = 0; c < d->spec->n_classes; c++) {
        cheep_class_state *state = &d->classes[c];

        if (state->active) {
            state->active = false;
            state->run = 0;
            state->quiet = d->spec->hold_off;
            make_event(state, c, true, &events[n_events++]);
        }
    }
    return n_events;
}

size_t cheep_detector_run(cheep_detector *d, const int8_t *scores, size_t n, cheep_event *events, size_t max_events,
                          size_t *consumed)
{
    const size_t n_classes = d->spec->n_classes;
    size_t n_events = 0;
    size_t row = 0;

    for (; row < n && max_events - n_events >= n_classes; row++) {
        n_events += cheep_detector_push(d, scores + row * n_classes, events + n_events);
    }
    *consumed = row;
    return n_events;
}

size_t cheep_detector_run_units(cheep_detector *d, const int16_t *units, size_t n, cheep_event *events,
                                size_t max_events, size_t *consumed)
{
    const size_t n_classes = d->spec->n_classes;
    size_t n_events = 0;
    size_t row = 0;

    for (; row < n && max_events - n_events >= n_classes; row++) {
        n_events += cheep_detector_push_units(d, units + row * n_classes, events + n_events);
    }
    *consumed = row;
    return n_events;
}
