/* SPDX-License-Identifier: MIT */
/* Whole recordings on a host, several frames at a time. Not used on devices. */
#ifndef CHEEP_LANES_H
#define CHEEP_LANES_H

#include "cheep_frontend.h"

/* Bytes of scratch memory for cheep_lanes_run, aligned as malloc does. */
size_t cheep_lanes_scratch_bytes(const cheep_frontend_spec *spec);

/* As cheep_frontend_run, the same bits. max_columns must be more than can be completed, so that all samples are
 * consumed. */
size_t cheep_lanes_run(cheep_frontend *fe, const int16_t *pcm, size_t n, float *columns, size_t max_columns,
                       void *scratch);

#endif
