/* SPDX-License-Identifier: MIT */
/* The one place that defines what the generated headers declare. */
#include "cheep_generated.h"

#include <generated/golden_window.h>

_Static_assert(CHEEP_GOLDEN_MODEL_ID == CHEEP_MODEL_ID,
               "golden_window.h and model.h are of different models: run cheep model-convert");

static const float window_table[] = CHEEP_MEL_WINDOW;
static const float twiddle_table[] = CHEEP_MEL_TWIDDLE;
static const uint16_t band_start_table[] = CHEEP_MEL_BAND_START;
static const uint16_t band_count_table[] = CHEEP_MEL_BAND_COUNT;
static const float band_weight_table[] = CHEEP_MEL_BAND_WEIGHT;

static const cheep_frontend_spec frontend = {
    .feature_hash = CHEEP_MEL_FEATURE_HASH,
    .sample_rate_hz = CHEEP_MEL_SAMPLE_RATE_HZ,
    .frame_samples = CHEEP_MEL_FRAME_SAMPLES,
    .fft_size = CHEEP_MEL_FFT_SIZE,
    .hop_samples = CHEEP_MEL_HOP_SAMPLES,
    .n_mels = CHEEP_MEL_BANDS,
    .spectrum = CHEEP_MEL_SPECTRUM,
    .compression = CHEEP_MEL_COMPRESSION,
    .weight_count = CHEEP_MEL_WEIGHT_COUNT,
    .twiddle_count = CHEEP_MEL_TWIDDLE_COUNT,
    .window = window_table,
    .twiddle = twiddle_table,
    .band_start = band_start_table,
    .band_count = band_count_table,
    .band_weight = band_weight_table,
    .log_floor = CHEEP_MEL_LOG_FLOOR,
#ifdef CHEEP_MEL_LOG_OFFSET
    .log_offset = CHEEP_MEL_LOG_OFFSET,
#endif
    .pcen_smoothing = CHEEP_MEL_PCEN_SMOOTHING,
    .pcen_gain = CHEEP_MEL_PCEN_GAIN,
    .pcen_bias = CHEEP_MEL_PCEN_BIAS,
    .pcen_power = CHEEP_MEL_PCEN_POWER,
    .pcen_eps = CHEEP_MEL_PCEN_EPS,
};

_Static_assert(sizeof window_table / sizeof(float) == CHEEP_MEL_FRAME_SAMPLES, "the window table is cut off");
_Static_assert(sizeof twiddle_table / sizeof(float) == CHEEP_MEL_TWIDDLE_COUNT, "the twiddle table is cut off");
/* A column of both forms has two values of each band. */
#define TABLE_BANDS (CHEEP_MEL_COMPRESSION == CHEEP_COMPRESSION_BOTH ? CHEEP_MEL_BANDS / 2 : CHEEP_MEL_BANDS)
_Static_assert(sizeof band_start_table / sizeof(uint16_t) == TABLE_BANDS, "the filter bank is cut off");
_Static_assert(sizeof band_count_table / sizeof(uint16_t) == TABLE_BANDS, "the filter bank is cut off");
_Static_assert(sizeof band_weight_table / sizeof(float) == CHEEP_MEL_WEIGHT_COUNT, "the filter bank is cut off");

static const cheep_class_threshold thresholds[] = CHEEP_DETECTOR_THRESHOLDS;

_Static_assert(sizeof thresholds / sizeof thresholds[0] == CHEEP_MODEL_CLASSES, "a threshold is missing");

static const cheep_detector_spec detector = {
    .n_classes = CHEEP_MODEL_CLASSES,
    .smoothing = CHEEP_DETECTOR_SMOOTHING,
    .min_windows = CHEEP_DETECTOR_MIN_WINDOWS,
    .hold_off = CHEEP_DETECTOR_HOLD_OFF,
    .threshold = thresholds,
    .scores = {
        .kind = CHEEP_DETECTOR_SCORES,
#ifdef CHEEP_DETECTOR_VERIFY_ID
        .scale = CHEEP_VERIFY_MEAN_SCALE,
        .zero_point = CHEEP_VERIFY_MEAN_ZERO_POINT,
#else
        .scale = CHEEP_MODEL_OUTPUT_SCALE,
        .zero_point = CHEEP_MODEL_OUTPUT_ZERO_POINT,
#endif
    },
};

#ifdef CHEEP_DETECTOR_GATE_ON_SUM
static const int8_t gate_idle[] = CHEEP_DETECTOR_GATE_IDLE;

_Static_assert(sizeof gate_idle == CHEEP_MODEL_CLASSES, "a score of the gate is missing");

static const cheep_gate_spec gate = {
    .on_sum = CHEEP_DETECTOR_GATE_ON_SUM,
    .first_band = CHEEP_DETECTOR_GATE_FIRST_BAND,
    .floor_shift = CHEEP_DETECTOR_GATE_FLOOR_SHIFT,
    .hold_windows = CHEEP_DETECTOR_GATE_HOLD,
    .idle = gate_idle,
};
#define GATE &gate
#else
#define GATE NULL
#endif

static const char *const labels[] = CHEEP_MODEL_LABELS;

_Static_assert(sizeof labels / sizeof labels[0] == CHEEP_MODEL_CLASSES, "a label is missing");

static const int8_t golden_windows[] = CHEEP_GOLDEN_WINDOWS;
static const int8_t golden_scores[] = CHEEP_GOLDEN_SCORES;

#define WINDOW_BYTES (CHEEP_MODEL_FRAMES * CHEEP_MODEL_MELS)
#define STORED(name, place) {name, CHEEP_GOLDEN_STORED, 0, 0, golden_windows + (place) * WINDOW_BYTES},
#define BOARD(name, low, high) {name, CHEEP_GOLDEN_BOARD, low, high, NULL},
#define NOISE(name) {name, CHEEP_GOLDEN_NOISE, 0, 0, NULL},
static const cheep_golden golden[] = {CHEEP_GOLDEN_LIST(STORED, BOARD, NOISE)};

_Static_assert(sizeof golden_windows == (CHEEP_GOLDEN_STORED_COUNT > 0 ? CHEEP_GOLDEN_STORED_COUNT * WINDOW_BYTES : 1),
               "a golden window is cut off");
_Static_assert(sizeof golden_scores == CHEEP_GOLDEN_COUNT * CHEEP_MODEL_CLASSES, "the golden scores are cut off");
_Static_assert(sizeof golden / sizeof golden[0] == CHEEP_GOLDEN_COUNT, "a golden window is missing");

const cheep_app_spec cheep_generated_app = {
    .version = CHEEP_MODEL_VERSION,
    .model_id = CHEEP_MODEL_ID_TEXT,
    .feature_hash = CHEEP_MODEL_FEATURE_HASH,
    .frontend = &frontend,
    .detector = &detector,
    .gate = GATE,
#ifdef CHEEP_DETECTOR_VERIFY_ID
    .verify = &cheep_generated_verify,
#endif
    .window_frames = CHEEP_MODEL_FRAMES,
    .stride_frames = CHEEP_DETECTOR_STRIDE_FRAMES,
    .keeps_state = CHEEP_MODEL_STATES > 0,
    .input_inverse_scale = CHEEP_MODEL_INPUT_INVERSE_SCALE,
    .input_zero_point = CHEEP_MODEL_INPUT_ZERO_POINT,
    .labels = labels,
    .columns_crc = CHEEP_GOLDEN_COLUMNS_CRC,
    .frontend_crc = CHEEP_GOLDEN_FRONTEND_CRC,
    .golden_detector = &detector,
    .detector_crc = CHEEP_GOLDEN_DETECTOR_CRC,
    .golden = golden,
    .golden_count = CHEEP_GOLDEN_COUNT,
    .golden_scores = golden_scores,
};
