/* SPDX-License-Identifier: MIT */
/* Detector: int8 scores of successive windows -> events.
 *
 * A row of scores becomes integer units (cheep_scores.h): logits, log-odds, or the probabilities of older models.
 * Thresholds are sums of units over the smoothing window, so no division and no rounding happens on the way:
 * a class is "on" when sum(last `smoothing` units) >= on_sum. Before `smoothing` windows have
 * been seen the class cannot be on.
 */
#ifndef CHEEP_DETECTOR_H
#define CHEEP_DETECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_scores.h"
#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_CLASS_LIMIT 64 /* the most classes of a detector */

/* Classes that state is reserved for, about 80 bytes each. A firmware of one model defines CHEEP_CLASSES_OF_MODEL and
 * reserves what its generated headers say; a hyperdimensional head learns classes that no header knows. */
#if defined(CHEEP_CLASSES_OF_MODEL) && defined(__has_include)
#if __has_include(<generated/detector_settings.h>)
#include <generated/detector_settings.h>
#define CHEEP_MAX_SCORES (CHEEP_DETECTOR_SMOOTHING * CHEEP_DETECTOR_CLASSES)
#if !defined(CHEEP_HDC)
#define CHEEP_MAX_CLASSES CHEEP_DETECTOR_CLASSES
#endif
#endif
#endif
#ifndef CHEEP_MAX_CLASSES
#define CHEEP_MAX_CLASSES CHEEP_CLASS_LIMIT
#endif
#if CHEEP_MAX_CLASSES > CHEEP_CLASS_LIMIT
#error "more classes than CHEEP_CLASS_LIMIT: leave labels out or merge them"
#endif
#define CHEEP_MAX_SMOOTHING 32
#define CHEEP_SCORES_LIMIT 512 /* the most of smoothing * n_classes */
#ifndef CHEEP_MAX_SCORES
#define CHEEP_MAX_SCORES CHEEP_SCORES_LIMIT
#endif

typedef struct {
    int32_t on_sum;   /* INT32_MAX: this class never makes an event */
    int32_t off_sum;  /* <= on_sum: hysteresis */
} cheep_class_threshold;

typedef struct {
    uint16_t n_classes;      /* 1..CHEEP_MAX_CLASSES */
    uint16_t smoothing;      /* windows averaged, 1..CHEEP_MAX_SMOOTHING */
    uint16_t min_windows;    /* successive windows on before an event starts, >= 1 */
    uint16_t hold_off;       /* windows of silence after an event ends */
    const cheep_class_threshold *threshold; /* n_classes */
    cheep_score_scale scores; /* what a row of scores means; all zero: units are the scores as they are */
} cheep_detector_spec;

typedef struct {
    uint16_t label;          /* class index */
    bool ended;              /* false: the event has just started; true: it has ended */
    uint64_t first_window;   /* index of the window at which it started */
    uint64_t last_window;    /* last window on (== current window while running) */
    int32_t peak_sum;        /* largest sum of units seen so far (cheep_scores_value, cheep_scores_sum_e6) */
} cheep_event;

typedef struct {
    int32_t sum;
    int32_t peak_sum;
    uint64_t first_window;
    uint64_t last_window;
    uint16_t run;            /* successive windows on, while not active */
    uint16_t quiet;          /* windows of hold-off left */
    bool active;
} cheep_class_state;

typedef struct {
    const cheep_detector_spec *spec;
    uint64_t windows;                            /* windows seen */
    uint16_t next;                               /* slot of the next row of units */
    int16_t units[CHEEP_MAX_SCORES];
    cheep_class_state classes[CHEEP_MAX_CLASSES];
} cheep_detector;

/* smoothing * n_classes must be at most CHEEP_MAX_SCORES, off_sum <= on_sum. */
cheep_status cheep_detector_init(cheep_detector *d, const cheep_detector_spec *spec);
void cheep_detector_reset(cheep_detector *d);

/* One row of n_classes scores. Writes at most n_classes events, returns their number.
 * A class reports its start once and its end once. */
uint16_t cheep_detector_push(cheep_detector *d, const int8_t *scores, cheep_event *events);

/* n rows of n_classes scores. Stops early where fewer than n_classes events fit into max_events; consumed: the rows that
 * were taken. Returns the number of events. */
size_t cheep_detector_run(cheep_detector *d, const int8_t *scores, size_t n, cheep_event *events, size_t max_events,
                          size_t *consumed);
size_t cheep_detector_run_units(cheep_detector *d, const int16_t *units, size_t n, cheep_event *events,
                                size_t max_events, size_t *consumed);

/* The same of a row that is in units already. */
uint16_t cheep_detector_push_units(cheep_detector *d, const int16_t *units, cheep_event *events);

/* Close the events that are running (end of a recording). */
uint16_t cheep_detector_flush(cheep_detector *d, cheep_event *events);

#ifdef __cplusplus
}
#endif
#endif
