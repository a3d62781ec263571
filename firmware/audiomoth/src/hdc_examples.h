/* SPDX-License-Identifier: MIT */
/* The hyperdimensional head on an AudioMoth (build with -DCHEEP_HDC): at every start new classes are learned from the
 * card, EXAMPLES/<class>/<anything>.WAV (16-bit mono PCM at the model's rate; anything else is left out with a line in
 * the log). Nothing is stored: the card is the memory. Events go to the log as JSON lines (cheep_hdc_app.h). */
#ifndef HDC_EXAMPLES_H
#define HDC_EXAMPLES_H

#include "cheep_app.h"

/* With the card mounted and the application booted: teach. The application has then heard the examples: boot it again
 * before listening. False: the head refuses its headers (the log says so). */
bool hdc_examples_learn(cheep_app *app);

/* cheep_app_handlers.scores: the "scores" are the embedding. */
void hdc_examples_window(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *embedding);

#endif
