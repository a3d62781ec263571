/* SPDX-License-Identifier: MIT */
#include "cheep_app.h"

#include <string.h>

#include "cheep_boot.h"
#include "cheep_model.h"
#include "hal.h"

#define SLOW_WINDOWS 3u /* in a row: one may have been held up by something else */
#define MOST_EVERY 1000u

/* Work that began at begun_us is done. */
static void count_work(cheep_app *app, uint32_t *worst, uint32_t begun_us)
{
    uint32_t took = cheep_hal_clock_us() - begun_us; /* right across one wrap of the clock */
    if (took > *worst) {
        *worst = took;
    }
    app->busy_us += took < UINT32_MAX / 2u - app->busy_us ? took : 0u;
}

/* First sample of a window, counted from boot. A window before the last gap is dated as if there had been none. */
static uint64_t window_start(const cheep_app *app, uint64_t window)
{
    const cheep_app_spec *spec = app->spec;
    int64_t stride = (int64_t)spec->stride_frames * app->every * spec->frontend->hop_samples;
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

cheep_status cheep_app_run_window(const cheep_app *app, const int8_t *window, int8_t *scores)
{
    cheep_status status = CHEEP_OK;
    app->by_columns->reset();
    for (size_t i = 0; i < app->spec->window_frames && status == CHEEP_OK; i++) {
        status = app->by_columns->push(window + i * app->spec->frontend->n_mels);
    }
    return status == CHEEP_OK ? app->by_columns->scores(scores) : status;
}

/* The scores of the window that ends with the last column. A network that is fed with columns gets all of them again
 * where the gate had closed. */
static cheep_status score_window(cheep_app *app, int8_t *scores)
{
    if (app->by_columns == NULL) {
        return cheep_model_invoke(straight_window(&app->columns), scores);
    }
    if (app->behind) {
        app->behind = false;
        return cheep_app_run_window(app, straight_window(&app->columns), scores);
    }
    return app->by_columns->scores(scores);
}

/* Ask the second network about a window that the first one lets through. The two share their working memory, so that a
 * first network that is fed with columns must be given the next window from its start. */
static cheep_status verify_window(cheep_app *app, bool rested, int8_t *scores)
{
    if (rested || !cheep_verify_asks(&app->verify, scores)) {
        cheep_verify_idle(&app->verify, scores);
        return CHEEP_OK;
    }
    app->behind = true;
    app->stats.verified++;
    return cheep_verify_run(&app->verify, scores);
}

/* Hand a column to the model, the last one of a window or not; true: scores holds what the model says of the window, or
 * what stands for it where the gate is closed. */
static bool run_model(cheep_app *app, bool complete, int8_t *scores)
{
    const cheep_gate_spec *gate = app->spec->gate;
    const bool verified = app->spec->verify != NULL;
    uint32_t begun = cheep_hal_clock_us();
    cheep_status status = CHEEP_OK;
    if (gate != NULL) {
        cheep_gate_push(&app->gate, app->quantized);
    }
    if (gate != NULL || verified || app->by_columns == NULL) {
        cheep_columns_push(&app->columns, app->quantized);
    }
    if (app->by_columns != NULL && !app->behind) {
        status = app->by_columns->push(app->quantized);
    }
    if (complete && status == CHEEP_OK) {
        const uint32_t last = cheep_hal_clock_us();
        const bool rested = gate != NULL && !cheep_gate_window(&app->gate);
        if (rested) {
            memcpy(scores, gate->idle, app->spec->detector->n_classes);
            app->behind = true;
            app->stats.idle++;
        } else {
            status = score_window(app, scores);
        }
        if (verified && status == CHEEP_OK) {
            status = verify_window(app, rested, scores);
        }
        app->scores_us = cheep_hal_clock_us() - last;
    }
    count_work(app, &app->stats.model_us, begun);
    if (status != CHEEP_OK) {
        app->failed_stage = CHEEP_STAGE_MODEL;
        app->failure = cheep_model_error();
    }
    return complete && status == CHEEP_OK;
}

static void next_window_in(cheep_app *app, uint32_t columns)
{
    app->until_window = columns;
    app->span = columns;
    app->busy_us = 0;
}

static uint32_t columns_us(const cheep_app *app, uint32_t columns)
{
    const cheep_frontend_spec *frontend = app->spec->frontend;
    return (uint32_t)((uint64_t)columns * frontend->hop_samples * 1000000u / frontend->sample_rate_hz);
}

static void tell_slow(cheep_app *app)
{
    const cheep_app_slow slow = {.every = app->every,
                                 .window_us = app->window_us,
                                 .stride_us = columns_us(app, app->spec->stride_frames)};
    app->handlers.slow(app->handlers.context, app, &slow);
}

bool cheep_app_run_fewer(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    const uint32_t every = app->window_us / columns_us(app, spec->stride_frames) + 1u;
    if (spec->keeps_state || every <= app->every) {
        return false;
    }
    app->every = (uint16_t)(every < MOST_EVERY ? every : MOST_EVERY);
    if (app->by_columns != NULL) {
        app->by_columns = NULL; /* it would have to be fed with every column: from here on whole windows */
        cheep_columns_reset(&app->columns);
    }
    return true;
}

/* Behind a window: run fewer from here on. Columns already heard are kept; events that run end here, so that their times
 * are right. */
static void slow_down(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    const uint64_t start = window_start(app, app->detector.windows - 1u);
    const uint32_t before = app->every;
    report_events(app, cheep_detector_flush(&app->detector, app->events));
    if (cheep_app_run_fewer(app)) {
        uint32_t columns = (uint32_t)spec->stride_frames * app->every;
        const uint32_t missing = (uint32_t)(spec->window_frames - app->columns.count);
        columns = columns < missing ? missing : columns;
        next_window_in(app, columns);
        app->stats.skipped += columns / spec->stride_frames - before;
        app->origin = start + (uint64_t)columns * spec->frontend->hop_samples;
        app->segment_window = app->detector.windows;
        tell_slow(app);
    } else if (!app->slow_told) {
        tell_slow(app);
    }
    app->slow_told = true;
}

/* What a window will take from its start, told by the last span columns: what they took as many times as there are of them,
 * and what is done once a window. */
static uint32_t whole_window_us(const cheep_app *app, uint32_t busy_us, uint32_t span)
{
    const uint32_t once = app->scores_us < busy_us ? app->scores_us : busy_us;
    return once + (uint32_t)((uint64_t)(busy_us - once) * app->spec->window_frames / span);
}

/* A window is done, which took busy_us since the one before, span columns ago. Where that is longer than the audio, again
 * and again, the ring would fill for ever. */
static void keep_up(cheep_app *app, uint32_t busy_us, uint32_t span)
{
    if (app->handlers.slow == NULL || busy_us <= columns_us(app, span)) {
        app->slow_windows = 0;
    } else if (++app->slow_windows == SLOW_WINDOWS) {
        app->slow_windows = 0;
        app->window_us = app->by_columns == NULL ? busy_us : whole_window_us(app, busy_us, span);
        slow_down(app);
    }
}

static void take_scores(cheep_app *app, const int8_t *scores)
{
    if (app->handlers.scores != NULL) {
        app->handlers.scores(app->handlers.context, app, window_start(app, app->detector.windows), scores);
    }
    uint32_t begun = cheep_hal_clock_us();
    uint16_t n = cheep_detector_push(&app->detector, scores, app->events);
    count_work(app, &app->stats.detector_us, begun);
    app->stats.windows_now++;
    report_events(app, n);
}

static void take_column(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    int8_t scores[CHEEP_MAX_CLASSES];
    const bool complete = --app->until_window == 0u;
    cheep_quantize(app->column, spec->frontend->n_mels, spec->input_inverse_scale, spec->input_zero_point,
                   app->quantized);
    const bool scored = run_model(app, complete, scores);
    if (scored) {
        take_scores(app, scores);
    }
    if (complete) {
        const uint32_t busy_us = app->busy_us;
        const uint32_t span = app->span;
        next_window_in(app, (uint32_t)spec->stride_frames * app->every);
        app->stats.skipped += app->every - 1u;
        if (scored) {
            keep_up(app, busy_us, span);
        }
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
    if (app->spec->gate != NULL) {
        cheep_gate_reset(&app->gate);
    }
    if (app->spec->verify != NULL) {
        cheep_verify_reset(&app->verify);
    }
    app->behind = app->spec->gate != NULL;
    next_window_in(app, app->spec->window_frames);
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
    stats.input = cheep_levels_take(&app->levels);
    stats.input.dc += app->capture != NULL ? app->capture->offset : 0;
    memset(&app->stats, 0, sizeof app->stats);
    app->stats.lost_samples = stats.lost_samples;
    app->stats.skipped = stats.skipped;
    app->stats.idle = stats.idle;
    app->stats.verified = stats.verified;
    while (app->next_report <= app->samples) {
        app->next_report += (uint64_t)CHEEP_REPORT_SECONDS * app->spec->frontend->sample_rate_hz;
    }
    if (app->handlers.stats != NULL) {
        app->handlers.stats(app->handlers.context, app, &stats);
    }
}

void cheep_app_watch(cheep_app *app, const cheep_capture *capture)
{
    app->capture = capture;
}

static void watch_microphone(cheep_app *app)
{
    cheep_microphone state = app->levels.silent ? CHEEP_MICROPHONE_SILENT : CHEEP_MICROPHONE_HEARD;
    if (app->capture != NULL && __atomic_load_n(&app->capture->in_a_row, __ATOMIC_ACQUIRE) > 0u) {
        state = CHEEP_MICROPHONE_FAILING;
    }
    if (state != app->microphone) {
        app->microphone = state;
        if (app->handlers.microphone != NULL) {
            app->handlers.microphone(app->handlers.context, app, state);
        }
    }
}

size_t cheep_app_poll(cheep_app *app, size_t max_samples)
{
    size_t done = 0;
    if (app->slow_untold) {
        app->slow_untold = false;
        app->slow_told = true;
        tell_slow(app);
    }
    watch_microphone(app);
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
                count_work(app, &app->stats.frontend_us, begun);
            }
            cheep_levels_add(&app->levels, app->spec->frontend->sample_rate_hz, pcm, used);
            if (app->spec->verify != NULL) {
                cheep_verify_push(&app->verify, pcm, used);
            }
            cheep_ring_consume(app->ring, used);
            app->samples += used;
            watch_microphone(app);
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
