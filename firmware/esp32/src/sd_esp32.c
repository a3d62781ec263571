/* SPDX-License-Identifier: MIT */
#include "sd_esp32.h"

#if defined(CHEEP_SD)
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "driver/sdspi_host.h"
#include "esp_mac.h"
#include "esp_timer.h"
#include "esp_vfs_fat.h"
#include "sdmmc_cmd.h"

#include "board_config.h"
#include "cheep_generated.h"
#include "field_keeper.h"

#if !defined(CHEEP_PIN_SD_SCK) || !defined(CHEEP_PIN_SD_MOSI) || !defined(CHEEP_PIN_SD_MISO)
#error "this chip has no default pins for a card: set CHEEP_PIN_SD_SCK, _MOSI, _MISO and _CS (board_config.h)"
#endif

#ifndef MOUNT
#define MOUNT "/card"
#endif
#define PATH_BYTES (sizeof MOUNT + 1 + FIELD_NAME_BYTES)
#define PATIENCE_US (10000000) /* the keeper asks twice in a row: a card that is away answers after a second or so */

static field_keeper keeper;
static bool wanted, dated, said; /* said: that the card takes nothing */
static sdspi_device_config_t slot = SDSPI_DEVICE_CONFIG_DEFAULT();
static sdmmc_card_t *card;

static bool mount_card(void)
{
    const esp_vfs_fat_mount_config_t config = {.format_if_mount_failed = false, .max_files = 2};
    sdmmc_host_t host = SDSPI_HOST_DEFAULT();
    host.slot = (int)slot.host_id;
    if (esp_vfs_fat_sdspi_mount(MOUNT, &host, &slot, &config, &card) != ESP_OK) {
        card = NULL;
    }
    return card != NULL;
}

/* ESP-IDF does not greet a card again that was taken out and put back: after a failure it is mounted anew. */
static bool ready(void)
{
    static int64_t tried = -PATIENCE_US;
    const int64_t now = esp_timer_get_time();
    if (card != NULL && !keeper.failing) {
        return true;
    }
    if (now - tried < PATIENCE_US) {
        return card != NULL;
    }
    tried = now;
    if (card != NULL) {
        (void)esp_vfs_fat_sdcard_unmount(MOUNT, card);
    }
    return mount_card();
}

static const char *path_of(char path[PATH_BYTES], const char *name)
{
    (void)snprintf(path, PATH_BYTES, MOUNT "/%s", name);
    return path;
}

static bool exists(void *context, const char *name)
{
    char path[PATH_BYTES];
    struct stat found;
    (void)context;
    return ready() && stat(path_of(path, name), &found) == 0;
}

static FILE *file;
static char file_path[PATH_BYTES];
static long file_bytes; /* when it was opened */

static bool open_file(void *context, const char *name)
{
    (void)context;
    file = ready() ? fopen(path_of(file_path, name), "ab") : NULL;
    file_bytes = file != NULL && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (file != NULL && file_bytes < 0) {
        (void)fclose(file);
    }
    return file_bytes >= 0;
}

static bool write_file(void *context, const void *data, size_t n)
{
    (void)context;
    return fwrite(data, 1, n, file) == n;
}

static bool close_file(void *context, bool keep)
{
    (void)context;
    const bool good = fclose(file) == 0 && keep;
    if (!good) {
        (void)(file_bytes == 0 ? unlink(file_path) : truncate(file_path, file_bytes));
    }
    return good;
}

bool sd_start(const cheep_ring *ring)
{
    const sdmmc_host_t host = SDSPI_HOST_DEFAULT();
    const spi_bus_config_t bus = {
        .mosi_io_num = CHEEP_PIN_SD_MOSI,
        .miso_io_num = CHEEP_PIN_SD_MISO,
        .sclk_io_num = CHEEP_PIN_SD_SCK,
        .quadwp_io_num = -1,
        .quadhd_io_num = -1,
    };
    uint8_t mac[8] = {0};
    slot.gpio_cs = CHEEP_PIN_SD_CS;
    slot.host_id = (spi_host_device_t)host.slot;
    if (spi_bus_initialize(slot.host_id, &bus, SDSPI_DEFAULT_DMA) != ESP_OK) {
        return false;
    }
    (void)esp_efuse_mac_get_default(mac);
    keeper = (field_keeper){
        .files = {NULL, exists, open_file, write_file, close_file},
        .ring = ring,
        .rate_hz = CHEEP_MEL_SAMPLE_RATE_HZ,
        .lead_samples = CHEEP_SD_LEAD_MS * CHEEP_MEL_SAMPLE_RATE_HZ / 1000u,
        .clip_samples = CHEEP_SD_CLIP_S * CHEEP_MEL_SAMPLE_RATE_HZ,
        .id_high = (uint32_t)mac[0] << 8 | mac[1],
        .id_low = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5],
    };
    wanted = true;
    keeper.failing = !mount_card(); /* asked again with the next detection */
    said = keeper.failing;
    return !keeper.failing;
}

/* The date of sample 0. The clock may be set (over the network) after the start: asked until it is. */
static void find_date(const cheep_app *app)
{
    struct timeval now;
    if (dated || gettimeofday(&now, NULL) != 0 || now.tv_sec < 1600000000) {
        return;
    }
    const uint64_t ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_usec / 1000u -
                        app->samples * 1000u / CHEEP_MEL_SAMPLE_RATE_HZ;
    keeper.utc = (uint32_t)(ms / 1000u);
    keeper.utc_ms = (uint32_t)(ms % 1000u);
    dated = true;
}

void sd_event(const cheep_app *app, const cheep_app_event *event)
{
    if (wanted) {
        find_date(app);
        field_keeper_event(&keeper, app, event);
    }
}

/* A change is said once. */
static void say_state(void)
{
    if (keeper.failing != said) {
        said = keeper.failing;
        printf("card: %s; lost so far: %u rows, %u clips damaged\n",
               said ? "takes nothing (full, removed?), tried again every minute" : "takes files again",
               (unsigned)keeper.losses.lost_rows, (unsigned)keeper.losses.damaged_clips);
    }
}

const cheep_app_card *sd_losses(void)
{
    return wanted ? &keeper.losses : NULL;
}

void sd_poll(const cheep_app *app)
{
    if (wanted) {
        field_keeper_poll(&keeper, app);
        say_state();
    }
}
#endif
