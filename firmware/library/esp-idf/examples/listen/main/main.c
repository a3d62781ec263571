/* SPDX-License-Identifier: MIT */
/* The detector of this component in an application of your own: it checks itself, then hears what you push into the ring.
 * Here that is silence; put your microphone's samples there (firmware/esp32 of Cheep reads I2S and PDM microphones). */
#include <stdio.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "cheep_build.h"

#include "cheep_app.h"
#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"

#define BLOCK 256

static cheep_app app;
static cheep_ring ring;
static int16_t samples[8192];
static _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];
static char line[CHEEP_LINE_BYTES];

static void on_event(void *context, const cheep_app *from, const cheep_app_event *event)
{
    (void)context;
    fwrite(line, 1, cheep_line_event(line, sizeof line, from->spec, event), stdout);
}

void app_main(void)
{
    static const int16_t silence[BLOCK];
    const cheep_app_handlers handlers = {.event = on_event};
    (void)cheep_ring_init(&ring, samples, 8192);
    if (cheep_app_boot(&app, &cheep_generated_app, memory, sizeof memory, &ring, &handlers) != CHEEP_OK) {
        fwrite(line, 1, cheep_line_error(line, sizeof line, cheep_stage_name(app.failed_stage), app.failure), stdout);
        return;
    }
    fwrite(line, 1,
           cheep_line_boot(line, sizeof line, &cheep_generated_app, CONFIG_IDF_TARGET, CHEEP_MODEL_CLASSES,
                           sizeof app + sizeof memory, cheep_model_memory_bytes()),
           stdout);
    for (;;) {
        (void)cheep_ring_push(&ring, silence, BLOCK);
        (void)cheep_app_poll(&app, 4 * CHEEP_MEL_HOP_SAMPLES);
        vTaskDelay(pdMS_TO_TICKS(1000 * BLOCK / CHEEP_MEL_SAMPLE_RATE_HZ));
    }
}
