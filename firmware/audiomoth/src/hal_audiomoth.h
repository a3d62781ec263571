/* SPDX-License-Identifier: MIT */
/* What main.c needs of the board besides the vendor's library. */
#ifndef HAL_AUDIOMOTH_H
#define HAL_AUDIOMOTH_H

#include <stdbool.h>
#include <stdint.h>

#include "cheep_ring.h"

/* Cycle counter on, stack painted. Call first. */
void hal_start(void);

/* Microphone at 192 kHz by DMA -> 24 kHz -> the model's rate, into the ring. */
void hal_microphone_start(cheep_ring *ring, unsigned gain);
void hal_microphone_stop(void);

/* The switch has moved since hal_start. */
bool hal_switch_moved(void);

/* Battery in millivolts (a step of 100; 0 where the hardware cannot tell). */
uint32_t hal_battery_mv(void);

/* Millidegrees, or FIELD_NO_TEMPERATURE. Not while the microphone runs: it shares the converter. */
int32_t hal_temperature_mc(void);

/* The device's unique number. */
void hal_identity(uint32_t *high, uint32_t *low);

#endif
