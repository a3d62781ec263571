/* SPDX-License-Identifier: MIT */
/* The application that every board runs: ring of samples -> front end -> int8 columns -> model every
 * stride -> detector -> events. Nothing here knows a board.
 *
 *     static _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];     // cheep_generated.h
 *     cheep_ring_init(&ring, samples, 4096);
 *     if (cheep_app_boot(&app, &cheep_generated_app, memory, sizeof memory, &ring, &handlers) != CHEEP_OK)
 *         report app.failed_stage and app.failure, do not listen;
 *     for (;;) { cheep_app_poll(&app, SIZE_MAX); sleep until the interrupt brings samples; }
 *
 * All memory is the caller's. One consumer: cheep_app_poll and the handlers run in the same thread;
 * only cheep_ring_push may run in an interrupt meanwhile.
 */
#ifndef CHEEP_APP_H
#define CHEEP_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_capture.h"
#include "cheep_columns.h"
#include "cheep_detector.h"
#include "cheep_frontend.h"
#include "cheep_gate.h"
#include "cheep_levels.h"
#include "cheep_model.h"
#include "cheep_ring.h"
#include "cheep_status.h"
#include "cheep_verify.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A window that the board runs before it listens. Most are made here, and cost no flash. */
typedef enum {
    CHEEP_GOLDEN_STORED = 0, /* window */
    CHEEP_GOLDEN_BOARD,      /* low and high alternate, over the bands and over the columns */
    CHEEP_GOLDEN_NOISE       /* any value, by integers */
} cheep_golden_kind;

typedef struct cheep_golden {
    const char *name;        /* a label, "silence", "loud", ... */
    cheep_golden_kind kind;
    int8_t low, high;
    const int8_t *window;    /* window_frames * n_mels, or NULL */
} cheep_golden;

/* Everything that a trained model says about itself: constants printed by Cheep (cheep_generated.c). */
typedef struct {
    const char *version;               /* of Cheep that printed it */
    const char *model_id;              /* first 8 hexadecimal digits of the model's sha256 */
    uint32_t feature_hash;             /* of the settings the model was trained with */
    const cheep_frontend_spec *frontend;
    const cheep_detector_spec *detector;
    const cheep_gate_spec *gate;       /* NULL: the network runs on every window */
    const cheep_verify_spec *verify;   /* second stage, or NULL; detector->scores is then what its scores mean */
    uint16_t window_frames;
    uint16_t stride_frames;
    bool keeps_state;                  /* a recurrent model: its windows must come a stride apart */
    float input_inverse_scale;         /* 1 / scale of the model's input */
    int32_t input_zero_point;
    const char *const *labels;         /* detector->n_classes names, UTF-8 */
    /* What each stage gave on the machine that printed it (cheep_selfcheck.h): */
    uint32_t columns_crc;              /* front end, in single precision */
    uint32_t frontend_crc;             /* the same as int8 */
    const cheep_detector_spec *golden_detector; /* detector as printed: a board may run with other thresholds */
    uint32_t detector_crc;
    const cheep_golden *golden;        /* golden_count windows, ... */
    uint16_t golden_count;
    const int8_t *golden_scores;       /* ... and what the model must give for each: n_classes values */
} cheep_app_spec;

typedef enum {
    CHEEP_STAGE_NONE = 0,
    CHEEP_STAGE_SETTINGS,  /* headers disagree with each other, or memory too small */
    CHEEP_STAGE_FRONTEND,  /* the columns of the test sound differ */
    CHEEP_STAGE_INPUT,     /* the columns are right, but not as int8 */
    CHEEP_STAGE_MODEL,     /* the model cannot be prepared, or is not the one the header describes */
    CHEEP_STAGE_GOLDEN,    /* its scores for a golden window differ */
    CHEEP_STAGE_DETECTOR   /* bad thresholds, or other events */
} cheep_stage;

typedef struct {
    uint16_t class_index;
    const char *label;
    bool ended;                /* false: it has just begun */
    uint64_t start_sample;     /* first sample of its first window, counted from boot, losses included */
    uint64_t end_sample;       /* one past the last sample of its last window (so far) */
    uint32_t score_e6;         /* peak of the smoothed score as a probability, in millionths */
    bool has_logit;            /* the model gives logits */
    int32_t logit_e3;          /* then the peak as a logit, in 1/1000: where thresholds are compared */
} cheep_app_event;

/* What a board with a card could not put on it, since boot. */
typedef struct {
    uint32_t lost_rows, damaged_clips;
} cheep_app_card;

/* Since the last report (a minute of audio), worst times per call of a stage. */
typedef struct {
    uint64_t sample;           /* position in the stream */
    uint64_t windows;          /* since boot */
    uint32_t windows_now;      /* in this minute */
    uint32_t frontend_us;      /* worst: one column */
    uint32_t model_us;         /* worst: one inference, or one column of a model fed with columns */
    uint32_t detector_us;      /* worst: one row of scores */
    uint32_t worst_waiting;    /* most samples that waited in the ring */
    uint32_t overruns;         /* gaps since boot */
    uint64_t lost_samples;     /* since boot */
    uint64_t skipped;          /* windows left out since boot, because the network takes too long */
    uint64_t idle;             /* windows since boot that the gate did not let the network run on */
    uint64_t verified;         /* windows since boot that the second network was asked about */
    cheep_levels_summary input; /* level, offset, clipping and zeros in this minute */
    const cheep_app_card *card; /* NULL; a board with a card puts its own here before it writes the line */
} cheep_app_stats;

typedef enum {
    CHEEP_MICROPHONE_HEARD = 0, /* back; as it is taken to be at boot */
    CHEEP_MICROPHONE_SILENT,    /* nothing but zeros for CHEEP_SILENT_SECONDS */
    CHEEP_MICROPHONE_FAILING    /* its driver gives nothing (cheep_app_watch) */
} cheep_microphone;

/* The network takes longer than its stride: from now on one window in so many is run. */
typedef struct {
    uint16_t every;            /* 1: a recurrent model, which can leave no window out; samples will be lost */
    uint32_t window_us;        /* work of one window */
    uint32_t stride_us;        /* from one window to the next, as the settings want it */
} cheep_app_slow;

typedef struct cheep_app cheep_app;

typedef struct {
    void *context;
    void (*event)(void *context, const cheep_app *app, const cheep_app_event *event);   /* may be NULL */
    void (*stats)(void *context, const cheep_app *app, const cheep_app_stats *stats);   /* may be NULL */
    /* Each window's scores, before the detector; may be NULL. */
    void (*scores)(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *scores);
    /* The state of the microphone has changed; may be NULL. */
    void (*microphone)(void *context, const cheep_app *app, cheep_microphone state);
    /* The detector cannot keep up, and does this about it. NULL: every window is run, however long it takes (audio that
     * waits, as from a file). */
    void (*slow)(void *context, const cheep_app *app, const cheep_app_slow *slow);
} cheep_app_handlers;

struct cheep_app {
    const cheep_app_spec *spec;
    cheep_ring *ring;
    cheep_app_handlers handlers;
    cheep_frontend frontend;
    cheep_columns columns;     /* unused where by_columns is not NULL */
    const cheep_model_columns *by_columns;  /* the model is fed with columns; NULL: with whole windows */
    cheep_detector detector;
    cheep_gate gate;           /* where spec->gate is not NULL */
    cheep_verify verify;       /* where spec->verify is not NULL */
    bool behind;               /* by_columns has not been fed since the gate closed, or lost its memory to the second network */
    cheep_event *events;       /* n_classes */
    float *column;             /* n_mels */
    int8_t *quantized;         /* n_mels */
    uint32_t until_window;     /* columns left until the next window is run */
    uint64_t samples;          /* consumed or lost since boot */
    uint64_t origin;           /* sample at which the front end was last reset */
    uint64_t next_report;      /* sample of the next statistics */
    uint64_t segment_window;   /* detector->windows at the last reset */
    uint16_t every;            /* of the windows, one in so many is run: 1 unless the network takes too long */
    uint8_t slow_windows;      /* in a row that took longer than the audio up to the next */
    bool slow_untold;          /* handlers.slow is to be called: boot has found it */
    bool slow_told;
    uint32_t span;             /* columns from the window before to the next */
    uint32_t busy_us;          /* work since the window before */
    uint32_t scores_us;        /* the part of it that is done once a window: behind its last column */
    uint32_t window_us;        /* of the network for a whole window, as last measured; 0: not yet */
    cheep_levels levels;
    const cheep_capture *capture; /* or NULL */
    cheep_microphone microphone;
    cheep_app_stats stats;
    cheep_stage failed_stage;
    const char *failure;       /* one line, never NULL after cheep_app_boot; of a golden window: in the caller's memory */
};

/* Bytes that cheep_app_boot wants for spec, or 0 for an invalid one. CHEEP_APP_MEMORY_BYTES in
 * cheep_generated.h is the same number at compile time. */
size_t cheep_app_memory_bytes(const cheep_app_spec *spec);

/* Self-check, in this order: settings, front end, input, detector, model, golden windows. On failure
 * app->failed_stage and app->failure say what differs, and nothing may be run.
 * memory: aligned to 8. About 1.1 KB of stack besides the model's. */
cheep_status cheep_app_boot(cheep_app *app, const cheep_app_spec *spec, void *memory, size_t memory_bytes,
                            cheep_ring *ring, const cheep_app_handlers *handlers);

/* What fills the ring, so that its failures are said; NULL: nobody. Before the first poll. */
void cheep_app_watch(cheep_app *app, const cheep_capture *capture);

/* Work on at most max_samples of what waits in the ring; returns the samples consumed. A board with a watchdog polls for
 * few columns at a time and feeds it in between: a call runs a window for each stride in max_samples. */
size_t cheep_app_poll(cheep_app *app, size_t max_samples);

/* Forget the audio heard so far: the next column is the first of a new window. */
void cheep_app_forget(cheep_app *app);

/* End of the recording: report running events as ended. */
void cheep_app_finish(cheep_app *app);

/* "settings", "frontend", "input", "model", "golden", "detector" or "none". */
const char *cheep_stage_name(cheep_stage stage);

#ifdef __cplusplus
}
#endif
#endif
