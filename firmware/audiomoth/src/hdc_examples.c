/* SPDX-License-Identifier: MIT */
#if defined(CHEEP_HDC)

#include "hdc_examples.h"

#include <string.h>

#include "audiomoth.h"
#include "card.h"
#include "cheep_generated.h"
#include "cheep_hdc_app.h"
#include "cheep_hdc_generated.h"
#include "ff.h"

#define FOLDER "EXAMPLES"
#define BLOCK_SAMPLES 256u
#define PATH_BYTES 64u
#define ALL_WINDOWS 65535u

_Static_assert(CHEEP_HDC_FEATURE_HASH == CHEEP_MODEL_FEATURE_HASH && CHEEP_HDC_EXTRACTOR_ID == CHEEP_MODEL_ID,
               "model.h is not the head's extractor: run cheep model-convert --model RUN/hdc");

static cheep_hdc_app head;
static _Alignas(8) uint8_t head_memory[CHEEP_HDC_MEMORY_BYTES];

static void log_line(void *context, const char *text)
{
    uint32_t utc = 0;
    (void)context;
    AudioMoth_getTime(&utc, NULL);
    card_log(utc, text);
}

void hdc_examples_window(void *context, const cheep_app *app, uint64_t window_sample, const int8_t *embedding)
{
    (void)context;
    (void)app;
    if (head.hdc.spec != NULL) {
        cheep_hdc_app_window(&head, embedding, window_sample);
    }
}

static uint32_t number(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0u) {
        value = value << 8 | at[bytes];
    }
    return value;
}

/* Move to the samples of a WAV; their number of bytes, or 0 where it is not one that fits. */
static uint32_t find_samples(FIL *file)
{
    uint8_t head_bytes[16];
    UINT got = 0;
    bool fits = false;
    if (f_read(file, head_bytes, 12, &got) != FR_OK || got != 12u || memcmp(head_bytes, "RIFF", 4) != 0 ||
        memcmp(head_bytes + 8, "WAVE", 4) != 0) {
        return 0;
    }
    while (f_read(file, head_bytes, 8, &got) == FR_OK && got == 8u) {
        uint32_t size = number(head_bytes + 4, 4);
        FSIZE_t next = f_tell(file) + size + (size & 1u);
        if (memcmp(head_bytes, "data", 4) == 0) {
            return fits ? size : 0u;
        }
        if (memcmp(head_bytes, "fmt ", 4) == 0) {
            if (size < 16u || f_read(file, head_bytes, 16, &got) != FR_OK || got != 16u) {
                return 0;
            }
            fits = number(head_bytes, 2) == 1u && number(head_bytes + 2, 2) == 1u &&
                   number(head_bytes + 4, 4) == CHEEP_MEL_SAMPLE_RATE_HZ && number(head_bytes + 14, 2) == 16u;
        }
        if (f_lseek(file, next) != FR_OK) {
            return 0;
        }
    }
    return 0;
}

/* Play a file through the application, from a fresh start, so that no window joins two files. */
static bool play(cheep_app *app, const char *path)
{
    static FIL file;
    static int16_t samples[BLOCK_SAMPLES];
    if (f_open(&file, path, FA_READ) != FR_OK) {
        return false;
    }
    uint32_t left = find_samples(&file);
    bool good = left > 0u;
    const cheep_app_handlers handlers = {.context = NULL, .event = NULL, .stats = NULL, .scores = hdc_examples_window};
    cheep_app_forget(app);
    app->handlers = handlers;
    while (good && left >= sizeof samples[0]) {
        UINT got = 0;
        UINT want = left < sizeof samples ? (UINT)left : (UINT)sizeof samples;
        good = f_read(&file, samples, want, &got) == FR_OK && got == want;
        if (good) {
            left -= got;
            (void)cheep_ring_push(app->ring, samples, got / sizeof samples[0]);
            (void)cheep_app_poll(app, BLOCK_SAMPLES);
            AudioMoth_feedWatchdog();
        }
    }
    (void)f_close(&file);
    return good;
}

/* path + "/" + name; false: too long */
static bool join(char *path, size_t stem, const char *name)
{
    size_t n = strlen(name);
    if (stem + n + 2u > PATH_BYTES) {
        return false;
    }
    path[stem] = '/';
    memcpy(path + stem + 1u, name, n + 1u);
    return true;
}

static void learn_class(cheep_app *app, const char *name)
{
    static DIR folder;
    static FILINFO entry;
    char path[PATH_BYTES] = FOLDER;
    if (!join(path, strlen(path), name) || f_opendir(&folder, path) != FR_OK || cheep_hdc_app_learn(&head, name, ALL_WINDOWS) != CHEEP_OK) {
        return;
    }
    size_t stem = strlen(path);
    while (f_readdir(&folder, &entry) == FR_OK && entry.fname[0] != '\0') {
        if ((entry.fattrib & AM_DIR) != 0u || entry.fname[0] == '.') {
            continue;
        }
        if (!join(path, stem, entry.fname) || !play(app, path)) {
            log_line(NULL, "left out (wanted: 16-bit mono WAV at the model's rate):");
            log_line(NULL, entry.fname);
        }
    }
    (void)f_closedir(&folder);
    cheep_hdc_app_learned(&head);
}

bool hdc_examples_learn(cheep_app *app)
{
    static DIR folder;
    static FILINFO entry;
    const cheep_hdc_app_io io = {.context = NULL, .line = log_line, .storage = NULL};
    if (cheep_hdc_app_boot(&head, &cheep_hdc_generated, cheep_hdc_labels, CHEEP_HDC_SLOTS, head_memory,
                           sizeof head_memory, &io) != CHEEP_OK) {
        log_line(NULL, "the head refuses its headers: run cheep hdc export");
        return false;
    }
    if (f_opendir(&folder, FOLDER) != FR_OK) {
        return true; /* no examples: the fixed classes */
    }
    while (f_readdir(&folder, &entry) == FR_OK && entry.fname[0] != '\0') {
        if ((entry.fattrib & AM_DIR) != 0u && entry.fname[0] != '.') {
            learn_class(app, entry.fname);
        }
    }
    (void)f_closedir(&folder);
    return true;
}

#else
typedef int cheep_hdc_is_not_used;
#endif
