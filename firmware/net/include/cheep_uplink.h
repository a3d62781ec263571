/* SPDX-License-Identifier: MIT */
/* Events and state of a listening device as MQTT messages, with Home Assistant's discovery (docs/mqtt.md).
 *
 * Topics, under "cheep/" and the device's id:
 *     availability   "online" or "offline", retained; the second also as the connection's last will
 *     state          one JSON object, retained
 *     event          one JSON object for each event, QoS 1, out of the queue, in order, one at a time
 * An event leaves the queue when the broker has acknowledged it: it arrives at least once, and its numbers ("queue",
 * "seq") say which copies are copies.
 *
 * The transport is the caller's (esp-mqtt, a small client, paho on a laptop): it gives messages a number, and says when one
 * has been acknowledged. Not for several threads at once. */
#ifndef CHEEP_UPLINK_H
#define CHEEP_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_queue.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_UPLINK_LABEL_BYTES 65u   /* with its zero; longer labels are cut between characters */
#define CHEEP_UPLINK_TOPIC_BYTES 160u
#define CHEEP_UPLINK_PAYLOAD_BYTES 1280u
#define CHEEP_UPLINK_ID_BYTES 33u

typedef struct {
    bool ended;
    bool has_logit;
    char label[CHEEP_UPLINK_LABEL_BYTES];
    uint64_t start_ms, end_ms;  /* since listening began */
    uint64_t time_s;            /* Unix time at which it was said; 0: the clock is not set */
    uint32_t score_e6;
    int32_t logit_e3;
} cheep_uplink_event;

typedef struct {
    bool hearing;               /* an event lasts */
    bool has_level;
    int32_t level_e1;           /* of the input, 0.1 dB of full scale */
    char microphone[12];        /* "heard", "silent", "failing" */
    char model[12];             /* first digits of the model's sha256; "": unknown */
} cheep_uplink_state;

typedef struct {
    const char *id;             /* [a-z0-9_-], at most 32 */
    const char *name;           /* for people, UTF-8, at most 64 bytes */
    const char *board;          /* "esp32", "laptop", ...: at most 32 bytes */
    const char *version;        /* of Cheep, at most 32 bytes */
    const char *discovery;      /* Home Assistant's prefix, "homeassistant"; NULL: no discovery */
} cheep_uplink_device;

typedef struct {
    void *context;
    /* Returns the message's number, above 0, or -1: not taken now (cheep_uplink_poll tries again). */
    int32_t (*publish)(void *context, const char *topic, const char *payload, size_t n, int qos, bool retain);
} cheep_transport;

typedef struct {
    const cheep_uplink_device *device;
    const cheep_transport *transport;
    cheep_queue *queue;
    cheep_uplink_state state;
    bool connected;
    bool state_due;
    uint8_t step;               /* of the greeting: discovery messages, then availability */
    int32_t in_flight;          /* message that waits for its acknowledgement; 0: none */
    uint32_t number;            /* of the record in it; 0: none */
    char topic[CHEEP_UPLINK_TOPIC_BYTES];
    char payload[CHEEP_UPLINK_PAYLOAD_BYTES];
} cheep_uplink;

/* CHEEP_ERROR_ARGUMENT: the device's id or names. device, queue and transport stay the caller's. */
cheep_status cheep_uplink_init(cheep_uplink *u, const cheep_uplink_device *device, cheep_queue *queue,
                               const cheep_transport *transport);

/* What the transport says. An acknowledgement of another message is passed over. */
void cheep_uplink_connected(cheep_uplink *u);
void cheep_uplink_disconnected(cheep_uplink *u);
void cheep_uplink_acknowledged(cheep_uplink *u, int32_t message);

/* Keep an event until it is delivered. See cheep_queue_append. */
cheep_status cheep_uplink_add(cheep_uplink *u, const cheep_uplink_event *event);

/* Say another state. */
void cheep_uplink_set(cheep_uplink *u, const cheep_uplink_state *state);

/* Send what is due and was not taken. */
void cheep_uplink_poll(cheep_uplink *u);

/* Nothing waits or is on its way. */
bool cheep_uplink_idle(const cheep_uplink *u);

/* "cheep/ID/leaf" ("event", "state", "availability", "update") into topic[CHEEP_UPLINK_TOPIC_BYTES]. */
void cheep_uplink_topic(const char *id, const char *leaf, char *topic);

/* The payloads; each returns its length. Number and queue: of the record. */
size_t cheep_uplink_event_json(const cheep_uplink_event *event, uint32_t queue, uint32_t number, char *json, size_t capacity);
size_t cheep_uplink_state_json(const cheep_uplink_state *state, const cheep_queue *queue, char *json, size_t capacity);
/* Discovery message i into topic and json; 0: there are no more. */
size_t cheep_uplink_discovery(const cheep_uplink_device *device, unsigned i, char *topic, char *json, size_t capacity);

#ifdef __cplusplus
}
#endif
#endif
