/* SPDX-License-Identifier: MIT */
/* Learning of the hyperdimensional head: sums of hypervectors, and prototypes made from them. */
#include <string.h>

#include "cheep_hdc.h"
#include "cheep_hdc_internal.h"
#include "cheep_hdc_lanes.h"

static cheep_hdc_slot *learned(const cheep_hdc *h, uint16_t class_index)
{
    if (class_index < h->spec->n_classes || class_index >= h->spec->n_classes + h->n_slots) {
        return NULL;
    }
    cheep_hdc_slot *slot = &h->slot[class_index - h->spec->n_classes];
    return slot->used ? slot : NULL;
}

uint16_t cheep_hdc_find(const cheep_hdc *h, const char *name)
{
    for (uint16_t i = 0; i < h->n_slots; i++) {
        if (h->slot[i].used && strncmp(h->slot[i].name, name, CHEEP_HDC_NAME_BYTES) == 0) {
            return (uint16_t)(h->spec->n_classes + i);
        }
    }
    return CHEEP_HDC_UNKNOWN;
}

/* round(127 x / largest), halves away from zero */
static int32_t scaled(int32_t x, int32_t largest)
{
    int32_t size = ((x < 0 ? -x : x) * 254 + largest) / (2 * largest);
    return x < 0 ? -size : size;
}

void cheep_hdc_rebuild(cheep_hdc *h, uint16_t index)
{
    const cheep_hdc_spec *spec = h->spec;
    cheep_hdc_slot *slot = &h->slot[index];
    if (spec->form == CHEEP_HDC_BINARY) {
        memset(slot->prototype, 0, spec->hyper / 8u);
        for (uint32_t i = 0; i < spec->hyper; i++) {
            if (slot->sum[i] >= 0) {
                slot->prototype[i / 32u] |= 1u << (((i % 32u) >> 1) | ((i & 1u) << 4));
            }
        }
        return;
    }
    int32_t largest = 1;
    for (uint32_t i = 0; i < spec->hyper; i++) {
        int32_t size = slot->sum[i] < 0 ? -slot->sum[i] : slot->sum[i];
        largest = size > largest ? size : largest;
    }
    uint32_t norm2 = 0;
    for (uint32_t i = 0; i < spec->hyper / 4u; i++) {
        int32_t b[4];
        for (uint32_t j = 0; j < 4u; j++) {
            b[j] = scaled(slot->sum[4u * i + j], largest);
            norm2 += (uint32_t)(b[j] * b[j]);
        }
        slot->prototype[i] = hdc_code(b[0], b[1], b[2], b[3]);
    }
    h->inverse[spec->n_classes + index] = cheep_hdc_inverse(norm2);
}

static int16_t clip16(int32_t x)
{
    return (int16_t)(x > 32767 ? 32767 : (x < -32767 ? -32767 : x));
}

cheep_status cheep_hdc_add_class(cheep_hdc *h, const char *name, uint16_t *class_index)
{
    size_t length = 0;
    while (length < CHEEP_HDC_NAME_BYTES && name[length] != '\0') {
        length++;
    }
    if (length == 0u || length == CHEEP_HDC_NAME_BYTES || cheep_hdc_find(h, name) != CHEEP_HDC_UNKNOWN) {
        return CHEEP_ERROR_ARGUMENT;
    }
    for (uint16_t i = 0; i < h->n_slots; i++) {
        cheep_hdc_slot *slot = &h->slot[i];
        if (!slot->used) {
            memset(slot->name, 0, sizeof slot->name);
            memcpy(slot->name, name, length);
            memset(slot->sum, 0, h->spec->hyper * sizeof *slot->sum);
            slot->overrides = CHEEP_HDC_UNKNOWN;
            slot->count = 0;
            slot->used = true;
            cheep_hdc_rebuild(h, i);
            *class_index = (uint16_t)(h->spec->n_classes + i);
            return CHEEP_OK;
        }
    }
    return CHEEP_ERROR_MEMORY;
}

cheep_status cheep_hdc_adopt(cheep_hdc *h, uint16_t fixed_class, uint16_t weight, uint16_t *class_index)
{
    const cheep_hdc_spec *spec = h->spec;
    if (fixed_class >= spec->n_classes || weight < 1u || weight > 64u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    for (uint16_t i = 0; i < h->n_slots; i++) {
        if (h->slot[i].used && h->slot[i].overrides == fixed_class) {
            return CHEEP_ERROR_ARGUMENT;
        }
    }
    char name[CHEEP_HDC_NAME_BYTES] = {'=', (char)('0' + fixed_class / 10u), (char)('0' + fixed_class % 10u), '\0'};
    cheep_status status = cheep_hdc_add_class(h, name, class_index);
    if (status != CHEEP_OK) {
        return status;
    }
    uint16_t index = (uint16_t)(*class_index - spec->n_classes);
    cheep_hdc_slot *slot = &h->slot[index];
    const uint32_t *prototype = spec->prototypes + fixed_class * hdc_vector_words(spec);
    slot->overrides = fixed_class;
    slot->count = weight;
    for (uint32_t i = 0; i < spec->hyper; i++) {
        int32_t value;
        if (spec->form == CHEEP_HDC_BINARY) {
            value = (prototype[i / 32u] >> (((i % 32u) >> 1) | ((i & 1u) << 4))) & 1u ? 1 : -1;
        } else {
            int32_t b[4];
            hdc_decode(prototype[i / 4u], b);
            value = b[i % 4u];
        }
        slot->sum[i] = clip16(value * weight);
    }
    cheep_hdc_rebuild(h, index);
    return CHEEP_OK;
}

/* Add the query, times sign, to a class's sum. */
static void add(cheep_hdc *h, cheep_hdc_slot *slot, int32_t sign)
{
    for (uint32_t group = 0; group < h->spec->hyper / 4u; group++) {
        int32_t b[4];
        cheep_hdc_query_group(h, group, b);
        for (uint32_t j = 0; j < 4u; j++) {
            slot->sum[4u * group + j] = clip16(slot->sum[4u * group + j] + sign * b[j]);
        }
    }
    cheep_hdc_rebuild(h, (uint16_t)(slot - h->slot));
}

/* Add the query, times sign, to a class as an example of it. */
static void bundle(cheep_hdc *h, cheep_hdc_slot *slot, int32_t sign)
{
    slot->count = (uint16_t)(slot->count + sign);
    add(h, slot, sign);
}

cheep_status cheep_hdc_learn(cheep_hdc *h, uint16_t class_index, const int8_t *embedding)
{
    cheep_hdc_slot *slot = learned(h, class_index);
    if (slot == NULL || slot->count == UINT16_MAX) {
        return CHEEP_ERROR_ARGUMENT;
    }
    cheep_hdc_encode(h, embedding);
    bundle(h, slot, 1);
    return CHEEP_OK;
}

cheep_status cheep_hdc_unlearn(cheep_hdc *h, uint16_t class_index, const int8_t *embedding)
{
    cheep_hdc_slot *slot = learned(h, class_index);
    if (slot == NULL || slot->count == 0u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    cheep_hdc_encode(h, embedding);
    bundle(h, slot, -1);
    return CHEEP_OK;
}

cheep_status cheep_hdc_refine(cheep_hdc *h, uint16_t class_index, const int8_t *embedding, bool *changed)
{
    cheep_hdc_slot *slot = learned(h, class_index);
    cheep_hdc_result result;
    *changed = false;
    if (slot == NULL || slot->count == UINT16_MAX) {
        return CHEEP_ERROR_ARGUMENT;
    }
    cheep_hdc_classify(h, embedding, &result);
    if (result.nearest == class_index) {
        return CHEEP_OK;
    }
    *changed = true;
    bundle(h, slot, 1);
    cheep_hdc_slot *wrong = result.nearest == CHEEP_HDC_UNKNOWN ? NULL : learned(h, result.nearest);
    if (wrong != NULL && wrong->count > 1u) {
        bundle(h, wrong, -1);
    }
    return CHEEP_OK;
}

uint32_t cheep_hdc_rehearse(cheep_hdc *h, uint16_t passes)
{
    const cheep_hdc_spec *spec = h->spec;
    uint32_t all = 0;
    uint32_t before = UINT32_MAX;
    for (uint16_t pass = 0; pass < passes && all != before; pass++) {
        before = all;
        for (uint32_t i = 0; i < (uint32_t)spec->n_classes * spec->n_reminders; i++) {
            cheep_hdc_result result;
            cheep_hdc_classify(h, spec->reminders + i * spec->n_dims, &result);
            cheep_hdc_slot *wrong = result.nearest == CHEEP_HDC_UNKNOWN ? NULL : learned(h, result.nearest);
            if (wrong != NULL && wrong->overrides != i / spec->n_reminders) {
                add(h, wrong, -1);
                all++;
            }
        }
    }
    return all;
}

cheep_status cheep_hdc_forget(cheep_hdc *h, uint16_t class_index)
{
    cheep_hdc_slot *slot = learned(h, class_index);
    if (slot == NULL) {
        return CHEEP_ERROR_ARGUMENT;
    }
    slot->used = false;
    slot->count = 0;
    slot->overrides = CHEEP_HDC_UNKNOWN;
    memset(slot->name, 0, sizeof slot->name);
    return CHEEP_OK;
}
