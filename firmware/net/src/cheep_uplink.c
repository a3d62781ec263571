/* SPDX-License-Identifier: MIT */
#include "cheep_uplink.h"

#include <string.h>

/* The form in the queue, little-endian: flags, start, end, time, score, logit, label. */
#define RECORD_HEAD 33u
#define FLAG_ENDED 1u
#define FLAG_LOGIT 2u

static void put(uint8_t *to, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        to[i] = (uint8_t)(value >> (8u * i));
    }
}

static uint64_t get(const uint8_t *from, unsigned n)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++) {
        value |= (uint64_t)from[i] << (8u * i);
    }
    return value;
}

/* Bytes of text that fit into n, without cutting a character of UTF-8 in two. */
static size_t fitting(const char *text, size_t n)
{
    size_t length = strlen(text);
    if (length <= n) {
        return length;
    }
    while (n > 0u && ((unsigned char)text[n] & 0xC0u) == 0x80u) {
        n--;
    }
    return n;
}

static uint32_t pack(const cheep_uplink_event *event, uint8_t *record)
{
    size_t n = fitting(event->label, CHEEP_UPLINK_LABEL_BYTES - 1u);
    record[0] = (uint8_t)((event->ended ? FLAG_ENDED : 0u) | (event->has_logit ? FLAG_LOGIT : 0u));
    put(record + 1, event->start_ms, 8);
    put(record + 9, event->end_ms, 8);
    put(record + 17, event->time_s, 8);
    put(record + 25, event->score_e6, 4);
    put(record + 29, (uint32_t)event->logit_e3, 4);
    memcpy(record + RECORD_HEAD, event->label, n);
    return RECORD_HEAD + (uint32_t)n;
}

static bool unpack(const uint8_t *record, uint32_t n, cheep_uplink_event *event)
{
    memset(event, 0, sizeof *event);
    if (n < RECORD_HEAD || n - RECORD_HEAD >= CHEEP_UPLINK_LABEL_BYTES) {
        return false;
    }
    event->ended = (record[0] & FLAG_ENDED) != 0u;
    event->has_logit = (record[0] & FLAG_LOGIT) != 0u;
    event->start_ms = get(record + 1, 8);
    event->end_ms = get(record + 9, 8);
    event->time_s = get(record + 17, 8);
    event->score_e6 = (uint32_t)get(record + 25, 4);
    event->logit_e3 = (int32_t)(uint32_t)get(record + 29, 4);
    memcpy(event->label, record + RECORD_HEAD, n - RECORD_HEAD);
    return true;
}

static bool plain(const char *id)
{
    size_t n = strlen(id);
    for (size_t i = 0; i < n; i++) {
        char c = id[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')) {
            return false;
        }
    }
    return n > 0u && n < CHEEP_UPLINK_ID_BYTES;
}

cheep_status cheep_uplink_init(cheep_uplink *u, const cheep_uplink_device *device, cheep_queue *queue,
                               const cheep_transport *transport)
{
    memset(u, 0, sizeof *u);
    if (!plain(device->id) || strlen(device->name) > 64u || strlen(device->board) > 32u ||
        strlen(device->version) > 32u || (device->discovery != NULL && strlen(device->discovery) > 64u)) {
        return CHEEP_ERROR_ARGUMENT;
    }
    if (device->discovery != NULL && cheep_uplink_discovery(device, 0, u->topic, u->payload, sizeof u->payload) == 0u) {
        return CHEEP_ERROR_ARGUMENT; /* the longest message: names of many characters that JSON escapes */
    }
    u->device = device;
    u->queue = queue;
    u->transport = transport;
    memcpy(u->state.microphone, "heard", 6);
    return CHEEP_OK;
}

/* Hand over the message in topic and payload. */
static void send(cheep_uplink *u, size_t n, bool retain, uint32_t number)
{
    int32_t message = u->transport->publish(u->transport->context, u->topic, u->payload, n, 1, retain);
    u->in_flight = message > 0 ? message : 0;
    u->number = number;
}

/* The greeting: discovery, then availability. False: it has been said. */
static bool greet(cheep_uplink *u)
{
    if (u->step == UINT8_MAX) {
        return false;
    }
    size_t n = u->device->discovery == NULL
                   ? 0u
                   : cheep_uplink_discovery(u->device, u->step, u->topic, u->payload, sizeof u->payload);
    if (n == 0u) {
        cheep_uplink_topic(u->device->id, "availability", u->topic);
        memcpy(u->payload, "online", 7);
        n = 6;
    }
    send(u, n, true, 0);
    return true;
}

static void send_event(cheep_uplink *u)
{
    uint8_t record[CHEEP_QUEUE_RECORD_BYTES];
    cheep_uplink_event event;
    uint32_t n;
    uint32_t number;
    if (cheep_queue_oldest(u->queue, record, &n, &number) != CHEEP_OK || n == 0u) {
        return;
    }
    (void)unpack(record, n, &event);
    cheep_uplink_topic(u->device->id, "event", u->topic);
    send(u, cheep_uplink_event_json(&event, u->queue->id, number, u->payload, sizeof u->payload), false, number);
}

void cheep_uplink_poll(cheep_uplink *u)
{
    if (!u->connected || u->in_flight != 0 || greet(u)) {
        return;
    }
    if (u->state_due) {
        cheep_uplink_topic(u->device->id, "state", u->topic);
        size_t n = cheep_uplink_state_json(&u->state, u->queue, u->payload, sizeof u->payload);
        send(u, n, true, 0);
        u->state_due = u->in_flight == 0;
        return;
    }
    send_event(u);
}

void cheep_uplink_connected(cheep_uplink *u)
{
    u->connected = true;
    u->state_due = true;
    u->step = 0;
    u->in_flight = 0;
    u->number = 0;
    cheep_uplink_poll(u);
}

void cheep_uplink_disconnected(cheep_uplink *u)
{
    u->connected = false;
    u->in_flight = 0;
    u->number = 0;
}

void cheep_uplink_acknowledged(cheep_uplink *u, int32_t message)
{
    if (!u->connected || message <= 0 || message != u->in_flight) {
        return;
    }
    u->in_flight = 0;
    if (u->number != 0u) {
        (void)cheep_queue_acknowledge(u->queue, u->number);
        u->number = 0;
        u->state_due = u->state_due || u->queue->waiting == 0u; /* the number that waits is part of the state */
    } else if (u->step != UINT8_MAX) {
        bool more = u->device->discovery != NULL &&
                    cheep_uplink_discovery(u->device, u->step, u->topic, u->payload, sizeof u->payload) > 0u;
        u->step = more ? (uint8_t)(u->step + 1u) : UINT8_MAX; /* the availability is the last */
    }
    cheep_uplink_poll(u);
}

cheep_status cheep_uplink_add(cheep_uplink *u, const cheep_uplink_event *event)
{
    uint8_t record[CHEEP_QUEUE_RECORD_BYTES];
    uint32_t number;
    cheep_status status = cheep_queue_append(u->queue, record, pack(event, record), &number);
    cheep_uplink_poll(u);
    return status;
}

void cheep_uplink_set(cheep_uplink *u, const cheep_uplink_state *state)
{
    u->state = *state;
    u->state_due = true;
    cheep_uplink_poll(u);
}

bool cheep_uplink_idle(const cheep_uplink *u)
{
    return u->in_flight == 0 && u->queue->waiting == 0u && !u->state_due && u->step == UINT8_MAX;
}
