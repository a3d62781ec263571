/* SPDX-License-Identifier: MIT */
/* The board's uplink as a program: queue in a flash file, messages to a broker, reconnecting until all are delivered.
 *
 *     cheep-uplink HOST PORT ID FLASH COUNT
 *
 * It makes COUNT events, of which each is the queue's record of that number: started again after it was killed, it goes on
 * where the queue ends (scripts/check_mqtt.py). Exit status 0: all delivered. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cheep_uplink.h"
#include "flash_file.h"
#include "mqtt_client.h"

#define SECTORS 16u /* as the ESP32's partition: 64 KB */

static mqtt_client client;
static cheep_uplink uplink;

static int32_t publish(void *context, const char *topic, const char *payload, size_t n, int qos, bool retain)
{
    (void)context;
    (void)qos;
    return mqtt_client_publish(&client, topic, payload, n, retain);
}

static void on_connected(void *context)
{
    cheep_uplink_connected(context);
}

static void on_acknowledged(void *context, int32_t message)
{
    cheep_uplink_acknowledged(context, message);
}

static void rest(long ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static cheep_status make_event(uint32_t number)
{
    cheep_uplink_event event = {.label = "bird", .start_ms = 1000ull * number, .end_ms = 1000ull * number + 500u,
                                .score_e6 = 900000, .has_logit = true, .logit_e3 = 2197};
    return cheep_uplink_add(&uplink, &event);
}

int main(int argc, char **argv)
{
    static flash_file file;
    static cheep_queue queue;
    static const cheep_transport transport = {NULL, publish};
    char will[CHEEP_UPLINK_TOPIC_BYTES];
    struct timespec t;
    if (argc != 6) {
        fprintf(stderr, "usage: %s HOST PORT ID FLASH COUNT\n", argv[0]);
        return 2;
    }
    const cheep_uplink_device device = {argv[3], "Cheep", "host", "0", "homeassistant"};
    const uint32_t count = (uint32_t)strtoul(argv[5], NULL, 10);
    clock_gettime(CLOCK_REALTIME, &t);
    if (flash_file_open(&file, argv[4], 4096, SECTORS) != CHEEP_OK ||
        cheep_queue_open(&queue, &file.flash, (uint32_t)t.tv_nsec ^ (uint32_t)t.tv_sec) != CHEEP_OK ||
        cheep_uplink_init(&uplink, &device, &queue, &transport) != CHEEP_OK) {
        fprintf(stderr, "%s: the queue cannot be opened, or the id %s is none\n", argv[4], argv[3]);
        return 2;
    }
    cheep_uplink_topic(device.id, "availability", will);
    client.socket = -1;
    client.context = &uplink;
    client.connected = on_connected;
    client.acknowledged = on_acknowledged;
    while (queue.next <= count || !cheep_uplink_idle(&uplink)) {
        if (queue.next <= count) {
            (void)make_event(queue.next); /* no room: again in the next round */
        }
        if (client.socket < 0 && !mqtt_client_open(&client, argv[1], argv[2], device.id, will)) {
            rest(20);
            continue;
        }
        if (!mqtt_client_poll(&client, 1)) {
            mqtt_client_close(&client);
            cheep_uplink_disconnected(&uplink);
            rest(20);
            continue;
        }
        cheep_uplink_poll(&uplink);
    }
    mqtt_client_close(&client);
    flash_file_close(&file);
    return 0;
}
