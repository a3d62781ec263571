/* SPDX-License-Identifier: MIT */
/* The second network of this firmware, where it has one: what verify.h and verify_filter_bank.h declare. */
#include "cheep_generated.h"

#ifdef CHEEP_DETECTOR_VERIFY_ID
static const float window_table[] = CHEEP_VERIFY_MEL_WINDOW;
static const float twiddle_table[] = CHEEP_VERIFY_MEL_TWIDDLE;
static const uint16_t band_start_table[] = CHEEP_VERIFY_MEL_BAND_START;
static const uint16_t band_count_table[] = CHEEP_VERIFY_MEL_BAND_COUNT;
static const float band_weight_table[] = CHEEP_VERIFY_MEL_BAND_WEIGHT;

static const cheep_frontend_spec frontend = {
    .feature_hash = CHEEP_VERIFY_MEL_FEATURE_HASH,
    .sample_rate_hz = CHEEP_VERIFY_MEL_SAMPLE_RATE_HZ,
    .frame_samples = CHEEP_VERIFY_MEL_FRAME_SAMPLES,
    .fft_size = CHEEP_VERIFY_MEL_FFT_SIZE,
    .hop_samples = CHEEP_VERIFY_MEL_HOP_SAMPLES,
    .n_mels = CHEEP_VERIFY_MEL_BANDS,
    .spectrum = CHEEP_VERIFY_MEL_SPECTRUM,
    .compression = CHEEP_VERIFY_MEL_COMPRESSION,
    .weight_count = CHEEP_VERIFY_MEL_WEIGHT_COUNT,
    .twiddle_count = CHEEP_VERIFY_MEL_TWIDDLE_COUNT,
    .window = window_table,
    .twiddle = twiddle_table,
    .band_start = band_start_table,
    .band_count = band_count_table,
    .band_weight = band_weight_table,
    .log_floor = CHEEP_VERIFY_MEL_LOG_FLOOR,
#ifdef CHEEP_VERIFY_MEL_LOG_OFFSET
    .log_offset = CHEEP_VERIFY_MEL_LOG_OFFSET,
#endif
    .pcen_smoothing = CHEEP_VERIFY_MEL_PCEN_SMOOTHING,
    .pcen_gain = CHEEP_VERIFY_MEL_PCEN_GAIN,
    .pcen_bias = CHEEP_VERIFY_MEL_PCEN_BIAS,
    .pcen_power = CHEEP_VERIFY_MEL_PCEN_POWER,
    .pcen_eps = CHEEP_VERIFY_MEL_PCEN_EPS,
};

_Static_assert(CHEEP_VERIFY_MEL_SAMPLE_RATE_HZ == CHEEP_MEL_SAMPLE_RATE_HZ, "the two networks hear other sample rates");
_Static_assert(sizeof window_table / sizeof(float) == CHEEP_VERIFY_MEL_FRAME_SAMPLES, "the window table is cut off");
_Static_assert(sizeof twiddle_table / sizeof(float) == CHEEP_VERIFY_MEL_TWIDDLE_COUNT, "the twiddle table is cut off");
_Static_assert(sizeof band_start_table / sizeof(uint16_t) == CHEEP_VERIFY_MEL_BANDS, "the filter bank is cut off");
_Static_assert(sizeof band_count_table / sizeof(uint16_t) == CHEEP_VERIFY_MEL_BANDS, "the filter bank is cut off");
_Static_assert(sizeof band_weight_table / sizeof(float) == CHEEP_VERIFY_MEL_WEIGHT_COUNT, "the filter bank is cut off");

static const int16_t ask[] = CHEEP_VERIFY_ASK;
static const uint8_t output[] = CHEEP_VERIFY_OUTPUT_OF;
static const int8_t idle[] = CHEEP_VERIFY_IDLE;

_Static_assert(sizeof ask / sizeof ask[0] == CHEEP_MODEL_CLASSES && sizeof output == CHEEP_MODEL_CLASSES &&
                   sizeof idle == CHEEP_MODEL_CLASSES,
               "verify.h has other classes than model.h");

static const int8_t golden_windows[] = CHEEP_VERIFY_GOLDEN_WINDOWS;
static const int8_t golden_scores[] = CHEEP_VERIFY_GOLDEN_SCORES;

#define WINDOW_BYTES (CHEEP_VERIFY_FRAMES * CHEEP_VERIFY_MEL_BANDS)
#define STORED(name, place) {name, CHEEP_GOLDEN_STORED, 0, 0, golden_windows + (place) * WINDOW_BYTES},
#define BOARD(name, low, high) {name, CHEEP_GOLDEN_BOARD, low, high, NULL},
#define NOISE(name) {name, CHEEP_GOLDEN_NOISE, 0, 0, NULL},
static const cheep_golden golden[] = {CHEEP_VERIFY_GOLDEN_LIST(STORED, BOARD, NOISE)};

_Static_assert(sizeof golden_scores == CHEEP_VERIFY_GOLDEN_COUNT * CHEEP_VERIFY_OUTPUTS, "the golden scores are cut off");

const cheep_verify_spec cheep_generated_verify = {
    .model_id = CHEEP_VERIFY_MODEL_ID_TEXT,
    .frontend = &frontend,
    .window_frames = CHEEP_VERIFY_FRAMES,
    .n_outputs = CHEEP_VERIFY_OUTPUTS,
    .input_inverse_scale = CHEEP_VERIFY_INPUT_INVERSE_SCALE,
    .input_zero_point = CHEEP_VERIFY_INPUT_ZERO_POINT,
    .behind_samples = CHEEP_VERIFY_BEHIND_SAMPLES,
    .first = {
        .kind = CHEEP_VERIFY_FIRST_SCORES,
        .scale = CHEEP_MODEL_OUTPUT_SCALE,
        .zero_point = CHEEP_MODEL_OUTPUT_ZERO_POINT,
    },
    .ask = ask,
    .output = output,
    .idle = idle,
    .first_weight = CHEEP_VERIFY_FIRST_WEIGHT,
    .second_weight = CHEEP_VERIFY_SECOND_WEIGHT,
    .offset = CHEEP_VERIFY_OFFSET,
    .init = cheep_verify_model_init,
    .invoke = cheep_verify_model_invoke,
    .error = cheep_verify_model_error,
    .scratch = cheep_verify_model_scratch,
    .scratch_bytes = CHEEP_VERIFY_MEL_FRONTEND_BYTES,
    .columns_crc = CHEEP_VERIFY_COLUMNS_CRC,
    .frontend_crc = CHEEP_VERIFY_FRONTEND_CRC,
    .golden = golden,
    .golden_count = CHEEP_VERIFY_GOLDEN_COUNT,
    .golden_scores = golden_scores,
};
#endif
