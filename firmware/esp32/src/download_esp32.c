/* SPDX-License-Identifier: MIT */
#if defined(CHEEP_MQTT)

#include "download_esp32.h"

#include <stdio.h>

#include "cheep_update.h"
#include "esp_crt_bundle.h"
#include "esp_http_client.h"
#include "esp_system.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "places_esp32.h"

#define STACK 8192
#define PRIORITY 1 /* as the main task, which listens */
#define PIECE 1024

static cheep_update_order order;
static cheep_update update;
static const char *authority;
static volatile bool busy;

static const char *fetch(esp_http_client_handle_t http)
{
    static char piece[PIECE];
    const cheep_places *places = places_esp32();
    if (esp_http_client_open(http, 0) != ESP_OK || esp_http_client_fetch_headers(http) < 0) {
        return "cannot be fetched: no connection";
    }
    const int status = esp_http_client_get_status_code(http);
    if (status >= 300 && status < 400) {
        return "the address leads to another one, which is not followed: announce that one";
    }
    if (status != 200) {
        printf("net: update: the server answers %d\n", status);
        return "cannot be fetched";
    }
    if (cheep_update_begin(&update, places, &order) != CHEEP_OK) {
        return "too large, or the running application is on trial";
    }
    for (;;) {
        int n = esp_http_client_read(http, piece, sizeof piece);
        if (n < 0) {
            return "cut off";
        }
        if (n == 0) {
            break;
        }
        if (cheep_update_write(&update, piece, (uint32_t)n) != CHEEP_OK) {
            return "longer than announced, or the flash fails";
        }
    }
    return cheep_update_finish(&update) == CHEEP_OK ? NULL : "is not the announced application";
}

static void work(void *unused)
{
    const char *problem = "no memory";
    const esp_http_client_config_t config = {
        .url = order.url,
        .cert_pem = authority[0] != '\0' ? authority : NULL,
        .crt_bundle_attach = authority[0] != '\0' ? NULL : esp_crt_bundle_attach,
        .timeout_ms = 20000,
    };
    (void)unused;
    esp_http_client_handle_t http = esp_http_client_init(&config);
    if (http != NULL) {
        problem = fetch(http);
        (void)esp_http_client_cleanup(http);
    }
    if (problem == NULL) {
        printf("net: update complete, restarting in it\n");
        esp_restart();
    }
    printf("net: update: %s; this application stays\n", problem);
    busy = false;
    vTaskDelete(NULL);
}

void download_start(const char *text, uint32_t n, const char *ca)
{
    if (busy) {
        printf("net: an update is under way\n");
        return;
    }
    if (cheep_update_read(text, n, &order) != CHEEP_OK) {
        printf("net: update: must be BYTES CRC32 https://...\n");
        return;
    }
    authority = ca;
    busy = true;
    if (xTaskCreate(work, "update", STACK, NULL, PRIORITY, NULL) != pdPASS) {
        printf("net: update: no memory for the task that fetches it; this application stays\n");
        busy = false;
    }
}

#else
typedef int cheep_download_is_not_used;
#endif
