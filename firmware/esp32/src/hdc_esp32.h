/* SPDX-License-Identifier: MIT */
/* The hyperdimensional head on an ESP32 (build with -DCHEEP_HDC): learned classes live in the partition "hdc", a button
 * and the serial console teach new ones. Everything here runs in the main task. */
#ifndef CHEEP_HDC_ESP32_H
#define CHEEP_HDC_ESP32_H

#include "cheep_app.h"

/* After cheep_app_boot. Says as a JSON line what was loaded or why not. */
void hdc_start(void);

/* Between polls of the application: the button and the console. */
void hdc_poll(void);

/* cheep_app_handlers.scores: the "scores" are the embedding. */
void hdc_window(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *embedding);

#endif
