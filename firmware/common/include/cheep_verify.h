/* SPDX-License-Identifier: MIT */
/* Second stage: a larger network looks at the windows that the first one lets through, and says what they are.
 *
 * A window is asked about where a score of the first network reaches `ask`. The second network hears, through a front end
 * of its own, the samples in the middle of that window: the last ones are kept in a ring, and its columns are made only
 * when they are wanted. The weighted mean of what the two say takes the place of the first network's scores; where nobody
 * asks, `idle` stands for the second one, what it says to background. Smoothing, thresholds and events are of this mean.
 */
#ifndef CHEEP_VERIFY_H
#define CHEEP_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_frontend.h"
#include "cheep_scores.h"
#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_VERIFY_NEVER INT16_MAX /* ask: this class asks for nothing */

struct cheep_golden;

typedef struct {
    const char *model_id;               /* of the second network */
    const cheep_frontend_spec *frontend; /* decibel, at the first one's sample rate */
    uint16_t window_frames;
    uint16_t n_outputs;                 /* of the second network */
    float input_inverse_scale;          /* of its input */
    int32_t input_zero_point;
    uint32_t behind_samples;            /* of the first network's window, behind the last one that is heard */
    cheep_score_scale first;            /* what the first network's scores mean */
    const int16_t *ask;                 /* n_classes units of the first network, or CHEEP_VERIFY_NEVER */
    const uint8_t *output;              /* n_classes outputs of the second network, in the order of the first one's */
    const int8_t *idle;                 /* n_classes scores of the second network */
    int32_t first_weight, second_weight; /* 1/65536 of a step of the mean, in a step of each network's output */
    int32_t offset;                     /* the same, of zero points and rounding: see cheep_verify_mean */
    cheep_status (*init)(void);
    cheep_status (*invoke)(const int8_t *window, int8_t *scores); /* as cheep_model_invoke */
    const char *(*error)(void);
    void *(*scratch)(void);             /* of the front end: may be the networks' working memory */
    size_t scratch_bytes;
    uint32_t columns_crc, frontend_crc; /* as those of cheep_app_spec */
    const struct cheep_golden *golden;
    uint16_t golden_count;
    const int8_t *golden_scores;        /* golden_count * n_outputs */
} cheep_verify_spec;

typedef struct {
    const cheep_verify_spec *spec;
    int16_t *pcm;        /* a ring */
    float *column;       /* n_mels */
    int8_t *window;      /* window_frames * n_mels */
    uint32_t capacity;   /* samples: of the window, and those behind it */
    uint32_t next, held;
    uint16_t n_classes;  /* of the first network */
} cheep_verify;

/* Samples that a window takes. */
#define CHEEP_VERIFY_WINDOW_SAMPLES(frame_samples, hop_samples, window_frames)                                         \
    ((frame_samples) + ((window_frames) - 1u) * (hop_samples))

/* Bytes that cheep_verify_init wants, a multiple of 8; 0 where the settings are impossible. */
size_t cheep_verify_memory_bytes(const cheep_verify_spec *spec);

/* memory: aligned to 8. */
cheep_status cheep_verify_init(cheep_verify *v, const cheep_verify_spec *spec, uint16_t n_classes, void *memory);
/* Forget the samples: those that come do not follow them. */
void cheep_verify_reset(cheep_verify *v);
/* Keep samples. */
void cheep_verify_push(cheep_verify *v, const int16_t *pcm, size_t n);
/* Whether this row of the first network, n_classes scores, is asked about. */
bool cheep_verify_asks(const cheep_verify *v, const int8_t *scores);
/* Look at the window that ends with the last sample: scores, n_classes of the first network, become the mean. */
cheep_status cheep_verify_run(cheep_verify *v, int8_t *scores);
/* The same of a window that nobody asks about. */
void cheep_verify_idle(const cheep_verify *v, int8_t *scores);
/* (first_weight * first + second_weight * second + offset) / 65536, rounded down, within int8. */
int8_t cheep_verify_mean(const cheep_verify_spec *spec, int8_t first, int8_t second);

/* The second network, as cheep_model.h has the first: in verify_compiled.c, or in what runs it on a host. */
cheep_status cheep_verify_model_init(void);
cheep_status cheep_verify_model_invoke(const int8_t *window, int8_t *scores);
const char *cheep_verify_model_error(void);
/* CHEEP_VERIFY_MEL_FRONTEND_BYTES or more, aligned to 8, that nobody needs between two of these calls. */
void *cheep_verify_model_scratch(void);

#ifdef __cplusplus
}
#endif
#endif
