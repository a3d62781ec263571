/* SPDX-License-Identifier: MIT */
#include "cheep_hdc.h"

#include <string.h>

#include "cheep_hdc_internal.h"
#include "cheep_hdc_kernels.h"
#include "cheep_hdc_lanes.h"
#include "cheep_hdc_project.h"

static size_t aligned(size_t bytes)
{
    return (bytes + 7u) & ~(size_t)7u;
}

static bool valid(const cheep_hdc_spec *s)
{
    return s != NULL && s->n_dims >= 1u && s->n_dims <= CHEEP_HDC_MAX_DIMS && s->hyper >= CHEEP_HDC_MIN_HYPER &&
           s->hyper <= CHEEP_HDC_MAX_HYPER && s->hyper % 256u == 0u && s->projection <= CHEEP_HDC_HADAMARD &&
           s->form <= CHEEP_HDC_BINARY && s->similarity <= CHEEP_HDC_DOT && s->shift <= 20u && s->gain_shift >= 1u &&
           s->gain_shift <= 20u && s->center != NULL && s->gain != NULL && s->n_classes <= CHEEP_HDC_MAX_CLASSES &&
           (s->n_classes == 0u || s->prototypes != NULL) && (s->n_reminders == 0u || s->reminders != NULL);
}

static size_t query_bytes(const cheep_hdc_spec *s)
{
    return s->form == CHEEP_HDC_BINARY ? s->hyper / 8u : s->hyper * (size_t)2u;
}

size_t cheep_hdc_memory_bytes(const cheep_hdc_spec *spec, uint16_t n_slots)
{
    if (!valid(spec) || spec->n_classes + n_slots > CHEEP_HDC_MAX_CLASSES) {
        return 0;
    }
    size_t slot = aligned(spec->hyper * sizeof(int16_t)) + aligned(hdc_vector_words(spec) * sizeof(uint32_t));
    return aligned(cheep_hdc_padded_dims(spec) * sizeof(int16_t)) + aligned(query_bytes(spec)) +
           aligned(cheep_hdc_scratch_bytes(spec)) + aligned((size_t)(spec->n_classes + n_slots) * sizeof(uint32_t)) +
           aligned(n_slots * sizeof(cheep_hdc_slot)) + n_slots * slot;
}

/* floor(sqrt(x)), x < 2^36 */
static uint32_t root(uint64_t x)
{
    uint64_t result = 0;
    for (uint64_t bit = (uint64_t)1 << 34; bit != 0u; bit >>= 2) {
        if (x >= result + bit) {
            x -= result + bit;
            result = (result >> 1) + bit;
        } else {
            result >>= 1;
        }
    }
    return (uint32_t)result;
}

uint32_t cheep_hdc_inverse(uint32_t norm2)
{
    uint32_t length = root((uint64_t)norm2 << 8);
    length = length < 256u ? 256u : length; /* and below 2^18 */
    uint32_t part = 0x80000000u / length;
    return (part << 7) + ((0x80000000u % length) << 7) / length;
}

static uint32_t inverse_of(const cheep_hdc_spec *spec, const uint32_t *prototype)
{
    uint32_t norm2 = 0;
    for (uint32_t i = 0; spec->form != CHEEP_HDC_BINARY && i < spec->hyper / 4u; i++) {
        int32_t b[4];
        hdc_decode(prototype[i], b);
        norm2 += (uint32_t)(b[0] * b[0] + b[1] * b[1] + b[2] * b[2] + b[3] * b[3]);
    }
    return cheep_hdc_inverse(norm2);
}

void cheep_hdc_clear(cheep_hdc *h)
{
    for (uint16_t i = 0; i < h->n_slots; i++) {
        h->slot[i].used = false;
        h->slot[i].count = 0;
        h->slot[i].overrides = CHEEP_HDC_UNKNOWN;
        memset(h->slot[i].name, 0, sizeof h->slot[i].name);
    }
}

cheep_status cheep_hdc_init(cheep_hdc *h, const cheep_hdc_spec *spec, uint16_t n_slots, void *memory,
                            size_t memory_bytes)
{
    size_t needed = cheep_hdc_memory_bytes(spec, n_slots);
    if (needed == 0u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    if (memory_bytes < needed) {
        return CHEEP_ERROR_MEMORY;
    }
    memset(h, 0, sizeof *h);
    h->spec = spec;
    h->n_slots = n_slots;
    uint8_t *at = memory;
    h->pairs = (uint32_t *)(void *)at;
    at += aligned(cheep_hdc_padded_dims(spec) * sizeof(int16_t));
    h->query = (uint32_t *)(void *)at;
    at += aligned(query_bytes(spec));
    h->scratch = (int16_t *)(void *)at;
    at += aligned(cheep_hdc_scratch_bytes(spec));
    h->inverse = (uint32_t *)(void *)at;
    at += aligned((size_t)(spec->n_classes + n_slots) * sizeof(uint32_t));
    h->slot = (cheep_hdc_slot *)(void *)at;
    at += aligned(n_slots * sizeof(cheep_hdc_slot));
    for (uint16_t i = 0; i < n_slots; i++) {
        h->slot[i].sum = (int16_t *)(void *)at;
        at += aligned(spec->hyper * sizeof(int16_t));
        h->slot[i].prototype = (uint32_t *)(void *)at;
        at += aligned(hdc_vector_words(spec) * sizeof(uint32_t));
    }
    cheep_hdc_clear(h);
    memset(h->query, 0, query_bytes(spec));
    for (uint16_t c = 0; c < spec->n_classes; c++) {
        h->inverse[c] = inverse_of(spec, spec->prototypes + c * hdc_vector_words(spec));
    }
    return CHEEP_OK;
}

void cheep_hdc_encode(cheep_hdc *h, const int8_t *embedding)
{
    const cheep_hdc_spec *spec = h->spec;
    uint32_t padded = cheep_hdc_padded_dims(spec);
    int32_t half = (int32_t)(1u << (spec->gain_shift - 1u));
    int32_t value[2];
    for (uint32_t i = 0; i < padded; i++) {
        value[i % 2u] = 0;
        if (i < spec->n_dims) {
            int32_t x = 16 * embedding[i] - spec->center[i];
            value[i % 2u] = hdc_clip127((x * spec->gain[i] + half) >> spec->gain_shift);
        }
        if (i % 2u == 1u) {
            h->pairs[i / 2u] = hdc_pack(value[0], value[1]);
        }
    }
    cheep_hdc_project(h);
}

/* Element i of a vector of 32-element words. */
static inline int32_t bit_of(const uint32_t *words, uint32_t i)
{
    uint32_t at = ((i % 32u) >> 1) | ((i & 1u) << 4);
    return (words[i / 32u] >> at) & 1u ? 1 : -1;
}

void cheep_hdc_query_group(const cheep_hdc *h, uint32_t group, int32_t *b)
{
    if (h->spec->form == CHEEP_HDC_BINARY) {
        for (uint32_t j = 0; j < 4u; j++) {
            b[j] = bit_of(h->query, 4u * group + j);
        }
        return;
    }
    const uint32_t *pair = h->query + 2u * group;
    b[1] = hdc_low(pair[0]);
    b[3] = hdc_high(pair[0]);
    b[0] = (hdc_low(pair[1]) + b[1]) >> 8;
    b[2] = (hdc_high(pair[1]) + b[3]) >> 8;
}

void cheep_hdc_query_values(const cheep_hdc *h, int8_t *hv)
{
    for (uint32_t group = 0; group < h->spec->hyper / 4u; group++) {
        int32_t b[4];
        cheep_hdc_query_group(h, group, b);
        for (uint32_t j = 0; j < 4u; j++) {
            hv[4u * group + j] = (int8_t)b[j];
        }
    }
}

/* query . prototype; 512 elements at a time, so that 256 x the sum stays within 32 bits */
static int32_t dot(const uint32_t *query, const uint32_t *prototype, uint32_t hyper)
{
    int32_t total = 0;
    for (uint32_t left = hyper; left > 0u;) {
        uint32_t now = left < 512u ? left : 512u;
        total += hdc_dot(query, prototype, now / 32u) >> 8;
        query += now / 2u;
        prototype += now / 4u;
        left -= now;
    }
    return total;
}

/* Bits in which two vectors differ: words are counted in nibbles by threes, then in bytes. */
static uint32_t differing(const uint32_t *a, const uint32_t *b, uint32_t words)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < words; i += 8u) { /* words is a multiple of 8 */
        uint32_t bytes = 0;
        for (uint32_t j = 0; j < 8u; j += 4u) {
            uint32_t x = a[i + j] ^ b[i + j];
            uint32_t y = a[i + j + 1u] ^ b[i + j + 1u];
            uint32_t z = a[i + j + 2u] ^ b[i + j + 2u];
            uint32_t w = a[i + j + 3u] ^ b[i + j + 3u];
            uint32_t one = x ^ y ^ z; /* carry-save: one + 2 two = x + y + z, bit by bit */
            uint32_t two = (x & y) | ((x ^ y) & z);
            uint32_t two_w = one & w;
            one ^= w;
            uint32_t four = two & two_w;
            two ^= two_w;
            one = (one & 0x55555555u) + ((one >> 1) & 0x55555555u);
            two = (two & 0x55555555u) + ((two >> 1) & 0x55555555u);
            four = (four & 0x55555555u) + ((four >> 1) & 0x55555555u);
            one = (one & 0x33333333u) + ((one >> 2) & 0x33333333u);
            two = (two & 0x33333333u) + ((two >> 2) & 0x33333333u);
            four = (four & 0x33333333u) + ((four >> 2) & 0x33333333u);
            one += 2u * two; /* at most 12 in a nibble */
            bytes += (one & 0x0F0F0F0Fu) + ((one >> 4) & 0x0F0F0F0Fu);
            bytes += 4u * ((four & 0x0F0F0F0Fu) + ((four >> 4) & 0x0F0F0F0Fu));
        }
        bytes = (bytes & 0x00FF00FFu) + ((bytes >> 8) & 0x00FF00FFu); /* at most 64 in a byte */
        total += (bytes + (bytes >> 16)) & 0xFFFFu;
    }
    return total;
}

/* Cosine in 1/32768 = dot / (|query| |prototype|), by two multiplications: every step rounds down, which takes off less
 * than 2 units. */
static int32_t score_of(const cheep_hdc *h, const uint32_t *prototype, uint32_t inverse, uint32_t query_inverse)
{
    const cheep_hdc_spec *spec = h->spec;
    int32_t product = spec->form == CHEEP_HDC_BINARY
                          ? (int32_t)spec->hyper - 2 * (int32_t)differing(h->query, prototype, spec->hyper / 32u)
                          : dot(h->query, prototype, spec->hyper);
    if (spec->similarity == CHEEP_HDC_DOT) {
        return product;
    }
    if (spec->form == CHEEP_HDC_BINARY) {
        return product * 32768 / spec->hyper;
    }
    int64_t part = ((int64_t)product * query_inverse) >> 20;
    int64_t cosine = (part * inverse) >> 33;
    return cosine > 32767 ? 32767 : (cosine < -32767 ? -32767 : (int32_t)cosine);
}

static bool overridden(const cheep_hdc *h, uint16_t fixed_class)
{
    for (uint16_t i = 0; i < h->n_slots; i++) {
        if (h->slot[i].used && h->slot[i].overrides == fixed_class) {
            return true;
        }
    }
    return false;
}

void cheep_hdc_compare(const cheep_hdc *h, int32_t *scores, cheep_hdc_result *result)
{
    const cheep_hdc_spec *spec = h->spec;
    uint32_t query_inverse = cheep_hdc_inverse(h->query_norm2);
    cheep_hdc_result best = {CHEEP_HDC_UNKNOWN, CHEEP_HDC_UNKNOWN, CHEEP_HDC_NO_SCORE, CHEEP_HDC_NO_SCORE};
    uint16_t total = (uint16_t)(spec->n_classes + h->n_slots);
    for (uint16_t c = 0; c < total; c++) {
        int32_t score = CHEEP_HDC_NO_SCORE;
        if (c < spec->n_classes) {
            if (!overridden(h, c)) {
                score = score_of(h, spec->prototypes + c * hdc_vector_words(spec), h->inverse[c], query_inverse);
            }
        } else {
            const cheep_hdc_slot *slot = &h->slot[c - spec->n_classes];
            if (slot->used && slot->count > 0u) {
                score = score_of(h, slot->prototype, h->inverse[c], query_inverse);
            }
        }
        if (scores != NULL) {
            scores[c] = score;
        }
        if (score > best.score) {
            best.second = best.score;
            best.score = score;
            best.nearest = c;
        } else if (score > best.second) {
            best.second = score;
        }
    }
    if (result != NULL) {
        best.class_index = best.score >= spec->reject ? best.nearest : CHEEP_HDC_UNKNOWN;
        *result = best;
    }
}

void cheep_hdc_classify(cheep_hdc *h, const int8_t *embedding, cheep_hdc_result *result)
{
    cheep_hdc_encode(h, embedding);
    cheep_hdc_compare(h, NULL, result);
}

void cheep_hdc_detector_scores(const cheep_hdc *h, const int32_t *scores, int8_t *out)
{
    for (uint16_t c = 0; c < h->spec->n_classes + h->n_slots; c++) {
        int32_t cosine = scores[c];
        if (cosine != CHEEP_HDC_NO_SCORE) {
            cosine = (cosine + 128) >> 8;
        }
        out[c] = (int8_t)(cosine < -128 ? -128 : (cosine > 127 ? 127 : cosine));
    }
}
