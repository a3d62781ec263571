/* SPDX-License-Identifier: MIT */
/* A compiled network on the emulated core.
 *
 * Arguments: IN OUT COUNT. IN: COUNT times the bytes of all inputs, one after another; OUT: the same for the
 * outputs. bench_model.h is rendered for the model: see src/cheep/compiler/measure.py. With STREAM columns
 * of one long recording are pushed one by one, and the scores written whenever a window is complete.
 */
#include <string.h>

#include "bench_model.h"
#include "emulator.h"

static bench_memory memory;
static _Alignas(8) bench_inputs inputs;
static bench_outputs outputs;

int main(void)
{
    static char buffer[512];
    static char in[256];
    static char out[256];
    char *targets[2] = {in, out};
    const char *rest = emulator_arguments(buffer, sizeof buffer);
    uint32_t worst = 0;
    uint64_t total = 0;
    uint32_t count = 0;

    for (int i = 0; i < 2; i++) {
        const char *space = strchr(rest, ' ');
        if (space == NULL || (size_t)(space - rest) >= sizeof in) {
            emulator_print("usage: IN OUT COUNT\n");
            return 2;
        }
        memcpy(targets[i], rest, (size_t)(space - rest));
        targets[i][space - rest] = '\0';
        rest = space + 1;
    }
    for (; *rest >= '0' && *rest <= '9'; rest++) {
        count = count * 10u + (uint32_t)(*rest - '0');
    }
    const int source = emulator_open_read(in);
    const int sink = emulator_open_write(out);
    if (source < 0 || sink < 0) {
        emulator_print("cannot open the files\n");
        return 2;
    }
    bench_start(&memory);
    emulator_stack_paint();
    for (uint32_t i = 0; i < count; i++) {
        if (emulator_read(source, &inputs, sizeof inputs) != sizeof inputs) {
            emulator_print("the input file is too short\n");
            return 2;
        }
        const uint32_t start = emulator_ticks();
        const int ready = bench_run(&memory, &inputs, &outputs);
        const uint32_t elapsed = emulator_elapsed(start);
        worst = elapsed > worst ? elapsed : worst;
        total += elapsed;
        if (ready) {
            emulator_write(sink, &outputs, sizeof outputs);
        }
    }
    emulator_close(sink);
    emulator_report("instructions_worst", worst);
    emulator_report("instructions_mean", count == 0 ? 0 : (uint32_t)(total / count));
    emulator_report("stack_bytes", emulator_stack_peak_bytes());
    emulator_report("memory_bytes", (uint32_t)sizeof memory);
    return 0;
}
