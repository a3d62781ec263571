/* SPDX-License-Identifier: MIT */
#if defined(CHEEP_MQTT)

#include "wifi_esp32.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "esp_event.h"
#include "esp_netif.h"
#include "esp_timer.h"
#include "esp_wifi.h"

#define RETRY_US (2000000)
#define ADDRESS_US (20000000) /* then it is said that none comes */

typedef enum { LOST, NONE_HERE, TOO_OLD, PASSWORD, NOT_TAKEN, NO_ADDRESS, PROBLEMS } problem;

static const char *const meanings[PROBLEMS] = {
    "connection lost",
    "no such network here (name, 2.4 GHz, distance?)",
    "its encryption is older than WPA2, or it wants no password",
    "the password is refused",
    "the access point does not take it (signal, password, too many stations?)",
    "joined, but no address comes (DHCP of the router?)",
};

static const char *name;
static void (*on_address)(void);
static esp_timer_handle_t timer; /* joined: no address came in time; else: try again */
static volatile bool joined;
static bool said[PROBLEMS]; /* since the last address; the reasons of one trouble take turns */
static bool connected;

static problem problem_of(unsigned reason)
{
    switch (reason) {
    case WIFI_REASON_NO_AP_FOUND:
    case WIFI_REASON_NO_AP_FOUND_IN_RSSI_THRESHOLD: return NONE_HERE;
    case WIFI_REASON_NO_AP_FOUND_W_COMPATIBLE_SECURITY:
    case WIFI_REASON_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD: return TOO_OLD;
    case WIFI_REASON_AUTH_FAIL:
    case WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT:
    case WIFI_REASON_HANDSHAKE_TIMEOUT: return PASSWORD;
    case WIFI_REASON_AUTH_EXPIRE:
    case WIFI_REASON_ASSOC_TOOMANY:
    case WIFI_REASON_ASSOC_FAIL:
    case WIFI_REASON_CONNECTION_FAIL: return NOT_TAKEN;
    default: return LOST;
    }
}

static void say(problem what, unsigned reason)
{
    connected = false;
    if (!said[what]) {
        said[what] = true;
        printf("net: Wi-Fi %s: %s (reason %u); tried again, events are kept\n", name, meanings[what], reason);
    }
}

static void on_timer(void *context)
{
    (void)context;
    if (joined) {
        say(NO_ADDRESS, 0);
    } else {
        (void)esp_wifi_connect();
    }
}

static void wake_in(uint64_t us)
{
    (void)esp_timer_stop(timer);
    (void)esp_timer_start_once(timer, us);
}

static void on_wifi(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context;
    if (base == WIFI_EVENT && id == WIFI_EVENT_STA_START) {
        (void)esp_wifi_connect();
    } else if (base == WIFI_EVENT && id == WIFI_EVENT_STA_CONNECTED) {
        joined = true;
        wake_in(ADDRESS_US);
    } else if (base == WIFI_EVENT && id == WIFI_EVENT_STA_DISCONNECTED) {
        const unsigned reason = ((const wifi_event_sta_disconnected_t *)data)->reason;
        joined = false;
        say(problem_of(reason), reason);
        wake_in(RETRY_US);
    } else if (base == IP_EVENT && id == IP_EVENT_STA_GOT_IP) {
        (void)esp_timer_stop(timer);
        if (!connected) {
            connected = true;
            printf("net: Wi-Fi %s: connected\n", name);
        }
        memset(said, 0, sizeof said);
        on_address();
    }
}

esp_err_t wifi_start(const char *network, const char *password, void (*online)(void))
{
    const wifi_init_config_t initial = WIFI_INIT_CONFIG_DEFAULT();
    const esp_timer_create_args_t arguments = {.callback = on_timer, .name = "wifi"};
    wifi_config_t config = {0};
    name = network;
    on_address = online;
    memcpy(config.sta.ssid, name, strnlen(name, sizeof config.sta.ssid));
    memcpy(config.sta.password, password, strnlen(password, sizeof config.sta.password));
    config.sta.threshold.authmode = password[0] == '\0' ? WIFI_AUTH_OPEN : WIFI_AUTH_WPA2_PSK;
    esp_err_t status = esp_netif_init();
    status = status == ESP_OK ? esp_event_loop_create_default() : status;
    if (status != ESP_OK || esp_netif_create_default_wifi_sta() == NULL) {
        return status == ESP_OK ? ESP_FAIL : status;
    }
    status = esp_timer_create(&arguments, &timer);
    status = status == ESP_OK ? esp_wifi_init(&initial) : status;
    status = status == ESP_OK ? esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_wifi, NULL) : status;
    status = status == ESP_OK ? esp_event_handler_register(IP_EVENT, IP_EVENT_STA_GOT_IP, on_wifi, NULL) : status;
    status = status == ESP_OK ? esp_wifi_set_storage(WIFI_STORAGE_RAM) : status; /* the settings are ours to keep */
    status = status == ESP_OK ? esp_wifi_set_mode(WIFI_MODE_STA) : status;
    status = status == ESP_OK ? esp_wifi_set_config(WIFI_IF_STA, &config) : status;
    return status == ESP_OK ? esp_wifi_start() : status;
}

#else
typedef int cheep_wifi_is_not_used;
#endif
