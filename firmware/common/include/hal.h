/* SPDX-License-Identifier: MIT */
/* The hardware behind Cheep, resolved at link time: ESP32, AudioMoth, host, emulated Cortex-M4F.
 *
 * Audio comes in through a cheep_ring that the board's interrupt (or task) fills; events and
 * statistics go out through the handlers given to cheep_app_boot. What is left is here.
 */
#ifndef CHEEP_HAL_H
#define CHEEP_HAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Microseconds from a free-running clock; wraps at 2^32. Used for measuring, never for dating. */
uint32_t cheep_hal_clock_us(void);

/* Called at boot between pieces of work that may each take long: feed the watchdog. */
void cheep_hal_alive(void);

/* Deepest use of the stack since the start, in bytes; 0 where the board cannot tell. */
uint32_t cheep_hal_stack_bytes(void);

#ifdef __cplusplus
}
#endif
#endif
