/* SPDX-License-Identifier: MIT */
/* The two places of the application, as ESP-IDF has them. */
#ifndef PLACES_ESP32_H
#define PLACES_ESP32_H

#include "cheep_update.h"

const cheep_places *places_esp32(void);

#endif
