/* SPDX-License-Identifier: MIT */
#include "places_esp32.h"

#include <stddef.h>

#include "esp_ota_ops.h"
#include "esp_partition.h"

static cheep_places places;
static const esp_partition_t *other;
static esp_ota_handle_t handle;
static bool writing;

static bool on_trial(void *context)
{
    esp_ota_img_states_t state = ESP_OTA_IMG_UNDEFINED;
    (void)context;
    return esp_ota_get_state_partition(esp_ota_get_running_partition(), &state) == ESP_OK &&
           state == ESP_OTA_IMG_PENDING_VERIFY;
}

static bool can_go_back(void *context)
{
    (void)context;
    return esp_ota_check_rollback_is_possible();
}

static cheep_status begin(void *context)
{
    (void)context;
    if (writing) {
        (void)esp_ota_abort(handle);
    }
    writing = esp_ota_begin(other, OTA_WITH_SEQUENTIAL_WRITES, &handle) == ESP_OK;
    return writing ? CHEEP_OK : CHEEP_ERROR_IO;
}

/* cheep_update writes in order. */
static cheep_status write_bytes(void *context, uint32_t offset, const void *data, uint32_t n)
{
    (void)context;
    (void)offset;
    return esp_ota_write(handle, data, n) == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

static cheep_status read_bytes(void *context, uint32_t offset, void *data, uint32_t n)
{
    (void)context;
    return esp_partition_read(other, offset, data, n) == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

static cheep_status activate(void *context)
{
    (void)context;
    writing = false;
    if (esp_ota_end(handle) != ESP_OK) { /* checks the image and its SHA-256 */
        return CHEEP_ERROR_CORRUPT;
    }
    return esp_ota_set_boot_partition(other) == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

static cheep_status confirm(void *context)
{
    (void)context;
    return esp_ota_mark_app_valid_cancel_rollback() == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

static void go_back(void *context)
{
    (void)context;
    (void)esp_ota_mark_app_invalid_rollback_and_reboot(); /* returns only where there is no other */
}

const cheep_places *places_esp32(void)
{
    other = esp_ota_get_next_update_partition(NULL);
    places = (cheep_places){NULL,        other == NULL ? 0u : (uint32_t)other->size,
                            on_trial,    can_go_back,
                            begin,       write_bytes,
                            read_bytes,  activate,
                            confirm,     go_back};
    return &places;
}
