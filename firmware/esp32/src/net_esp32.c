/* SPDX-License-Identifier: MIT */
#if defined(CHEEP_MQTT)

#include "net_esp32.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cheep_uplink.h"
#include "download_esp32.h"
#include "esp_crt_bundle.h"
#include "esp_event.h"
#include "esp_netif_sntp.h"
#include "esp_partition.h"
#include "esp_random.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "mqtt_client.h"
#include "net_settings.h"
#include "nvs_flash.h"
#include "wifi_esp32.h"

#define SUBTYPE 0x41 /* of the partition "events" in partitions-mqtt.csv */
#define NEWS 32
#define PATIENCE_US (60000000) /* esp-mqtt gives a message up after 30 s without an acknowledgement, and says nothing */
#define CLOCK_IS_SET 1700000000 /* s: before it the clock has never been set */

/* What esp-mqtt's task tells the main task. */
typedef enum { NEWS_CONNECTED, NEWS_DISCONNECTED, NEWS_ACKNOWLEDGED } news_kind;
typedef struct {
    news_kind kind;
    int message;
} news;

static net_settings settings;
static char will_topic[CHEEP_UPLINK_TOPIC_BYTES];
static char update_topic[CHEEP_UPLINK_TOPIC_BYTES];
static cheep_flash flash;
static cheep_queue queue;
static cheep_uplink uplink;
static cheep_uplink_device device;
static cheep_uplink_state state;
static QueueHandle_t inbox;
static esp_mqtt_client_handle_t client;
static bool running;

static cheep_status erase_sector(void *context, uint32_t sector)
{
    return esp_partition_erase_range(context, sector * flash.sector_bytes, flash.sector_bytes) == ESP_OK ? CHEEP_OK
                                                                                                         : CHEEP_ERROR_IO;
}

static cheep_status write_flash(void *context, uint32_t offset, const void *data, uint32_t n)
{
    return esp_partition_write(context, offset, data, n) == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

static cheep_status read_flash(void *context, uint32_t offset, void *data, uint32_t n)
{
    return esp_partition_read(context, offset, data, n) == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

/* Into the client's outbox: its task sends, the microphone never waits for the network. */
static int32_t publish(void *context, const char *topic, const char *payload, size_t n, int qos, bool retain)
{
    (void)context;
    int message = esp_mqtt_client_enqueue(client, topic, payload, (int)n, qos, retain, true);
    return message > 0 ? message : -1;
}

static const cheep_transport transport = {NULL, publish};

static void tell(news_kind kind, int message)
{
    const news item = {kind, message};
    (void)xQueueSend(inbox, &item, portMAX_DELAY);
}

/* A change is said once, not each of the tries that follow it; no address is shown, it may hold a password. */
static void say_broker(bool connected, const char *why)
{
    static enum { UNKNOWN, UP, DOWN } said;
    const int now = connected ? UP : DOWN;
    if (said != now) {
        said = now;
        printf(connected ? "net: broker: connected%s\n" : "net: broker: %s; tried again, events are kept\n", why);
    }
}

static void on_mqtt(void *context, esp_event_base_t base, int32_t id, void *data)
{
    const esp_mqtt_event_t *event = data;
    (void)context;
    (void)base;
    if (id == MQTT_EVENT_CONNECTED) {
        (void)esp_mqtt_client_subscribe_single(client, update_topic, 1);
        say_broker(true, "");
        tell(NEWS_CONNECTED, 0);
    } else if (id == MQTT_EVENT_ERROR) { /* comes before the disconnection */
        const bool refused = event->error_handle->error_type == MQTT_ERROR_TYPE_CONNECTION_REFUSED;
        say_broker(false, refused ? "refuses user or password" : "cannot be reached (address, certificate?)");
    } else if (id == MQTT_EVENT_DISCONNECTED) {
        say_broker(false, "connection lost");
        tell(NEWS_DISCONNECTED, 0);
    } else if (id == MQTT_EVENT_PUBLISHED) {
        tell(NEWS_ACKNOWLEDGED, event->msg_id);
    } else if (id == MQTT_EVENT_DATA && !event->retain && event->current_data_offset == 0 &&
               event->data_len == event->total_data_len && event->topic_len == (int)strlen(update_topic) &&
               memcmp(event->topic, update_topic, (size_t)event->topic_len) == 0) {
        download_start(event->data, (uint32_t)event->data_len, settings.ca);
    }
}

static void on_address(void)
{
    (void)esp_mqtt_client_start(client); /* connects again by itself from then on */
}

static bool make_client(void)
{
    const esp_mqtt_client_config_t config = {
        .broker.address.uri = settings.url,
        .broker.verification.certificate = settings.ca[0] != '\0' ? settings.ca : NULL,
        .broker.verification.crt_bundle_attach = settings.ca[0] != '\0' ? NULL : esp_crt_bundle_attach,
        .credentials.client_id = settings.id,
        .credentials.username = settings.user[0] != '\0' ? settings.user : NULL,
        .credentials.authentication.password = settings.password[0] != '\0' ? settings.password : NULL,
        .session.keepalive = 30,
        .session.last_will = {.topic = will_topic, .msg = "offline", .msg_len = 7, .qos = 1, .retain = 1},
        .buffer.out_size = 2048,
    };
    client = esp_mqtt_client_init(&config);
    return client != NULL && esp_mqtt_client_register_event(client, ESP_EVENT_ANY_ID, on_mqtt, NULL) == ESP_OK;
}

static const char *open_queue(void)
{
    const esp_partition_t *partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, (esp_partition_subtype_t)SUBTYPE, "events");
    if (partition == NULL) {
        return "no partition events: flash with partitions-mqtt.csv";
    }
    flash = (cheep_flash){(void *)partition, partition->erase_size, partition->size / partition->erase_size,
                          erase_sector, write_flash, read_flash};
    return cheep_queue_open(&queue, &flash, esp_random()) == CHEEP_OK ? NULL : "the queue cannot be read";
}

static const char *start(const cheep_app_spec *spec)
{
    const esp_sntp_config_t sntp = ESP_NETIF_SNTP_DEFAULT_CONFIG("pool.ntp.org");
    const char *problem = open_queue();
    if (problem != NULL) {
        return problem;
    }
    device = (cheep_uplink_device){settings.id, settings.name, CONFIG_IDF_TARGET, spec->version, "homeassistant"};
    if (cheep_uplink_init(&uplink, &device, &queue, &transport) != CHEEP_OK) {
        return "name: refused";
    }
    state = uplink.state;
    strncpy(state.model, spec->model_id, sizeof state.model - 1u);
    cheep_uplink_topic(settings.id, "availability", will_topic);
    cheep_uplink_topic(settings.id, "update", update_topic);
    inbox = xQueueCreate(NEWS, sizeof(news));
    if (inbox == NULL || !make_client()) {
        return "no memory, or mqtt.url is no address";
    }
    if (wifi_start(settings.ssid, settings.wifi_password, on_address) != ESP_OK) {
        return "Wi-Fi does not start";
    }
    (void)esp_netif_sntp_init(&sntp); /* TLS and the events' time want a clock */
    running = true;
    cheep_uplink_set(&uplink, &state);
    return NULL;
}

void net_start(const cheep_app_spec *spec)
{
    (void)fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL, 0) | O_NONBLOCK);
    esp_err_t status = nvs_flash_init();
    if (status == ESP_ERR_NVS_NO_FREE_PAGES || status == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        (void)nvs_flash_erase();
        status = nvs_flash_init();
    }
    if (status != ESP_OK || !net_settings_load(&settings)) {
        printf("net: no Wi-Fi or broker is set; set wifi.ssid NAME, ... (docs/mqtt.md)\n");
        return;
    }
    const char *problem = start(spec);
    if (problem != NULL) {
        printf("net: %s; listening goes on without\n", problem);
    }
}

void net_event(const cheep_app *app, const cheep_app_event *event, bool hearing)
{
    static cheep_uplink_event said;
    const uint64_t rate = app->spec->frontend->sample_rate_hz;
    const time_t now = time(NULL);
    if (!running) {
        return;
    }
    said = (cheep_uplink_event){.ended = event->ended, .has_logit = event->has_logit, .score_e6 = event->score_e6,
                                .logit_e3 = event->logit_e3};
    strncpy(said.label, event->label, sizeof said.label - 1u);
    said.start_ms = event->start_sample / rate * 1000u + event->start_sample % rate * 1000u / rate;
    said.end_ms = event->end_sample / rate * 1000u + event->end_sample % rate * 1000u / rate;
    said.time_s = now > CLOCK_IS_SET ? (uint64_t)now : 0u;
    if (cheep_uplink_add(&uplink, &said) != CHEEP_OK) {
        printf("net: an event found no room in the queue\n");
    }
    state.hearing = hearing;
    cheep_uplink_set(&uplink, &state);
}

void net_level(int32_t level_e1)
{
    state.has_level = true;
    state.level_e1 = level_e1;
    if (running) {
        cheep_uplink_set(&uplink, &state);
    }
}

void net_microphone(cheep_microphone now)
{
    static const char *const names[] = {"heard", "silent", "failing"};
    strncpy(state.microphone, names[now], sizeof state.microphone - 1u);
    if (running) {
        cheep_uplink_set(&uplink, &state);
    }
}

/* A broker that keeps the line and acknowledges nothing: greet it anew, the event goes out again. */
static void watch_delivery(void)
{
    static int32_t message;
    static int64_t since;
    const int64_t now = esp_timer_get_time();
    if (uplink.in_flight == 0 || uplink.in_flight != message) {
        message = uplink.in_flight;
        since = now;
    } else if (now - since > PATIENCE_US) {
        since = now;
        cheep_uplink_connected(&uplink);
    }
}

static void read_serial(void)
{
    static char line[NET_CA_BYTES + 32];
    static size_t used;
    char c;
    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c == '\n' || c == '\r') {
            line[used] = '\0';
            if (used > 0u) {
                net_settings_command(line);
            }
            memset(line, 0, used); /* it may hold a password */
            used = 0;
        } else if (used + 1u < sizeof line) {
            line[used++] = c;
        }
    }
}

void net_poll(void)
{
    news item;
    read_serial();
    if (!running) {
        return;
    }
    while (xQueueReceive(inbox, &item, 0) == pdTRUE) {
        if (item.kind == NEWS_CONNECTED) {
            cheep_uplink_connected(&uplink);
        } else if (item.kind == NEWS_DISCONNECTED) {
            cheep_uplink_disconnected(&uplink);
        } else {
            cheep_uplink_acknowledged(&uplink, item.message);
        }
    }
    cheep_uplink_poll(&uplink);
    watch_delivery();
}

#else
typedef int cheep_net_is_not_used;
#endif
