/* SPDX-License-Identifier: MIT */
#include "cheep_app.h"

#include <string.h>

#include "cheep_model.h"
#include "cheep_selfcheck.h"
#include "hal.h"

#define REPORT_SECONDS 60u

static size_t aligned(size_t bytes)
{
    return (bytes + 7u) & ~(size_t)7u;
}

size_t cheep_app_memory_bytes(const cheep_app_spec *spec)
{
    if (spec == NULL || spec->frontend == NULL || spec->detector == NULL || spec->window_frames < 1u) {
        return 0;
    }
    size_t frontend = cheep_frontend_memory_bytes(spec->frontend);
    if (frontend == 0u) {
        return 0;
    }
    size_t n_mels = spec->frontend->n_mels;
    size_t window = spec->window_frames * n_mels;
    return aligned(frontend) + aligned(spec->detector->n_classes * sizeof(cheep_event)) +
           aligned(n_mels * sizeof(float)) + aligned(n_mels) + aligned(window);
}

const char *cheep_stage_name(cheep_stage stage)
{
    switch (stage) {
    case CHEEP_STAGE_SETTINGS: return "settings";
    case CHEEP_STAGE_FRONTEND: return "frontend";
    case CHEEP_STAGE_MODEL: return "model";
    case CHEEP_STAGE_GOLDEN: return "golden";
    case CHEEP_STAGE_DETECTOR: return "detector";
    case CHEEP_STAGE_NONE: break;
    }
    return "none";
}

static cheep_status refuse(cheep_app *app, cheep_stage stage, cheep_status status, const char *why)
{
    app->failed_stage = stage;
    app->failure = why;
    return status;
}

static cheep_status check_settings(cheep_app *app, size_t memory_bytes)
{
    const cheep_app_spec *spec = app->spec;
    size_t needed = cheep_app_memory_bytes(spec);
    if (needed == 0u || spec->stride_frames < 1u || spec->labels == NULL) {
        return refuse(app, CHEEP_STAGE_SETTINGS, CHEEP_ERROR_ARGUMENT,
                      "the generated headers hold impossible sizes; make them again");
    }
    if (spec->frontend->feature_hash != spec->feature_hash) {
        return refuse(app, CHEEP_STAGE_SETTINGS, CHEEP_ERROR_MISMATCH,
                      "mel_filter_bank.h and model.h are of different feature settings");
    }
    if (memory_bytes < needed) {
        return refuse(app, CHEEP_STAGE_SETTINGS, CHEEP_ERROR_MEMORY,
                      "the application's memory is smaller than CHEEP_APP_MEMORY_BYTES");
    }
    return CHEEP_OK;
}

static cheep_status check_frontend(cheep_app *app, void *memory, size_t memory_bytes)
{
    const cheep_app_spec *spec = app->spec;
    uint32_t crc = 0;
    cheep_status status = cheep_selfcheck_frontend(spec->frontend, spec->input_inverse_scale,
                                                   spec->input_zero_point, memory, memory_bytes, &crc);
    if (status == CHEEP_OK) {
        status = cheep_frontend_init(&app->frontend, spec->frontend, memory, memory_bytes);
    }
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_FRONTEND, status, "the front end refuses the settings of mel_filter_bank.h");
    }
    if (crc != spec->frontend_crc) {
        return refuse(app, CHEEP_STAGE_FRONTEND, CHEEP_ERROR_MISMATCH,
                      "the columns of the test sound differ from those in training (tables or compiler flags)");
    }
    return CHEEP_OK;
}

/* Run the golden window in the way in which the windows of the microphone will be run. */
static cheep_status golden_scores(const cheep_app *app, int8_t *scores)
{
    const cheep_app_spec *spec = app->spec;
    if (app->by_columns == NULL) {
        cheep_model_forget();
        return cheep_model_invoke(spec->golden_window, scores);
    }
    cheep_status status = CHEEP_OK;
    for (size_t i = 0; i < spec->window_frames && status == CHEEP_OK; i++) {
        status = app->by_columns->push(spec->golden_window + i * spec->frontend->n_mels);
    }
    return status == CHEEP_OK ? app->by_columns->scores(scores) : status;
}

static cheep_status check_model(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    int8_t scores[CHEEP_MAX_CLASSES];
    cheep_status status = cheep_model_init();
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_MODEL, status, cheep_model_error());
    }
    const cheep_model_columns *by_columns = cheep_model_by_columns();
    if (by_columns != NULL && spec->stride_frames % by_columns->stride_frames == 0u) {
        app->by_columns = by_columns;
        by_columns->reset();
    }
    if (spec->golden_window == NULL) {
        return CHEEP_OK;
    }
    status = golden_scores(app, scores);
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_GOLDEN, status, cheep_model_error());
    }
    if (memcmp(scores, spec->golden_scores, spec->detector->n_classes) != 0) {
        return refuse(app, CHEEP_STAGE_GOLDEN, CHEEP_ERROR_MISMATCH,
                      "the model's scores for the golden window differ from those in training");
    }
    return CHEEP_OK;
}

cheep_status cheep_app_boot(cheep_app *app, const cheep_app_spec *spec, void *memory, size_t memory_bytes,
                            cheep_ring *ring, const cheep_app_handlers *handlers)
{
    memset(app, 0, sizeof *app);
    app->spec = spec;
    app->ring = ring;
    app->handlers = *handlers;
    app->failure = "";
    cheep_status status = check_settings(app, memory_bytes);
    if (status != CHEEP_OK) {
        return status;
    }
    uint8_t *at = memory;
    size_t n_mels = spec->frontend->n_mels;
    size_t frontend = aligned(cheep_frontend_memory_bytes(spec->frontend));
    status = check_frontend(app, at, frontend);
    if (status != CHEEP_OK) {
        return status;
    }
    at += frontend;
    app->events = (cheep_event *)(void *)at;
    at += aligned(spec->detector->n_classes * sizeof(cheep_event));
    app->column = (float *)(void *)at;
    at += aligned(n_mels * sizeof(float));
    app->quantized = (int8_t *)at;
    at += aligned(n_mels);
    cheep_columns_init(&app->columns, (int8_t *)at, spec->window_frames, spec->frontend->n_mels);
    status = cheep_detector_init(&app->detector, spec->detector);
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_DETECTOR, status, "the detector refuses the settings of detector_settings.h");
    }
    status = check_model(app);
    if (status != CHEEP_OK) {
        return status;
    }
    cheep_app_forget(app);
    app->next_report = (uint64_t)REPORT_SECONDS * spec->frontend->sample_rate_hz;
    return CHEEP_OK;
}

static void keep_worst(uint32_t *worst, uint32_t begun_us)
{
    uint32_t took = cheep_hal_clock_us() - begun_us; /* right across one wrap of the clock */
    if (took > *worst) {
        *worst = took;
    }
}

/* First sample of a window, counted from boot. A window before the last gap is dated as if there had been none. */
static uint64_t window_start(const cheep_app *app, uint64_t window)
{
    const cheep_app_spec *spec = app->spec;
    int64_t stride = (int64_t)spec->stride_frames * spec->frontend->hop_samples;
    int64_t start = (int64_t)app->origin + ((int64_t)window - (int64_t)app->segment_window) * stride;
    return start < 0 ? 0u : (uint64_t)start;
}

static void report_events(cheep_app *app, uint16_t n)
{
    const cheep_event *events = app->events;
    const cheep_app_spec *spec = app->spec;
    uint64_t span = spec->frontend->frame_samples +
                    (uint64_t)(spec->window_frames - 1u) * spec->frontend->hop_samples;
    for (uint16_t i = 0; i < n && app->handlers.event != NULL; i++) {
        cheep_app_event event;
        const cheep_score_scale *scores = &spec->detector->scores;
        uint16_t smoothing = spec->detector->smoothing;
        event.class_index = events[i].label;
        event.label = spec->labels[events[i].label];
        event.ended = events[i].ended;
        event.start_sample = window_start(app, events[i].first_window);
        event.end_sample = window_start(app, events[i].last_window) + span;
        event.score_e6 = cheep_scores_sum_e6(scores, events[i].peak_sum, smoothing);
        event.has_logit = scores->kind != CHEEP_SCORES_PROBABILITY;
        event.logit_e3 = event.has_logit ? cheep_scores_value_e3(scores, events[i].peak_sum, smoothing) : 0;
        app->handlers.event(app->handlers.context, app, &event);
    }
}

static void reverse(int8_t *data, size_t n)
{
    for (size_t i = 0; i < n / 2u; i++) {
        int8_t kept = data[i];
        data[i] = data[n - 1u - i];
        data[n - 1u - i] = kept;
    }
}

/* Turn the full ring in place until its oldest column lies first: the window needs no second buffer. */
static const int8_t *straight_window(cheep_columns *columns)
{
    size_t all = (size_t)columns->window_frames * columns->n_mels;
    size_t older = (size_t)columns->next * columns->n_mels; /* bytes before the oldest column */
    if (older > 0u) {
        reverse(columns->data, older);
        reverse(columns->data + older, all - older);
        reverse(columns->data, all);
        columns->next = 0;
    }
    return columns->data;
}

/* Hand a column to the model; true: a window is complete, and scores holds what the model says of it. */
static bool run_model(cheep_app *app, int8_t *scores)
{
    bool complete = --app->until_window == 0u;
    uint32_t begun = cheep_hal_clock_us();
    cheep_status status = CHEEP_OK;
    if (app->by_columns != NULL) {
        status = app->by_columns->push(app->quantized);
        if (complete && status == CHEEP_OK) {
            status = app->by_columns->scores(scores);
        }
    } else {
        cheep_columns_push(&app->columns, app->quantized);
        if (complete) {
            status = cheep_model_invoke(straight_window(&app->columns), scores);
        }
    }
    keep_worst(&app->stats.model_us, begun);
    if (complete) {
        app->until_window = app->spec->stride_frames;
    }
    if (status != CHEEP_OK) {
        app->failed_stage = CHEEP_STAGE_MODEL;
        app->failure = cheep_model_error();
    }
    return complete && status == CHEEP_OK;
}

static void take_scores(cheep_app *app, const int8_t *scores)
{
    if (app->handlers.scores != NULL) {
        app->handlers.scores(app->handlers.context, app, window_start(app, app->detector.windows), scores);
    }
    uint32_t begun = cheep_hal_clock_us();
    uint16_t n = cheep_detector_push(&app->detector, scores, app->events);
    keep_worst(&app->stats.detector_us, begun);
    app->stats.windows_now++;
    report_events(app, n);
}

static void take_column(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    int8_t scores[CHEEP_MAX_CLASSES];
    cheep_quantize(app->column, spec->frontend->n_mels, spec->input_inverse_scale, spec->input_zero_point,
                   app->quantized);
    if (run_model(app, scores)) {
        take_scores(app, scores);
    }
}

void cheep_app_forget(cheep_app *app)
{
    cheep_frontend_reset(&app->frontend);
    cheep_columns_reset(&app->columns);
    cheep_model_forget();
    if (app->by_columns != NULL) {
        app->by_columns->reset();
    }
    app->until_window = app->spec->window_frames;
}

/* Samples were lost here: no column and no window may join what lies on the two sides. */
static void take_gap(cheep_app *app, uint32_t lost)
{
    app->samples += lost;
    app->stats.lost_samples += lost;
    cheep_app_forget(app);
    app->origin = app->samples;
    app->segment_window = app->detector.windows;
}

static void report_statistics(cheep_app *app)
{
    cheep_app_stats stats = app->stats;
    stats.sample = app->samples;
    stats.windows = app->detector.windows;
    stats.overruns = app->ring->overruns;
    uint64_t lost = app->stats.lost_samples;
    memset(&app->stats, 0, sizeof app->stats);
    app->stats.lost_samples = lost;
    while (app->next_report <= app->samples) {
        app->next_report += (uint64_t)REPORT_SECONDS * app->spec->frontend->sample_rate_hz;
    }
    if (app->handlers.stats != NULL) {
        app->handlers.stats(app->handlers.context, app, &stats);
    }
}

size_t cheep_app_poll(cheep_app *app, size_t max_samples)
{
    size_t done = 0;
    uint32_t waiting = cheep_ring_waiting(app->ring);
    if (waiting > app->stats.worst_waiting) {
        app->stats.worst_waiting = waiting;
    }
    while (done < max_samples) {
        const int16_t *pcm = NULL;
        size_t n = cheep_ring_peek(app->ring, &pcm);
        if (n == 0u) {
            uint32_t lost = cheep_ring_take_gap(app->ring);
            if (lost == 0u) {
                break;
            }
            take_gap(app, lost);
        } else {
            bool ready = false;
            n = n < max_samples - done ? n : max_samples - done;
            uint32_t begun = cheep_hal_clock_us();
            size_t used = cheep_frontend_push(&app->frontend, pcm, n, app->column, &ready);
            if (ready) {
                keep_worst(&app->stats.frontend_us, begun);
            }
            cheep_ring_consume(app->ring, used);
            app->samples += used;
            done += used;
            if (ready) {
                take_column(app);
            }
        }
        if (app->samples >= app->next_report) {
            report_statistics(app);
        }
    }
    return done;
}

void cheep_app_finish(cheep_app *app)
{
    report_events(app, cheep_detector_flush(&app->detector, app->events));
}
