/* SPDX-License-Identifier: MIT */
/* Restarts that nobody wanted: said, and after the third in a row the board starts without what may have caused them. */
#ifndef RESTART_ESP32_H
#define RESTART_ESP32_H

#include <stdbool.h>

/* At boot, once. Says why the board has started again, where that was a fault. False: the third time in a row or a later
 * one; network and card are better left out, the microphone and the lines stay. */
bool restart_is_calm(void);

/* The board has run for long enough: the next fault counts as the first. */
void restart_settled(void);

#endif
