/* SPDX-License-Identifier: MIT */
/* The hyperdimensional head on the emulated core: instructions per step, and everything that the host compares.
 *
 * Arguments: IN OUT. IN: embeddings, int8 [n][CHEEP_HDC_DIMS]. OUT: for each its hypervector (int8 [H]) and scores
 * (int32), the same while a class is learned from all of them, and once more after a rehearsal of two passes. */
#include <string.h>

#include "cheep_hdc.h"
#include "cheep_hdc_generated.h"
#include "emulator.h"

static cheep_hdc hdc;
static _Alignas(8) unsigned char memory[CHEEP_HDC_MEMORY_BYTES];
static int8_t hypervector[CHEEP_HDC_HYPER];

static int write_all(const char *in, int sink, uint16_t learn)
{
    int8_t embedding[CHEEP_HDC_DIMS];
    int32_t scores[CHEEP_HDC_CLASSES + CHEEP_HDC_SLOTS];
    uint32_t classify = 0;
    uint32_t encode = 0;
    uint32_t compare = 0;
    uint32_t learning = 0;
    const int source = emulator_open_read(in);
    if (source < 0) {
        return 1;
    }
    while (emulator_read(source, embedding, sizeof embedding) == sizeof embedding) {
        cheep_hdc_result result;
        uint32_t start = emulator_ticks();
        cheep_hdc_classify(&hdc, embedding, &result);
        classify = emulator_elapsed(start);
        start = emulator_ticks();
        cheep_hdc_encode(&hdc, embedding);
        encode = emulator_elapsed(start);
        start = emulator_ticks();
        cheep_hdc_compare(&hdc, scores, &result);
        compare = emulator_elapsed(start);
        cheep_hdc_query_values(&hdc, hypervector);
        emulator_write(sink, hypervector, sizeof hypervector);
        emulator_write(sink, scores, sizeof scores);
        if (learn != CHEEP_HDC_UNKNOWN) {
            start = emulator_ticks();
            if (cheep_hdc_learn(&hdc, learn, embedding) != CHEEP_OK) {
                return 1;
            }
            learning = emulator_elapsed(start);
        }
    }
    emulator_close(source);
    if (learn == CHEEP_HDC_UNKNOWN) {
        emulator_report("classify", classify);
        emulator_report("encode", encode);
        emulator_report("compare", compare);
    } else {
        emulator_report("learn", learning);
    }
    return 0;
}

int main(void)
{
    char buffer[512];
    const char *words = emulator_arguments(buffer, sizeof buffer);
    char *space = strchr(words, ' ');
    if (space == NULL) {
        emulator_print("usage: IN OUT\n");
        return 2;
    }
    *space = '\0';
    const int sink = emulator_open_write(space + 1);
    uint16_t index = CHEEP_HDC_UNKNOWN;
    if (sink < 0 || cheep_hdc_init(&hdc, &cheep_hdc_generated, CHEEP_HDC_SLOTS, memory, sizeof memory) != CHEEP_OK) {
        emulator_print("init refused\n");
        return 1;
    }
    emulator_stack_paint();
    if (write_all(words, sink, CHEEP_HDC_UNKNOWN) != 0 ||
        (CHEEP_HDC_SLOTS > 0 && cheep_hdc_add_class(&hdc, "new", &index) == CHEEP_OK &&
         write_all(words, sink, index) != 0)) {
        emulator_print("failed\n");
        return 1;
    }
    if (CHEEP_HDC_SLOTS > 0) {
        const uint32_t start = emulator_ticks();
        emulator_report("corrections", cheep_hdc_rehearse(&hdc, 2));
        emulator_report("rehearse", emulator_elapsed(start));
        if (write_all(words, sink, CHEEP_HDC_UNKNOWN) != 0) {
            emulator_print("failed\n");
            return 1;
        }
    }
    emulator_close(sink);
    emulator_report("stack_bytes", emulator_stack_peak_bytes());
    emulator_report("memory_bytes", (uint32_t)(sizeof hdc + cheep_hdc_memory_bytes(&cheep_hdc_generated, CHEEP_HDC_SLOTS)));
    return 0;
}
