/* SPDX-License-Identifier: MIT */
#if defined(CHEEP_HDC)

#include "hdc_esp32.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "board_config.h"
#include "cheep_generated.h"
#include "cheep_hdc_app.h"
#include "cheep_hdc_generated.h"
#include "driver/gpio.h"
#include "esp_partition.h"

#ifndef CHEEP_PIN_LEARN
#define CHEEP_PIN_LEARN 0 /* the BOOT button of most boards: low when pressed */
#endif

#define SECTOR 4096u
#define SUBTYPE 0x40 /* of the partition "hdc" in partitions.csv */

_Static_assert(CHEEP_HDC_FEATURE_HASH == CHEEP_MODEL_FEATURE_HASH && CHEEP_HDC_EXTRACTOR_ID == CHEEP_MODEL_ID,
               "model.h is not the head's extractor: run cheep model-convert --model RUN/hdc");

static cheep_hdc_app head;
CHEEP_HDC_PLACE_STATE static _Alignas(8) uint8_t head_memory[CHEEP_HDC_MEMORY_BYTES];
static cheep_hdc_storage storage;

static void write_json(void *context, const char *json)
{
    (void)context;
    printf("%s\n", json);
    fflush(stdout);
}

static cheep_status erase_slot(void *context, unsigned slot)
{
    const cheep_hdc_storage *s = &storage;
    return esp_partition_erase_range(context, slot * s->slot_bytes, s->slot_bytes) == ESP_OK ? CHEEP_OK : CHEEP_ERROR_IO;
}

static cheep_status write_slot(void *context, unsigned slot, uint32_t offset, const uint8_t *data, uint32_t n)
{
    return esp_partition_write(context, slot * storage.slot_bytes + offset, data, n) == ESP_OK ? CHEEP_OK
                                                                                               : CHEEP_ERROR_IO;
}

static cheep_status read_slot(void *context, unsigned slot, uint32_t offset, uint8_t *data, uint32_t n)
{
    return esp_partition_read(context, slot * storage.slot_bytes + offset, data, n) == ESP_OK ? CHEEP_OK
                                                                                              : CHEEP_ERROR_IO;
}

void hdc_start(void)
{
    cheep_hdc_app_io io = {.context = NULL, .line = write_json, .storage = NULL};
    const esp_partition_t *partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, (esp_partition_subtype_t)SUBTYPE, "hdc");
    if (partition != NULL) {
        storage.context = (void *)partition;
        storage.slot_bytes = (uint32_t)partition->size / 2u / SECTOR * SECTOR;
        storage.erase = erase_slot;
        storage.write = write_slot;
        storage.read = read_slot;
        io.storage = &storage;
    } else {
        cheep_hdc_app_error(&io, "no partition hdc; what is learned is lost with the power");
    }
    if (cheep_hdc_app_boot(&head, &cheep_hdc_generated, cheep_hdc_labels, CHEEP_HDC_SLOTS, head_memory,
                           sizeof head_memory, &io) != CHEEP_OK) {
        cheep_hdc_app_error(&io, "the head refuses its headers: run cheep hdc export");
        return;
    }
    if (CHEEP_PIN_LEARN >= 0) {
        gpio_reset_pin((gpio_num_t)CHEEP_PIN_LEARN);
        gpio_set_direction((gpio_num_t)CHEEP_PIN_LEARN, GPIO_MODE_INPUT);
        gpio_set_pull_mode((gpio_num_t)CHEEP_PIN_LEARN, GPIO_PULLUP_ONLY);
    }
    (void)fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL, 0) | O_NONBLOCK);
    cheep_hdc_app_command(&head, "classes");
}

void hdc_window(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *embedding)
{
    (void)context;
    (void)app;
    if (head.hdc.spec != NULL) {
        cheep_hdc_app_window(&head, embedding, window_sample);
    }
}

/* Pressed now, not at the last two looks: the loop looks at most once a block of audio, so contacts have settled. */
static bool pressed(void)
{
    static bool before[2];
    bool now = CHEEP_PIN_LEARN >= 0 && gpio_get_level((gpio_num_t)CHEEP_PIN_LEARN) == 0;
    bool edge = now && !before[0] && !before[1];
    before[1] = before[0];
    before[0] = now;
    return edge;
}

void hdc_poll(void)
{
    static char line[64];
    static size_t used;
    char c;
    if (head.hdc.spec == NULL) {
        return;
    }
    if (pressed()) {
        cheep_hdc_app_button(&head);
    }
    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c == '\n' || c == '\r') {
            line[used] = '\0';
            if (used > 0u) {
                cheep_hdc_app_command(&head, line);
            }
            used = 0;
        } else if (used + 1u < sizeof line) {
            line[used++] = c;
        }
    }
}

#else
typedef int cheep_hdc_is_not_used;
#endif
