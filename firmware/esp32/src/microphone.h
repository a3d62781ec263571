/* SPDX-License-Identifier: MIT */
/* A microphone at a rate that its hardware supports; main.c decimates to the model's rate. */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"

esp_err_t microphone_start(uint32_t rate_hz);

/* Waits for samples; *got of at most n int16 samples without offset, amplified by the board's gain. */
esp_err_t microphone_read(int16_t *pcm, size_t n, size_t *got);

/* Samples that the driver has dropped since the last call, because nobody read them in time. */
uint32_t microphone_dropped(void);

/* The microphone's offset, which microphone_read takes away, in units of a sample. */
int32_t microphone_offset(void);

#endif
