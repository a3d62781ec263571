/* SPDX-License-Identifier: MIT */
#include "card.h"

#include <string.h>

#include "audiomoth.h"

#include "field_time.h"

#define SETTINGS_NAME "SETTINGS.TXT"
#define LOG_NAME "CHEEP.LOG"
#define STORE_BYTES 512u
#define READ_BYTES 64u
#define CLIP_SAMPLES 128u

static char store_data[STORE_BYTES];
static field_store store = {store_data, STORE_BYTES, 0, 0};
static char store_name[FIELD_NAME_BYTES]; /* the file that the waiting rows belong to */
static bool mounted;

bool card_start(void)
{
    mounted = AudioMoth_enableFileSystem(AM_SD_CARD_HIGH_SPEED);
    return mounted;
}

void card_stop(void)
{
    if (mounted) {
        AudioMoth_disableFileSystem();
        mounted = false;
    }
}

/* The library's calls take char * but do not write. */
static char *name_of(const char *name)
{
    return (char *)(uintptr_t)name;
}

static bool append(const char *name, const char *data, size_t n)
{
    if (!mounted || !AudioMoth_appendFile(name_of(name))) {
        return false;
    }
    bool good = AudioMoth_writeToFile(name_of(data), (uint16_t)n);
    return AudioMoth_closeFile() && good;
}

void card_log(uint32_t utc, const char *text)
{
    char line[256];
    cheep_text t;
    cheep_text_init(&t, line, sizeof line - 1u);
    field_text_iso(&t, utc, 0);
    cheep_text_char(&t, ' ');
    cheep_text_string(&t, text);
    line[t.length] = '\n';
    (void)append(LOG_NAME, line, t.length + 1u);
}

static void log_problem(void *context, const char *text)
{
    card_log(*(const uint32_t *)context, text);
}

static void write_line(void *context, const char *text)
{
    bool *good = context;
    *good = *good && AudioMoth_writeToFile(name_of(text), (uint16_t)strlen(text)) &&
            AudioMoth_writeToFile(name_of("\r\n"), 2);
}

static void write_defaults(const char *const *labels, const cheep_detector_spec *model, uint32_t utc)
{
    bool good = AudioMoth_openFile(name_of(SETTINGS_NAME));
    if (good) {
        field_settings_write(labels, model, write_line, &good);
        good = AudioMoth_closeFile() && good;
    }
    card_log(utc, good ? "SETTINGS.TXT written with the defaults" : "SETTINGS.TXT cannot be written (card full?)");
}

void card_settings(field_settings *settings, const char *const *labels, const cheep_detector_spec *model)
{
    static field_parser parser; /* of no use once the file is read, but too large for the stack */
    char text[READ_BYTES];
    uint32_t utc = 0;
    AudioMoth_getTime(&utc, NULL);
    field_settings_default(settings);
    if (!AudioMoth_doesFileExist(name_of(SETTINGS_NAME))) {
        write_defaults(labels, model, utc);
        return;
    }
    field_parser_init(&parser, settings, labels, model->n_classes, log_problem, &utc);
    /* The log and the settings cannot be open together: read piece by piece, reopening at its place. */
    for (uint32_t at = 0;; at += READ_BYTES) {
        memset(text, 0, sizeof text);
        bool good = AudioMoth_openFileToRead(name_of(SETTINGS_NAME)) && AudioMoth_seekInFile(at) &&
                    AudioMoth_readFile(text, sizeof text);
        (void)AudioMoth_closeFile();
        if (!good) {
            card_log(utc, "SETTINGS.TXT cannot be read; going on with what was read");
            break;
        }
        size_t n = 0;
        while (n < sizeof text && text[n] == '\0') {
            n++;
        }
        if (n == sizeof text) { /* behind the end: UTF-16 has zeros in its middle, but no block of them */
            break;
        }
        field_parser_feed(&parser, text, sizeof text);
    }
    if (field_parser_finish(&parser) > 0u) {
        card_log(utc, "SETTINGS.TXT: the refused lines keep their defaults");
    }
}

static bool write_row(const char *name, const char *header, const char *row, size_t n)
{
    if (mounted && !AudioMoth_doesFileExist(name_of(name)) && !append(name, header, strlen(header))) {
        return false;
    }
    return append(name, row, n);
}

void card_row(const char *name, const char *header, const char *row, size_t n)
{
    if (store.length > 0u) {
        if (!mounted) {
            (void)card_start();
        }
        if (write_row(store_name, header, store.data, store.length)) {
            field_store_clear(&store);
        }
    }
    if (store.length == 0u && write_row(name, header, row, n)) {
        return;
    }
    card_stop(); /* so that the next row starts the card anew */
    if (store.length == 0u) {
        memcpy(store_name, name, strlen(name) + 1u);
    }
    field_store_add(&store, row, n);
}

bool card_clip(const char *name, const field_wav *wav, const cheep_ring *ring, uint32_t back)
{
    union {
        uint8_t header[FIELD_WAV_HEADER_BYTES];
        int16_t pcm[CLIP_SAMPLES];
    } block;
    if (!mounted || !AudioMoth_openFile(name_of(name))) {
        return false;
    }
    field_wav_header(block.header, wav);
    bool good = AudioMoth_writeToFile(block.header, sizeof block.header);
    uint32_t left = wav->samples;
    while (good && left > 0u) {
        uint32_t n = left < CLIP_SAMPLES ? left : CLIP_SAMPLES;
        size_t got = cheep_ring_history(ring, back + left - n, block.pcm, n);
        good = got == n && AudioMoth_writeToFile(block.pcm, (uint16_t)(2u * n));
        left -= n;
        AudioMoth_feedWatchdog();
    }
    return AudioMoth_closeFile() && good;
}

bool card_block(const char *name, const void *data, size_t n)
{
    if (!mounted) {
        (void)card_start();
    }
    return append(name, data, n);
}

uint32_t card_lost_rows(void)
{
    return store.dropped;
}
