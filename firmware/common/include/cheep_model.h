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

/* Bytes of working memory in use (arena or static plan). */
size_t cheep_model_memory_bytes(void);

/* One line about the last failure, never NULL. */
const char *cheep_model_error(void);

#ifdef __cplusplus
}
#endif
#endif
