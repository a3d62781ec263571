/* SPDX-License-Identifier: MIT */
/* What a runtime says about a model, compared with what the generated header promises. */
#ifndef CHEEP_MODEL_CHECK_H
#define CHEEP_MODEL_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_MODEL_ERROR_BYTES 128

/* One input and one output, as found in the model or as printed in model.h. */
typedef struct {
    const uint8_t *data;     /* the flatbuffer, or NULL where there is none */
    size_t bytes;
    uint32_t crc32;          /* of data (expected only) */
    int is_int8;             /* both tensors */
    uint32_t input_elements; /* window_frames * n_mels */
    uint32_t output_elements;
    float input_scale, output_scale;
    int32_t input_zero_point, output_zero_point;
} cheep_model_facts;

/* Bytes first: length and checksum of the flatbuffer. error[CHEEP_MODEL_ERROR_BYTES] says what differs. */
cheep_status cheep_model_check_data(const cheep_model_facts *expected, const uint8_t *data, size_t bytes,
                                    char *error);

/* Then types, shapes and scales as the runtime reports them. */
cheep_status cheep_model_check_tensors(const cheep_model_facts *expected, const cheep_model_facts *found,
                                       char *error);

#ifdef __cplusplus
}
#endif
#endif
