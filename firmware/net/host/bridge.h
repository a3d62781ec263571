/* SPDX-License-Identifier: MIT */
/* Queue and uplink on a computer, for cheep.mqtt (Python): the transport is the caller's. */
#ifndef BRIDGE_H
#define BRIDGE_H

#include "cheep_uplink.h"

typedef struct bridge bridge;
typedef int32_t (*bridge_publish)(void *context, const char *topic, const char *payload, size_t n, int qos, bool retain);

/* NULL: no memory, or *status says it. Texts are copied. discovery "": none. */
bridge *bridge_open(const char *queue_path, uint32_t sectors, uint32_t new_id, const char *id, const char *name,
                    const char *board, const char *version, const char *discovery, bridge_publish publish,
                    cheep_status *status);
void bridge_close(bridge *b);
void bridge_connected(bridge *b);
void bridge_disconnected(bridge *b);
void bridge_acknowledged(bridge *b, int32_t message);
cheep_status bridge_add(bridge *b, const cheep_uplink_event *event);
void bridge_set(bridge *b, const cheep_uplink_state *state);
bool bridge_idle(const bridge *b);
uint32_t bridge_waiting(const bridge *b);
uint32_t bridge_refused(const bridge *b);
uint32_t bridge_next(const bridge *b);

#endif
