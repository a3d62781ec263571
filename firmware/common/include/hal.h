/* The hardware behind Cheep, resolved at link time: ESP32, AudioMoth, host, emulated Cortex-M4F. */
#ifndef CHEEP_HAL_H
#define CHEEP_HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Microseconds from a free-running clock; wraps at 2^32. */
uint32_t cheep_hal_clock_us(void);

/* Write text to the log or serial line. */
void cheep_hal_write(const char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif
