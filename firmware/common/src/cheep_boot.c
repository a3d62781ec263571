/* SPDX-License-Identifier: MIT */
/* What a board proves about itself before it listens. */
#include "cheep_boot.h"

#include <string.h>

#include "cheep_model.h"
#include "cheep_selfcheck.h"
#include "hal.h"

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
    cheep_hal_alive();
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
    const uint32_t begun = cheep_hal_clock_us();
    status = golden_scores(app, scores);
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_GOLDEN, status, cheep_model_error());
    }
    app->window_us = cheep_hal_clock_us() - begun;
    if (memcmp(scores, spec->golden_scores, spec->detector->n_classes) != 0) {
        return refuse(app, CHEEP_STAGE_GOLDEN, CHEEP_ERROR_MISMATCH,
                      "the model's scores for the golden window differ from those in training");
    }
    return CHEEP_OK;
}

/* A network that takes longer than its stride would fall behind from the first window on. */
static void check_time(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    uint64_t us = app->window_us;
    if (app->by_columns != NULL) {
        us = us * spec->stride_frames / spec->window_frames;
    }
    if (app->handlers.slow == NULL) {
        return;
    }
    if (us * spec->frontend->sample_rate_hz > (uint64_t)spec->stride_frames * spec->frontend->hop_samples * 1000000u) {
        (void)cheep_app_run_fewer(app);
        app->slow_untold = true;
    }
}

cheep_status cheep_app_boot(cheep_app *app, const cheep_app_spec *spec, void *memory, size_t memory_bytes,
                            cheep_ring *ring, const cheep_app_handlers *handlers)
{
    memset(app, 0, sizeof *app);
    app->spec = spec;
    app->ring = ring;
    app->handlers = *handlers;
    app->failure = "";
    app->every = 1;
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
    check_time(app);
    cheep_app_forget(app);
    app->next_report = (uint64_t)CHEEP_REPORT_SECONDS * spec->frontend->sample_rate_hz;
    return CHEEP_OK;
}
