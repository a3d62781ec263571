/* SPDX-License-Identifier: MIT */
/* An SD card on SPI (build with -DCHEEP_SD=ON): rows and clips as an AudioMoth writes them (field_keeper.h). */
#ifndef SD_ESP32_H
#define SD_ESP32_H

#include "cheep_app.h"

/* Mount the card. False: none, or not FAT; it is asked for again with a detection, at most once a minute. `ring`: of the application. */
bool sd_start(const cheep_ring *ring);

void sd_event(const cheep_app *app, const cheep_app_event *event);
void sd_poll(const cheep_app *app);

/* For the `stats` line; NULL before sd_start. */
const cheep_app_card *sd_losses(void);

#endif
