/* SPDX-License-Identifier: MIT */
#include "cheep_model_check.h"

#include <string.h>

#include "cheep_crc32.h"
#include "cheep_text.h"

static cheep_status differ(char *error, const char *what, int64_t expected, int64_t found, cheep_status status)
{
    cheep_text t;
    cheep_text_init(&t, error, CHEEP_MODEL_ERROR_BYTES);
    cheep_text_string(&t, what);
    cheep_text_string(&t, ": model.h says ");
    cheep_text_signed(&t, expected);
    cheep_text_string(&t, ", the model has ");
    cheep_text_signed(&t, found);
    return status;
}

static cheep_status state(char *error, const char *what, cheep_status status)
{
    cheep_text t;
    cheep_text_init(&t, error, CHEEP_MODEL_ERROR_BYTES);
    cheep_text_string(&t, what);
    return status;
}

cheep_status cheep_model_check_data(const cheep_model_facts *expected, const uint8_t *data, size_t bytes, char *error)
{
    if (bytes != expected->bytes) {
        return differ(error, "bytes of the model", (int64_t)expected->bytes, (int64_t)bytes, CHEEP_ERROR_CORRUPT);
    }
    if (cheep_crc32(0, data, bytes) != expected->crc32) {
        return state(error, "checksum of the model's bytes is not that of model.h (another model, or damaged flash)",
                     CHEEP_ERROR_CORRUPT);
    }
    return CHEEP_OK;
}

static int same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

cheep_status cheep_model_check_tensors(const cheep_model_facts *expected, const cheep_model_facts *found, char *error)
{
    if (!found->is_int8) {
        return state(error, "input and output of the model must be int8", CHEEP_ERROR_MISMATCH);
    }
    if (found->input_elements != expected->input_elements) {
        return differ(error, "values in the input", expected->input_elements, found->input_elements,
                      CHEEP_ERROR_MISMATCH);
    }
    if (found->output_elements != expected->output_elements) {
        return differ(error, "values in the output", expected->output_elements, found->output_elements,
                      CHEEP_ERROR_MISMATCH);
    }
    if (found->input_zero_point != expected->input_zero_point) {
        return differ(error, "zero point of the input", expected->input_zero_point, found->input_zero_point,
                      CHEEP_ERROR_MISMATCH);
    }
    if (found->output_zero_point != expected->output_zero_point) {
        return differ(error, "zero point of the output", expected->output_zero_point, found->output_zero_point,
                      CHEEP_ERROR_MISMATCH);
    }
    if (!same_bits(found->input_scale, expected->input_scale)) {
        return state(error, "scale of the input is not that of model.h", CHEEP_ERROR_MISMATCH);
    }
    if (!same_bits(found->output_scale, expected->output_scale)) {
        return state(error, "scale of the output is not that of model.h", CHEEP_ERROR_MISMATCH);
    }
    return CHEEP_OK;
}
