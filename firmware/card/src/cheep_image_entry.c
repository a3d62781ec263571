/* SPDX-License-Identifier: MIT */
/* One model with its network, its memory and its entry: linked by itself it is an image, and in a firmware it is the model
 * that the firmware was built with. The compiled network's functions get other names, so that cheep_image_model.c can
 * stand in for them. */
#define cheep_model_init cheep_image_network_init
#define cheep_model_invoke cheep_image_network_invoke
#define cheep_model_forget cheep_image_network_forget
#define cheep_model_by_columns cheep_image_network_by_columns
#define cheep_model_memory_bytes cheep_image_network_memory_bytes
#define cheep_model_error cheep_image_network_error
#include <generated/model_compiled.c>

#include "cheep_generated.h"
#include "cheep_image.h"

static const cheep_image_model network = {
    .init = cheep_model_init,
    .invoke = cheep_model_invoke,
    .forget = cheep_model_forget,
    .by_columns = cheep_model_by_columns,
    .memory_bytes = cheep_model_memory_bytes,
    .error = cheep_model_error,
};

static _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];

extern const cheep_image_entry cheep_image_built_in;
_Alignas(8) const cheep_image_entry cheep_image_built_in = {
    .spec = &cheep_generated_app,
    .model = &network,
    .memory = memory,
    .memory_bytes = sizeof memory,
    .hysteresis = CHEEP_DETECTOR_HYSTERESIS,
};
