/* SPDX-License-Identifier: MIT */
#include "cheep_verify.h"

#include <string.h>

#include "cheep_detector.h"

static size_t aligned(size_t bytes)
{
    return (bytes + 7u) & ~(size_t)7u;
}

static uint32_t capacity_of(const cheep_verify_spec *spec)
{
    const cheep_frontend_spec *frontend = spec->frontend;
    return CHEEP_VERIFY_WINDOW_SAMPLES((uint32_t)frontend->frame_samples, (uint32_t)frontend->hop_samples,
                                       (uint32_t)spec->window_frames) +
           spec->behind_samples;
}

size_t cheep_verify_memory_bytes(const cheep_verify_spec *spec)
{
    if (spec->frontend == NULL || spec->frontend->compression != CHEEP_COMPRESSION_DB || spec->window_frames < 1u ||
        spec->n_outputs < 1u || spec->n_outputs > CHEEP_CLASS_LIMIT || spec->invoke == NULL ||
        cheep_frontend_memory_bytes(spec->frontend) == 0u ||
        cheep_frontend_memory_bytes(spec->frontend) > spec->scratch_bytes) {
        return 0;
    }
    const size_t n_mels = spec->frontend->n_mels;
    return aligned(capacity_of(spec) * sizeof(int16_t)) + aligned(n_mels * sizeof(float)) +
           aligned(n_mels * spec->window_frames);
}

cheep_status cheep_verify_init(cheep_verify *v, const cheep_verify_spec *spec, uint16_t n_classes, void *memory)
{
    if (cheep_verify_memory_bytes(spec) == 0u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    for (uint16_t c = 0; c < n_classes; c++) {
        if (spec->output[c] >= spec->n_outputs) {
            return CHEEP_ERROR_ARGUMENT;
        }
    }
    uint8_t *at = memory;
    v->spec = spec;
    v->n_classes = n_classes;
    v->capacity = capacity_of(spec);
    v->pcm = (int16_t *)(void *)at;
    at += aligned(v->capacity * sizeof(int16_t));
    v->column = (float *)(void *)at;
    at += aligned(spec->frontend->n_mels * sizeof(float));
    v->window = (int8_t *)at;
    cheep_verify_reset(v);
    return CHEEP_OK;
}

void cheep_verify_reset(cheep_verify *v)
{
    v->next = 0;
    v->held = 0;
}

void cheep_verify_push(cheep_verify *v, const int16_t *pcm, size_t n)
{
    if (n > v->capacity) {
        pcm += n - v->capacity;
        n = v->capacity;
    }
    const size_t first = n < v->capacity - v->next ? n : v->capacity - v->next;
    memcpy(v->pcm + v->next, pcm, first * sizeof *pcm);
    memcpy(v->pcm, pcm + first, (n - first) * sizeof *pcm);
    v->next = (uint32_t)((v->next + n) % v->capacity);
    v->held = v->held + n < v->capacity ? (uint32_t)(v->held + n) : v->capacity;
}

bool cheep_verify_asks(const cheep_verify *v, const int8_t *scores)
{
    int16_t units[CHEEP_MAX_CLASSES];
    cheep_scores_units(&v->spec->first, scores, v->n_classes, units);
    for (uint16_t c = 0; c < v->n_classes; c++) {
        if (v->spec->ask[c] != CHEEP_VERIFY_NEVER && units[c] >= v->spec->ask[c]) {
            return true;
        }
    }
    return false;
}

/* The columns of the window in the middle, from the samples of the ring: the oldest one is its first. */
static cheep_status make_window(cheep_verify *v)
{
    const cheep_verify_spec *spec = v->spec;
    const size_t n_mels = spec->frontend->n_mels;
    cheep_frontend frontend;
    uint32_t at = v->next; /* the ring is full */
    uint16_t columns = 0;
    const cheep_status status = cheep_frontend_init(&frontend, spec->frontend, spec->scratch(), spec->scratch_bytes);
    if (status != CHEEP_OK) {
        return status;
    }
    while (columns < spec->window_frames) {
        bool ready = false;
        at += (uint32_t)cheep_frontend_push(&frontend, v->pcm + at, v->capacity - at, v->column, &ready);
        at = at == v->capacity ? 0u : at;
        if (ready) {
            cheep_quantize(v->column, n_mels, spec->input_inverse_scale, spec->input_zero_point,
                           v->window + columns * n_mels);
            columns++;
        }
    }
    return CHEEP_OK;
}

cheep_status cheep_verify_run(cheep_verify *v, int8_t *scores)
{
    int8_t outputs[CHEEP_CLASS_LIMIT];
    if (v->held < v->capacity) { /* the first network's window is no shorter: this is no window of samples */
        return CHEEP_ERROR_ARGUMENT;
    }
    cheep_status status = make_window(v);
    if (status == CHEEP_OK) {
        status = v->spec->invoke(v->window, outputs);
    }
    for (uint16_t c = 0; c < v->n_classes && status == CHEEP_OK; c++) {
        scores[c] = cheep_verify_mean(v->spec, scores[c], outputs[v->spec->output[c]]);
    }
    return status;
}

int8_t cheep_verify_mean(const cheep_verify_spec *spec, int8_t first, int8_t second)
{
    const int64_t sum = (int64_t)spec->first_weight * first + (int64_t)spec->second_weight * second + spec->offset;
    const int64_t mean = (sum + ((int64_t)1 << 40)) / 65536 - ((int64_t)1 << 24); /* a division of what is above 0 */
    return (int8_t)(mean < INT8_MIN ? INT8_MIN : mean > INT8_MAX ? INT8_MAX : mean);
}

void cheep_verify_idle(const cheep_verify *v, int8_t *scores)
{
    for (uint16_t c = 0; c < v->n_classes; c++) {
        scores[c] = cheep_verify_mean(v->spec, scores[c], v->spec->idle[c]);
    }
}
