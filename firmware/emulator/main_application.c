/* SPDX-License-Identifier: MIT */
/* The application on an emulated core: the lines that a board writes, and what each stage costs.
 *
 * Argument: IN, int16 little-endian mono PCM at the model's rate. The model is the compiled one.
 */
#include "cheep_app.h"
#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "emulator.h"
#include "hal.h"

#define BLOCK 256
#define RING_SAMPLES 2048
#if defined(__ARM_ARCH_6M__)
#undef RING_SAMPLES
#define RING_SAMPLES 512 /* QEMU's machine with that core has 16 KB */
#endif
#define CLOCK_MHZ 48u /* lines give times as if the core ran one instruction per cycle at the AudioMoth's clock */

static cheep_app app;
static cheep_ring ring;
static int16_t samples[RING_SAMPLES];
static int16_t block[BLOCK];
static _Alignas(8) unsigned char memory[CHEEP_APP_MEMORY_BYTES];
static cheep_app_stats worst;
static uint64_t instructions; /* of the whole application, reading of the file aside */

/* One unit is one instruction, so that the statistics are exact. */
uint32_t cheep_hal_clock_us(void)
{
    static uint32_t last;
    static uint32_t total;
    total += emulator_elapsed(last);
    last = emulator_ticks();
    return total;
}

uint32_t cheep_hal_stack_bytes(void)
{
    return emulator_stack_peak_bytes();
}

void cheep_hal_alive(void)
{
}

static void keep(uint32_t *most, uint32_t value)
{
    *most = value > *most ? value : *most;
}

static void keep_worst(const cheep_app_stats *stats)
{
    keep(&worst.frontend_us, stats->frontend_us);
    keep(&worst.model_us, stats->model_us);
    keep(&worst.detector_us, stats->detector_us);
}

static void on_event(void *context, const cheep_app *from, const cheep_app_event *event)
{
    char line[CHEEP_LINE_BYTES];
    (void)context;
    (void)cheep_line_event(line, sizeof line, from->spec, event);
    emulator_print(line);
}

static void on_stats(void *context, const cheep_app *from, const cheep_app_stats *stats)
{
    char line[CHEEP_LINE_BYTES];
    cheep_app_stats shown = *stats;
    (void)context;
    keep_worst(stats);
    shown.frontend_us /= CLOCK_MHZ;
    shown.model_us /= CLOCK_MHZ;
    shown.detector_us /= CLOCK_MHZ;
    (void)cheep_line_stats(line, sizeof line, from->spec, &shown, cheep_model_memory_bytes(), cheep_hal_stack_bytes());
    emulator_print(line);
}

int main(void)
{
    char path[256];
    char line[CHEEP_LINE_BYTES];
    const cheep_app_handlers handlers = {.context = NULL, .event = on_event, .stats = on_stats, .scores = NULL};
    const int source = emulator_open_read(emulator_arguments(path, sizeof path));
    if (source < 0) {
        emulator_print("cannot open IN\n");
        return 2;
    }
    (void)cheep_ring_init(&ring, samples, RING_SAMPLES);
    const cheep_status status = cheep_app_boot(&app, &cheep_generated_app, memory, sizeof memory, &ring, &handlers);
    if (status != CHEEP_OK) {
        (void)cheep_line_error(line, sizeof line, cheep_stage_name(app.failed_stage), app.failure);
        emulator_print(line);
        return 1;
    }
    (void)cheep_line_boot(line, sizeof line, &cheep_generated_app, EMULATOR_BOARD, CHEEP_MODEL_CLASSES,
                          sizeof app + sizeof memory, cheep_model_memory_bytes());
    emulator_print(line);
    for (;;) {
        const size_t got = emulator_read(source, block, sizeof block) / sizeof block[0];
        const uint32_t begun = cheep_hal_clock_us();
        (void)cheep_ring_push(&ring, block, got);
        (void)cheep_app_poll(&app, SIZE_MAX);
        instructions += cheep_hal_clock_us() - begun;
        if (got < BLOCK) {
            break;
        }
    }
    cheep_app_finish(&app);
    keep_worst(&app.stats);
    emulator_report("frontend_instructions", worst.frontend_us);
    emulator_report("model_instructions", worst.model_us);
    emulator_report("detector_instructions", worst.detector_us);
    emulator_report("thousand_instructions", (uint32_t)(instructions / 1000u));
    emulator_report("stack_bytes", emulator_stack_peak_bytes());
    emulator_report("ring_bytes", (uint32_t)(sizeof samples + sizeof block));
    return 0;
}
