/* SPDX-License-Identifier: MIT */
/* A model that runs in the calling program (TensorFlow Lite Micro through Python) behind cheep_model.h. */
#ifndef CHEEP_MODEL_CALLBACK_H
#define CHEEP_MODEL_CALLBACK_H

#include "cheep_model_check.h"

/* Returns 0 for success. */
typedef int (*cheep_callback_invoke)(const int8_t *window, int8_t *scores);

/* The next window is the first of a recording; NULL for a model without a state. */
typedef void (*cheep_callback_forget)(void);

/* Before the boot: the model as the runtime found it (facts.data and facts.bytes are the file's), the arena
 * that it takes, and the function that runs it. facts.data must stay valid until the boot is over. */
void cheep_callback_model(const cheep_model_facts *found, size_t arena_bytes, cheep_callback_invoke invoke,
                          cheep_callback_forget forget);

/* The second network of a detector that has one; before the boot. */
void cheep_callback_second(cheep_callback_invoke invoke);

/* What model.h asks for. */
size_t cheep_callback_arena_bytes(void);

#endif
