/* SPDX-License-Identifier: MIT */
/* The model that main.c works with: the one that the firmware was built with, or (built with -DCHEEP_CARD_MODELS) one that
 * came with the card (docs/card.md). */
#ifndef MODEL_IN_USE_H
#define MODEL_IN_USE_H

#include "cheep_generated.h"

#if defined(CHEEP_CARD_MODELS)
#include "cheep_image.h"

extern const cheep_image_entry *model_in_use;

#define MODEL_SPEC (model_in_use->spec)
#define MODEL_MEMORY (model_in_use->memory)
#define MODEL_MEMORY_BYTES (model_in_use->memory_bytes)
#define MODEL_HYSTERESIS (model_in_use->hysteresis)
#define MODEL_CLASSES (model_in_use->spec->detector->n_classes)
#define MOST_CLASSES CHEEP_MAX_CLASSES

/* Look for a new MODEL.BIN on the card (which must be mounted), take it in if it is good, and choose the model in use. The
 * log on the card says what became of it. */
void model_choose(cheep_app *app, cheep_ring *ring);

/* The model in use refuses to start: true, if another one, the one built in, is in use now. */
bool model_fall_back(void);
#else
#define MODEL_SPEC (&cheep_generated_app)
#define MODEL_MEMORY (moth.memory)
#define MODEL_MEMORY_BYTES (sizeof moth.memory)
#define MODEL_HYSTERESIS CHEEP_DETECTOR_HYSTERESIS
#define MODEL_CLASSES CHEEP_MODEL_CLASSES
#define MOST_CLASSES CHEEP_MODEL_CLASSES
#endif
#endif
