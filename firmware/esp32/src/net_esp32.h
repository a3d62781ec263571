/* SPDX-License-Identifier: MIT */
/* Wi-Fi and MQTT (CHEEP_MQTT): events and state to a broker, through a queue in the partition "events". All functions are
 * called by the main task. */
#ifndef NET_ESP32_H
#define NET_ESP32_H

#include "cheep_app.h"

/* Without settings it only waits for them on the serial line. */
void net_start(const cheep_app_spec *spec);
void net_event(const cheep_app *app, const cheep_app_event *event, bool hearing);
void net_level(int32_t level_e1);
void net_microphone(cheep_microphone state);
/* Take what has come from the serial line and the network; at every turn of the main loop. */
void net_poll(void);

#endif
