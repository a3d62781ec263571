/* SPDX-License-Identifier: MIT */
/* What a plain board is to main.c, in at most 150 lines of its own: a clock, a line to write to, a microphone.
 * Its figures stand in NAME.json. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

/* "rp2350": as in its data file. */
extern const char board_name[];

/* Clocks, serial line, a free-running clock of microseconds behind cheep_hal_clock_us. */
void board_start(void);

/* Samples at rate_hz (16 kHz or more) through board_samples from an interrupt, from now on. Returns 0, or what is wrong. */
const char *board_microphone(uint32_t rate_hz);

/* main.c: n samples of the microphone, as they come; `dropped` were lost before them. Called from one interrupt. */
void board_samples(int16_t *pcm, size_t n, uint32_t dropped);

/* A line, with its newline. May wait. */
void board_write(const char *line, size_t n);

/* Sleep until the next interrupt, at most about a second. */
void board_wait(void);

/* The watchdog, if there is one: started by the first call, for at least 8 s. */
void board_feed(void);

#endif
