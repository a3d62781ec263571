/* SPDX-License-Identifier: MIT */
/* A classifier of anything that comes in lines of text: by a serial line, or from a file. No microphone, no clock.
 *
 * A line "x HEX CRC" is one input: HEX are the bytes of the network's int8 input, two digits each, CRC their CRC-32, eight
 * digits. The answer is one line of JSON with the class, its score and the next best. Anything else is answered with an
 * error. `cheep hdc import` writes such lines (inputs.txt) and what must be answered (answers.jsonl).
 *
 * In a folder of `cheep hdc import`: extractor_compiled.c (the network) and generated/ (the head). All memory is static.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cheep_crc32.h"
#include "cheep_hdc_generated.h"
#include "extractor_compiled.h"

#ifdef ESP_PLATFORM
#include "driver/uart.h"
#include "freertos/FreeRTOS.h"
#include "sdkconfig.h"

/* The UART's own memory holds 11 ms of text; what comes in while the network runs waits here: 0.7 s. */
#define WAITING_BYTES 8192
#endif

#define INPUT_BYTES EXTRACTOR_COMPILED_INPUT0_SIZE

_Static_assert(EXTRACTOR_COMPILED_OUTPUT0_SIZE == CHEEP_HDC_DIMS,
               "extractor_compiled.h and generated/ are of different imports: run cheep hdc import");

static extractor_compiled_memory network;
static int8_t input[INPUT_BYTES], embedding[CHEEP_HDC_DIMS];
static uint64_t head_memory[(CHEEP_HDC_MEMORY_BYTES + 7) / 8];
static cheep_hdc head;

#ifdef ESP_PLATFORM
/* One character of the console; a serial line has no end, and is waited for. */
static int read_character(void)
{
    static uint8_t bytes[128];
    static int have, at;
    while (at >= have) {
        have = uart_read_bytes(CONFIG_ESP_CONSOLE_UART_NUM, bytes, sizeof bytes, 1);
        at = 0;
    }
    return bytes[at++];
}
#else
static int read_character(void)
{
    return getchar();
}
#endif

/* One character, no carriage return; -1 at the end of a file. */
static int next_character(void)
{
    int c;
    do {
        c = read_character();
    } while (c == '\r');
    return c == EOF ? -1 : c;
}

static int digit(int c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Read `n` bytes in hexadecimal; the character behind them goes to *end. False where there are fewer, or more. */
static bool read_hex(uint8_t *out, size_t n, int *end)
{
    for (size_t i = 0; i < n; i++) {
        const int high = digit(*end = next_character());
        const int low = high < 0 ? -1 : digit(*end = next_character());
        if (low < 0) {
            return false;
        }
        out[i] = (uint8_t)(16 * high + low);
    }
    *end = next_character();
    return true;
}

static void answer(unsigned number)
{
    cheep_hdc_result result;
    extractor_compiled_invoke(&network, input, embedding);
    cheep_hdc_classify(&head, embedding, &result);
    printf("{\"type\":\"class\",\"n\":%u,\"class\":%d,\"label\":\"%s\",\"score\":%ld,\"second\":%ld,\"embedding\":\"%08lx\"}\n",
           number, result.class_index == CHEEP_HDC_UNKNOWN ? -1 : (int)result.class_index,
           result.class_index < CHEEP_HDC_CLASSES ? cheep_hdc_labels[result.class_index] : "unknown", (long)result.score,
           (long)result.second, (unsigned long)cheep_crc32(0, embedding, sizeof embedding));
    fflush(stdout);
}

static void run(void)
{
    unsigned number = 0;
    for (int c = next_character(); c >= 0; c = next_character()) {
        uint8_t crc[4] = {0, 0, 0, 0};
        const bool empty = c == '\n';
        bool good = c == 'x' && (c = next_character()) == ' ';
        good = good && read_hex((uint8_t *)input, sizeof input, &c) && c == ' ' && read_hex(crc, sizeof crc, &c);
        const bool whole = good && (c == '\n' || c < 0);
        const uint32_t given = (uint32_t)crc[0] << 24 | (uint32_t)crc[1] << 16 | (uint32_t)crc[2] << 8 | crc[3];
        if (whole && given == cheep_crc32(0, input, sizeof input)) {
            answer(number++);
        } else if (whole) {
            printf("{\"type\":\"error\",\"n\":%u,\"text\":\"CRC differs: send it again\"}\n", number);
        } else if (!empty) {
            printf("{\"type\":\"error\",\"n\":%u,\"text\":\"want: x, %u bytes in hexadecimal, CRC-32\"}\n", number,
                   (unsigned)sizeof input);
        }
        while (c != '\n' && c >= 0) {
            c = next_character();
        }
        fflush(stdout);
    }
}

static int start(void)
{
    if (cheep_hdc_init(&head, &cheep_hdc_generated, 0, head_memory, sizeof head_memory) != CHEEP_OK) {
        printf("{\"type\":\"error\",\"text\":\"the head and its memory do not fit\"}\n");
        return 1;
    }
    printf("{\"type\":\"ready\",\"input_bytes\":%u,\"classes\":%u,\"head\":\"%08lx\"}\n", (unsigned)INPUT_BYTES,
           (unsigned)CHEEP_HDC_CLASSES, (unsigned long)CHEEP_HDC_PROJECTION_ID);
    fflush(stdout);
    run();
    return 0;
}

#ifdef ESP_PLATFORM
void app_main(void);
void app_main(void)
{
    if (uart_driver_install(CONFIG_ESP_CONSOLE_UART_NUM, WAITING_BYTES, 0, 0, NULL, 0) != ESP_OK) {
        printf("{\"type\":\"error\",\"text\":\"no memory for the serial line\"}\n");
        return;
    }
    (void)start();
}
#else
int main(void)
{
    return start();
}
#endif
