/* SPDX-License-Identifier: MIT */
/* Wi-Fi as a station, for ever: what keeps it from a network is said, once each until it is there. */
#ifndef WIFI_ESP32_H
#define WIFI_ESP32_H

#include "esp_err.h"

/* `name` must stay; `password` "": an open network. `online` is called in ESP-IDF's task of events, with every address. */
esp_err_t wifi_start(const char *name, const char *password, void (*online)(void));

#endif
