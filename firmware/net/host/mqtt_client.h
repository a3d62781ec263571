/* SPDX-License-Identifier: MIT */
/* The part of MQTT 3.1.1 that an uplink needs, over a TCP socket, for programs on this machine (POSIX). No TLS: boards use
 * ESP-IDF's client, laptops paho's. */
#ifndef MQTT_CLIENT_H
#define MQTT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MQTT_CLIENT_BYTES 4096u
#define MQTT_CLIENT_KEEPALIVE_S 30u

typedef struct {
    int socket;              /* -1: closed */
    bool greeted;            /* the broker has taken the connection */
    uint16_t message;        /* number of the last one */
    int64_t heard_ms, sent_ms;
    size_t used;
    uint8_t in[MQTT_CLIENT_BYTES];
    void *context;
    void (*connected)(void *context);
    void (*acknowledged)(void *context, int32_t message);
} mqtt_client;

/* Connect, with a retained last will "offline". False: not now. */
bool mqtt_client_open(mqtt_client *c, const char *host, const char *port, const char *id, const char *will_topic);
void mqtt_client_close(mqtt_client *c);
/* QoS 1. Returns the message's number, or -1. */
int32_t mqtt_client_publish(mqtt_client *c, const char *topic, const char *payload, size_t n, bool retain);
/* Wait for at most wait_ms, take what has come. False: the connection is gone. */
bool mqtt_client_poll(mqtt_client *c, int wait_ms);

#endif
