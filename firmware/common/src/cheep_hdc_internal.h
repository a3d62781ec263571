/* SPDX-License-Identifier: MIT */
/* What the files of the hyperdimensional head share of its state. */
#ifndef CHEEP_HDC_INTERNAL_H
#define CHEEP_HDC_INTERNAL_H

#include <stdint.h>

#include "cheep_hdc.h"

/* Words of one prototype. */
static inline uint32_t hdc_vector_words(const cheep_hdc_spec *spec)
{
    return spec->form == CHEEP_HDC_BINARY ? spec->hyper / 32u : spec->hyper / 4u;
}

/* slot->sum -> slot->prototype and its inverse length; forget all learned classes. */
void cheep_hdc_rebuild(cheep_hdc *h, uint16_t slot);
void cheep_hdc_clear(cheep_hdc *h);

/* 2^38 / floor(16 sqrt(norm2)), norm2 < 2^28; lengths below 16 count as 16. */
uint32_t cheep_hdc_inverse(uint32_t norm2);

/* Elements 4 group .. 4 group + 3 of the query: b[4]. */
void cheep_hdc_query_group(const cheep_hdc *h, uint32_t group, int32_t *b);

#endif
