/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L
#include "mqtt_client.h"

#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SEND_BYTES 2048u

enum { CONNECT = 0x10, CONNACK = 0x20, PUBLISH = 0x30, PUBACK = 0x40, PINGREQ = 0xC0 };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

typedef struct {
    uint8_t bytes[SEND_BYTES];
    size_t n;
    bool cut;
} packet;

static void put(packet *p, const void *data, size_t n)
{
    if (n > sizeof p->bytes - p->n) {
        p->cut = true;
        return;
    }
    memcpy(p->bytes + p->n, data, n);
    p->n += n;
}

static void put16(packet *p, size_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    put(p, bytes, 2);
}

static void put_text(packet *p, const char *text)
{
    put16(p, strlen(text));
    put(p, text, strlen(text));
}

static bool transmit(mqtt_client *c, uint8_t kind, const packet *body)
{
    packet whole = {{kind}, 1, false};
    size_t left = body->n;
    do {
        uint8_t byte = (uint8_t)(left & 127u);
        left >>= 7;
        byte = (uint8_t)(byte | (left > 0u ? 128u : 0u));
        put(&whole, &byte, 1);
    } while (left > 0u);
    put(&whole, body->bytes, body->n);
    if (whole.cut || body->cut) {
        return false;
    }
    for (size_t sent = 0; sent < whole.n;) {
        ssize_t n = send(c->socket, whole.bytes + sent, whole.n - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        sent += (size_t)n;
    }
    c->sent_ms = now_ms();
    return true;
}

void mqtt_client_close(mqtt_client *c)
{
    if (c->socket >= 0) {
        close(c->socket);
    }
    c->socket = -1;
    c->greeted = false;
    c->used = 0;
}

bool mqtt_client_open(mqtt_client *c, const char *host, const char *port, const char *id, const char *will_topic)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const struct timeval patience = {.tv_sec = 5, .tv_usec = 0};
    struct addrinfo *found = NULL;
    packet body = {{0}, 0, false};
    const uint8_t level[2] = {4, 0x02 | 0x04 | 0x08 | 0x20}; /* clean session; a will, QoS 1, retained */
    c->socket = -1;
    mqtt_client_close(c);
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return false;
    }
    for (struct addrinfo *a = found; a != NULL && c->socket < 0; a = a->ai_next) {
        c->socket = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (c->socket >= 0 && connect(c->socket, a->ai_addr, a->ai_addrlen) != 0) {
            mqtt_client_close(c);
        }
    }
    freeaddrinfo(found);
    if (c->socket < 0) {
        return false;
    }
    (void)setsockopt(c->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    c->heard_ms = now_ms();
    put_text(&body, "MQTT");
    put(&body, level, 2);
    put16(&body, MQTT_CLIENT_KEEPALIVE_S);
    put_text(&body, id);
    put_text(&body, will_topic);
    put_text(&body, "offline");
    if (!transmit(c, CONNECT, &body)) {
        mqtt_client_close(c);
        return false;
    }
    return true;
}

int32_t mqtt_client_publish(mqtt_client *c, const char *topic, const char *payload, size_t n, bool retain)
{
    packet body = {{0}, 0, false};
    if (!c->greeted) {
        return -1;
    }
    c->message = c->message == UINT16_MAX ? 1u : (uint16_t)(c->message + 1u);
    put_text(&body, topic);
    put16(&body, c->message);
    put(&body, payload, n);
    return transmit(c, (uint8_t)(PUBLISH | 0x02u | (retain ? 1u : 0u)), &body) ? c->message : -1;
}

static bool take(mqtt_client *c, const uint8_t *p, size_t n)
{
    if (p[0] == CONNACK) {
        if (n < 2u || p[n - 1u] != 0u) {
            return false; /* refused */
        }
        c->greeted = true;
        c->connected(c->context);
    } else if (p[0] == PUBACK && n >= 2u) {
        c->acknowledged(c->context, p[n - 2u] << 8 | p[n - 1u]);
    }
    return true;
}

/* Take the whole packets that have come. */
static bool take_all(mqtt_client *c)
{
    for (;;) {
        size_t length = 0;
        size_t at = 1;
        unsigned shift = 0;
        do {
            if (at >= c->used) {
                return true;
            }
            length |= (size_t)(c->in[at] & 127u) << shift;
            shift += 7;
        } while ((c->in[at++] & 128u) != 0u && shift < 28u);
        if (at + length > sizeof c->in) {
            return false;
        }
        if (at + length > c->used) {
            return true;
        }
        if (!take(c, c->in, at + length)) {
            return false;
        }
        c->used -= at + length;
        memmove(c->in, c->in + at + length, c->used);
    }
}

bool mqtt_client_poll(mqtt_client *c, int wait_ms)
{
    struct pollfd event = {.fd = c->socket, .events = POLLIN, .revents = 0};
    const packet nothing = {{0}, 0, false};
    if (c->socket < 0) {
        return false;
    }
    if (poll(&event, 1, wait_ms) > 0) {
        ssize_t n = recv(c->socket, c->in + c->used, sizeof c->in - c->used, 0);
        if (n <= 0) {
            return false;
        }
        c->used += (size_t)n;
        c->heard_ms = now_ms();
        if (!take_all(c)) {
            return false;
        }
    }
    int64_t now = now_ms();
    if (now - c->heard_ms > 1500 * (int64_t)MQTT_CLIENT_KEEPALIVE_S) {
        return false;
    }
    if (c->greeted && now - c->sent_ms > 500 * (int64_t)MQTT_CLIENT_KEEPALIVE_S) {
        return transmit(c, PINGREQ, &nothing);
    }
    return true;
}
