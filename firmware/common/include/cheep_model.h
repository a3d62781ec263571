/* SPDX-License-Identifier: MIT */
/* A model behind one interface. TFLM (cheep_model_tflm.cc), the compiled network
 * (model_compiled.c) and the host runtime implement it; exactly one is linked. */
#ifndef CHEEP_MODEL_H
#define CHEEP_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Prepare the model and check it against the generated header (types, shapes, scales, arena).
 * On failure cheep_model_error() says why. */
cheep_status cheep_model_init(void);

/* window: int8 [window_frames][n_mels], oldest column first; scores: int8 [n_classes]. */
cheep_status cheep_model_invoke(const int8_t *window, int8_t *scores);

/* The next window is the first of a recording: a recurrent model's state becomes zero. Nothing for others. A model with
 * a state (CHEEP_MODEL_STATES in model.h) moves it on in each cheep_model_invoke, so its windows must come in the order
 * of time, a stride apart. */
void cheep_model_forget(void);

/* A model that is fed with columns and keeps what it needs of the past: an incremental compiled network, or
 * a recurrent one with its state. After reset, scores exist behind a window of columns, and then behind
 * every further multiple of stride_frames. */
typedef struct {
    uint16_t stride_frames;
    void (*reset)(void);
    cheep_status (*push)(const int8_t *column);  /* int8 [n_mels], each column once, oldest first */
    cheep_status (*scores)(int8_t *scores);      /* int8 [n_classes], of what was pushed since reset */
} cheep_model_columns;

/* NULL: this model wants whole windows. Call after cheep_model_init; cheep_model_invoke forgets the columns. */
const cheep_model_columns *cheep_model_by_columns(void);

/* Bytes of working memory in use (arena or static plan). */
size_t cheep_model_memory_bytes(void);

/* One line about the last failure, never NULL. */
const char *cheep_model_error(void);

#ifdef __cplusplus
}
#endif
#endif
