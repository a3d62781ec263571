/* SPDX-License-Identifier: MIT */
#ifndef DOWNLOAD_ESP32_H
#define DOWNLOAD_ESP32_H

#include <stdint.h>

/* Fetch the application that an order names (cheep_update.h) in a task of its own, and restart in it; one at a time. Copies
 * the order; ca: PEM that stays, "" for the authorities that ESP-IDF brings. */
void download_start(const char *order, uint32_t n, const char *ca);

#endif
