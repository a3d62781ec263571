/* SPDX-License-Identifier: MIT */
/* Cheep on an ESP32: one task takes samples from the microphone into the ring, the main task does the rest.
 * Lines of JSON go to the serial port (docs/firmware.md has their schema). */
#include <stdio.h>

#include "driver/gpio.h"
#include "esp_task_wdt.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "board_config.h"
#include "cheep_app.h"
#include "cheep_capture.h"
#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "hal.h"
#if defined(CHEEP_HDC)
#include "cheep_hdc_generated.h"
#include "hdc_esp32.h"
#define LABELS CHEEP_HDC_CLASSES
#else
#define LABELS CHEEP_MODEL_CLASSES
#endif
#if defined(CHEEP_MQTT)
#include "net_esp32.h"
#endif
#include "microphone.h"
#include "places_esp32.h"
#include "restart_esp32.h"
#if defined(CHEEP_SD)
#include "sd_esp32.h"
#endif

/* Microphones want at least 16 kHz or so: capture a multiple of the model's rate and decimate. */
#define FACTOR (CHEEP_MEL_SAMPLE_RATE_HZ >= 16000 ? 1u : CHEEP_MEL_SAMPLE_RATE_HZ >= 8000 ? 2u : 3u)
#define CAPTURE_HZ (FACTOR * CHEEP_MEL_SAMPLE_RATE_HZ)

_Static_assert(CHEEP_MEL_SAMPLE_RATE_HZ >= 5334 && CHEEP_MEL_SAMPLE_RATE_HZ <= 48000,
               "the microphone needs a model with a sample rate of 5334 to 48000 Hz");

#define BLOCK 256
#define POLL_SAMPLES (4 * CHEEP_MEL_HOP_SAMPLES) /* then the watchdog is fed: at most a few windows */
#define CAPTURE_STACK 4096
#define CAPTURE_PRIORITY 10

static cheep_app app;
static cheep_ring ring;
static cheep_capture capture;
static int16_t samples[CHEEP_RING_SAMPLES];
static _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];
static TaskHandle_t main_task;

static void write_line(const char *line, size_t length)
{
    fwrite(line, 1, length, stdout);
    fflush(stdout);
}

static void set_led(bool on)
{
    if (CHEEP_PIN_LED >= 0) {
        gpio_set_level((gpio_num_t)CHEEP_PIN_LED, on ? CHEEP_LED_ON_LEVEL : !CHEEP_LED_ON_LEVEL);
    }
}

static void on_event(void *context, const cheep_app *from, const cheep_app_event *event)
{
    static char line[CHEEP_LINE_BYTES];
    static unsigned running;
    (void)context;
    running += event->ended ? -1u : 1u;
    set_led(running > 0u);
    write_line(line, cheep_line_event(line, sizeof line, from->spec, event));
#if defined(CHEEP_MQTT)
    net_event(from, event, running > 0u);
#endif
#if defined(CHEEP_SD)
    sd_event(from, event);
#endif
}

static void on_stats(void *context, const cheep_app *from, const cheep_app_stats *stats)
{
    static char line[CHEEP_LINE_BYTES];
    cheep_app_stats shown = *stats;
    (void)context;
    restart_settled(); /* a minute of sound since the start */
#if defined(CHEEP_SD)
    shown.card = sd_losses();
#endif
    write_line(line, cheep_line_stats(line, sizeof line, from->spec, &shown, cheep_model_memory_bytes(),
                                      cheep_hal_stack_bytes()));
#if defined(CHEEP_MQTT)
    net_level(stats->input.level_e1);
#endif
}

static void on_microphone(void *context, const cheep_app *from, cheep_microphone state)
{
    static char line[CHEEP_LINE_BYTES];
    (void)context;
    write_line(line, cheep_line_microphone(line, sizeof line, from, state));
#if defined(CHEEP_MQTT)
    net_microphone(state);
#endif
}

/* A window may take longer than the watchdog waits: it waits for three. */
static void on_slow(void *context, const cheep_app *from, const cheep_app_slow *slow)
{
    static char line[CHEEP_LINE_BYTES];
    const uint32_t timeout_ms = 3u * (slow->window_us / 1000u);
    const esp_task_wdt_config_t config = {
        .timeout_ms = timeout_ms > 1000u * CONFIG_ESP_TASK_WDT_TIMEOUT_S ? timeout_ms
                                                                         : 1000u * CONFIG_ESP_TASK_WDT_TIMEOUT_S,
        .idle_core_mask = 0,
        .trigger_panic = true,
    };
    (void)context;
    ESP_ERROR_CHECK(esp_task_wdt_reconfigure(&config));
    write_line(line, cheep_line_slow(line, sizeof line, from, slow));
}

/* The producer: reads, decimates, copies into the ring, wakes the main task. */
static void read_microphone(void *unused)
{
    static int16_t pcm[BLOCK + 1];
    (void)unused;
    for (;;) {
        size_t got = 0;
        if (microphone_read(pcm, BLOCK, &got) == ESP_OK && got > 0u) {
            cheep_capture_took(&capture, pcm, got, microphone_dropped());
            capture.offset = microphone_offset();
            xTaskNotifyGive(main_task);
        } else {
            vTaskDelay(pdMS_TO_TICKS(cheep_capture_failed(&capture)));
        }
    }
}

/* Said again and again, so that a monitor opened later sees it: nobody else has to be fed meanwhile. Where the other place
 * holds an application that may run, it is said once, and that one starts. */
static void refuse(const char *stage, const char *reason)
{
    static char line[CHEEP_LINE_BYTES];
    write_line(line, cheep_line_error(line, sizeof line, stage, reason));
    cheep_update_boot(places_esp32(), false); /* comes back only where there is no other */
    (void)esp_task_wdt_delete(NULL); /* not watched yet, at boot */
    for (;;) {
        write_line(line, cheep_line_error(line, sizeof line, stage, reason));
        for (unsigned blink = 0; blink < 20u; blink++) {
            set_led(blink % 2u == 0u);
            vTaskDelay(pdMS_TO_TICKS(250));
        }
    }
}

void app_main(void)
{
    static char line[CHEEP_LINE_BYTES];
    cheep_app_handlers handlers = {.context = NULL, .event = on_event, .stats = on_stats, .scores = NULL,
                                   .microphone = on_microphone, .slow = on_slow};
#if defined(CHEEP_HDC)
    handlers.scores = hdc_window; /* the model gives an embedding, which makes no event of its own */
#endif
    if (CHEEP_PIN_LED >= 0) {
        gpio_reset_pin((gpio_num_t)CHEEP_PIN_LED);
        gpio_set_direction((gpio_num_t)CHEEP_PIN_LED, GPIO_MODE_OUTPUT);
    }
    set_led(false);
    const bool calm = restart_is_calm();
    (void)calm; /* neither network nor card: nothing to leave out */
    main_task = xTaskGetCurrentTaskHandle();
    (void)cheep_ring_init(&ring, samples, CHEEP_RING_SAMPLES);
    (void)cheep_capture_init(&capture, &ring, FACTOR, CHEEP_MEL_SAMPLE_RATE_HZ);
    if (cheep_app_boot(&app, &cheep_generated_app, memory, sizeof memory, &ring, &handlers) != CHEEP_OK) {
        refuse(cheep_stage_name(app.failed_stage), app.failure);
    }
    if (microphone_start(CAPTURE_HZ) != ESP_OK) {
        refuse("microphone", "the I2S driver refuses pins or rate (src/board_config.h)");
    }
    cheep_update_boot(places_esp32(), true); /* golden windows passed: this application stays */
    write_line(line, cheep_line_boot(line, sizeof line, &cheep_generated_app, CONFIG_IDF_TARGET, LABELS,
                                     sizeof app + sizeof memory, cheep_model_memory_bytes()));
#if defined(CHEEP_HDC)
    hdc_start();
#endif
#if defined(CHEEP_MQTT)
    if (calm) {
        net_start(&cheep_generated_app);
    }
#endif
#if defined(CHEEP_SD)
    if (calm && !sd_start(&ring)) {
        static const char warning[] = "no SD card, or not FAT: looked for again with each detection\n";
        write_line(warning, sizeof warning - 1u);
    }
#endif
    cheep_app_watch(&app, &capture);
    if (xTaskCreatePinnedToCore(read_microphone, "capture", CAPTURE_STACK, NULL, CAPTURE_PRIORITY, NULL, 0) != pdPASS) {
        refuse("microphone", "no memory for the task that reads it");
    }
    ESP_ERROR_CHECK(esp_task_wdt_add(NULL));
    for (;;) {
        ESP_ERROR_CHECK(esp_task_wdt_reset());
#if defined(CHEEP_HDC)
        hdc_poll();
#endif
#if defined(CHEEP_MQTT)
        net_poll();
#endif
        if (cheep_app_poll(&app, POLL_SAMPLES) == 0u) {
            (void)ulTaskNotifyTake(pdTRUE, pdMS_TO_TICKS(1000));
        }
#if defined(CHEEP_SD)
        sd_poll(&app);
#endif
        if (app.failed_stage != CHEEP_STAGE_NONE) {
            refuse(cheep_stage_name(app.failed_stage), app.failure);
        }
    }
}
