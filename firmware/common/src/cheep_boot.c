/* SPDX-License-Identifier: MIT */
/* What a board proves about itself before it listens. */
#include "cheep_boot.h"

#include <string.h>

#include "cheep_model.h"
#include "cheep_selfcheck.h"
#include "cheep_text.h"
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
           aligned(n_mels * sizeof(float)) + aligned(n_mels) + aligned(window) +
           (spec->gate != NULL ? aligned(CHEEP_GATE_BYTES(n_mels, spec->window_frames)) : 0u) +
           (spec->verify != NULL ? cheep_verify_memory_bytes(spec->verify) : 0u);
}

const char *cheep_stage_name(cheep_stage stage)
{
    switch (stage) {
    case CHEEP_STAGE_SETTINGS: return "settings";
    case CHEEP_STAGE_FRONTEND: return "frontend";
    case CHEEP_STAGE_INPUT: return "input";
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
    uint32_t columns_crc = 0;
    uint32_t int8_crc = 0;
    cheep_status status = cheep_selfcheck_frontend(spec->frontend, spec->input_inverse_scale, spec->input_zero_point,
                                                   memory, memory_bytes, &columns_crc, &int8_crc);
    if (status == CHEEP_OK) {
        status = cheep_frontend_init(&app->frontend, spec->frontend, memory, memory_bytes);
    }
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_FRONTEND, status, "the front end refuses the settings of mel_filter_bank.h");
    }
    if (columns_crc != spec->columns_crc) { /* fused multiplications seldom show in int8, but they would */
        return refuse(app, CHEEP_STAGE_FRONTEND, CHEEP_ERROR_MISMATCH,
                      "the columns of the test sound differ from those in training (tables or compiler flags)");
    }
    if (int8_crc != spec->frontend_crc) {
        return refuse(app, CHEEP_STAGE_INPUT, CHEEP_ERROR_MISMATCH,
                      "the columns of the test sound are right, but not as int8 (scale and zero point of model.h?)");
    }
    return CHEEP_OK;
}

/* What computes the scores, and what is most often wrong with it. */
#if defined(CHEEP_BACKEND_COMPILED)
#define KERNELS "the compiled network (compiler flags?)"
#elif defined(CHEEP_TFLM_ESP)
#define KERNELS "TFLM's kernels (esp-nn?)"
#elif defined(CMSIS_NN)
#define KERNELS "TFLM's kernels (CMSIS-NN?)"
#else
#define KERNELS "TFLM's kernels"
#endif

/* The window of a golden: `made`, n values in columns of n_mels, where it is not stored. */
static const int8_t *golden_window(const cheep_golden *golden, int8_t *made, size_t n, size_t n_mels)
{
    if (golden->kind == CHEEP_GOLDEN_STORED) {
        return golden->window;
    }
    for (size_t i = 0; i < n; i++) {
        if (golden->kind == CHEEP_GOLDEN_NOISE) {
            made[i] = (int8_t)(uint8_t)(((uint32_t)i * 2654435761u) >> 11);
        } else {
            made[i] = (i / n_mels + i % n_mels) % 2u == 0u ? golden->low : golden->high;
        }
    }
    return made;
}

/* Run a window in the way in which the windows of the microphone will be run. */
static cheep_status run_window(const cheep_app *app, const int8_t *window, int8_t *scores)
{
    cheep_hal_alive();
    if (app->by_columns == NULL) {
        cheep_model_forget();
        return cheep_model_invoke(window, scores);
    }
    return cheep_app_run_window(app, window, scores);
}

/* Says which window and score it was: in the memory of the columns, which nobody needs any more. */
static cheep_status refuse_scores(cheep_app *app, const char *name, const char *label, int8_t found, int8_t expected)
{
    const cheep_app_spec *spec = app->spec;
    const size_t bytes = (size_t)spec->window_frames * spec->frontend->n_mels;
    const char *plain = "the model's scores for a golden window differ from those in training: " KERNELS;
    if (bytes < 256u) {
        return refuse(app, CHEEP_STAGE_GOLDEN, CHEEP_ERROR_MISMATCH, plain);
    }
    cheep_text text;
    cheep_text_init(&text, (char *)app->columns.data, 256);
    cheep_text_string(&text, "the model's scores for golden window ");
    cheep_text_string(&text, name);
    cheep_text_string(&text, " differ from those in training (");
    cheep_text_string(&text, label);
    cheep_text_string(&text, ": ");
    cheep_text_signed(&text, found);
    cheep_text_string(&text, ", not ");
    cheep_text_signed(&text, expected);
    cheep_text_string(&text, "): " KERNELS);
    return refuse(app, CHEEP_STAGE_GOLDEN, CHEEP_ERROR_MISMATCH, text.data);
}

static cheep_status check_golden(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    const uint16_t n_classes = spec->detector->n_classes;
    int8_t scores[CHEEP_MAX_CLASSES];
    for (uint16_t i = 0; i < spec->golden_count; i++) {
        const int8_t *expected = spec->golden_scores + (size_t)i * n_classes;
        const int8_t *window = golden_window(&spec->golden[i], app->columns.data,
                                             (size_t)spec->window_frames * spec->frontend->n_mels, spec->frontend->n_mels);
        const uint32_t begun = cheep_hal_clock_us();
        const cheep_status status = run_window(app, window, scores);
        const uint32_t took = cheep_hal_clock_us() - begun;
        if (status != CHEEP_OK) {
            return refuse(app, CHEEP_STAGE_GOLDEN, status, cheep_model_error());
        }
        for (uint16_t c = 0; c < n_classes; c++) {
            if (scores[c] != expected[c]) {
                return refuse_scores(app, spec->golden[i].name, spec->labels[c], scores[c], expected[c]);
            }
        }
        if (i == 0u || took < app->window_us) {
            app->window_us = took; /* the first run fills caches */
        }
    }
    return CHEEP_OK;
}

static cheep_status check_model(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    cheep_status status = cheep_model_init();
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_MODEL, status, cheep_model_error());
    }
    const cheep_model_columns *by_columns = cheep_model_by_columns();
    if (by_columns != NULL && spec->stride_frames % by_columns->stride_frames == 0u) {
        app->by_columns = by_columns;
    }
    return check_golden(app);
}

static cheep_status check_detector(cheep_app *app)
{
    const cheep_app_spec *spec = app->spec;
    cheep_status status = CHEEP_OK;
    if (spec->golden_detector != NULL) {
        status = cheep_detector_init(&app->detector, spec->golden_detector);
        if (status == CHEEP_OK && cheep_selfcheck_detector(&app->detector, app->events) != spec->detector_crc) {
            return refuse(app, CHEEP_STAGE_DETECTOR, CHEEP_ERROR_MISMATCH,
                          "the detector makes other events than on the machine that printed the headers");
        }
    }
    if (status == CHEEP_OK) {
        status = cheep_detector_init(&app->detector, spec->detector);
    }
    return status == CHEEP_OK ? status
                              : refuse(app, CHEEP_STAGE_DETECTOR, status,
                                       "the detector refuses the settings of detector_settings.h");
}

static cheep_status check_gate(cheep_app *app, int16_t *memory)
{
    const cheep_app_spec *spec = app->spec;
    if (spec->gate == NULL) {
        return CHEEP_OK;
    }
    const cheep_status status = cheep_gate_init(&app->gate, spec->gate, spec->frontend->n_mels, spec->window_frames,
                                                spec->stride_frames, memory);
    if (status != CHEEP_OK || spec->keeps_state) {
        return refuse(app, CHEEP_STAGE_SETTINGS, CHEEP_ERROR_ARGUMENT,
                      "the gate of detector_settings.h does not fit the model; calibrate again without it");
    }
    return CHEEP_OK;
}

/* The second network: its front end on the test sound, then its own golden windows, in the memory it shares. */
static cheep_status check_verify(cheep_app *app, void *memory)
{
    const cheep_verify_spec *verify = app->spec->verify;
    int8_t scores[CHEEP_CLASS_LIMIT];
    uint32_t columns_crc = 0;
    uint32_t int8_crc = 0;
    if (verify == NULL) {
        return CHEEP_OK;
    }
    cheep_status status = cheep_verify_init(&app->verify, verify, app->spec->detector->n_classes, memory);
    if (status != CHEEP_OK || app->spec->keeps_state) {
        return refuse(app, CHEEP_STAGE_SETTINGS, CHEEP_ERROR_ARGUMENT,
                      "the second network of verify.h does not fit the first one; calibrate again (--verify)");
    }
    status = cheep_selfcheck_frontend(verify->frontend, verify->input_inverse_scale, verify->input_zero_point,
                                      verify->scratch(), verify->scratch_bytes, &columns_crc, &int8_crc);
    if (status != CHEEP_OK || columns_crc != verify->columns_crc || int8_crc != verify->frontend_crc) {
        return refuse(app, CHEEP_STAGE_FRONTEND, CHEEP_ERROR_MISMATCH,
                      "the second network's columns of the test sound differ from those in training");
    }
    status = verify->init();
    if (status != CHEEP_OK) {
        return refuse(app, CHEEP_STAGE_MODEL, status, verify->error());
    }
    const size_t n_mels = verify->frontend->n_mels;
    for (uint16_t i = 0; i < verify->golden_count; i++) {
        const int8_t *expected = verify->golden_scores + (size_t)i * verify->n_outputs;
        cheep_hal_alive();
        status = verify->invoke(
            golden_window(&verify->golden[i], app->verify.window, verify->window_frames * n_mels, n_mels), scores);
        if (status != CHEEP_OK) {
            return refuse(app, CHEEP_STAGE_GOLDEN, status, verify->error());
        }
        for (uint16_t c = 0; c < verify->n_outputs; c++) {
            if (scores[c] != expected[c]) {
                return refuse_scores(app, verify->golden[i].name, "second network", scores[c], expected[c]);
            }
        }
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
    status = check_detector(app);
    if (status != CHEEP_OK) {
        return status;
    }
    at += aligned((size_t)spec->window_frames * n_mels);
    status = check_gate(app, (int16_t *)(void *)at);
    if (status != CHEEP_OK) {
        return status;
    }
    at += spec->gate != NULL ? aligned(CHEEP_GATE_BYTES(n_mels, spec->window_frames)) : 0u;
    status = check_verify(app, at);
    if (status != CHEEP_OK) {
        return status;
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
