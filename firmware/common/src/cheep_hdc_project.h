/* SPDX-License-Identifier: MIT */
/* The projection of an embedding to a hypervector. */
#ifndef CHEEP_HDC_PROJECT_H
#define CHEEP_HDC_PROJECT_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_hdc.h"

/* The normalized embedding in h->pairs -> h->query and h->query_norm2. */
void cheep_hdc_project(cheep_hdc *h);

/* Padded number of embedding values, scratch of the projection in bytes. */
uint16_t cheep_hdc_padded_dims(const cheep_hdc_spec *spec);
size_t cheep_hdc_scratch_bytes(const cheep_hdc_spec *spec);

#endif
