/* SPDX-License-Identifier: MIT */
/* A firmware that takes models from a card, on the emulated Cortex-M4F: slots, records and window lie where an AudioMoth has
 * them, so it runs an AudioMoth's MODEL.BIN.
 *
 * Arguments: listen MODEL.BIN IN       take the file in, as at a start with an empty flash, and listen to IN (int16 PCM);
 *            take FIRST SECOND ...     a start with each of the files, one after another; "-": a card without one
 *            cuts COUNT OLD NEW        OLD is in use; the power fails COUNT times while NEW is taken in, each time from
 *                                      there: then a start without the file, and one with it
 */
#include <setjmp.h>
#include <string.h>

#include "cheep_app.h"
#include "cheep_card.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "emulator.h"
#include "hal.h"

#define BLOCK 256
#define RING_SAMPLES 2048
#define FILE_BYTES (3u * CHEEP_CARD_SLOT_BYTES)
#define FLASH_BYTES (2u * CHEEP_CARD_SLOT_BYTES + 2u * CHEEP_CARD_PAGE_BYTES)

_Static_assert(CHEEP_CARD_SLOT1 == CHEEP_CARD_SLOT0 + CHEEP_CARD_SLOT_BYTES &&
                   CHEEP_CARD_STATE0 == CHEEP_CARD_SLOT1 + CHEEP_CARD_SLOT_BYTES &&
                   CHEEP_CARD_STATE1 == CHEEP_CARD_STATE0 + CHEEP_CARD_PAGE_BYTES,
               "slots and records are taken for one piece of flash");

static cheep_app app;
static cheep_ring ring;
static int16_t samples[RING_SAMPLES];
static int16_t block[BLOCK];
static uint8_t kept_flash[FLASH_BYTES];
static bool quiet;

typedef struct {
    uint8_t data[FILE_BYTES];
    size_t bytes;
} card_file;

static card_file files[2];
static const card_file *inserted; /* NULL: a card without MODEL.BIN */

/* The power: fails at a moment; what the flash was doing stays half done. */
static struct {
    jmp_buf start;
    uint32_t now, fails_at; /* moments; fails_at 0: never */
    uint32_t random;
} power;

uint32_t cheep_hal_clock_us(void)
{
    return 0;
}

uint32_t cheep_hal_stack_bytes(void)
{
    return emulator_stack_peak_bytes();
}

static uint32_t next_random(void)
{
    power.random = power.random * 1664525u + 1013904223u;
    return power.random ^ power.random >> 15;
}

static bool fails_now(void)
{
    power.now++;
    return power.fails_at != 0u && power.now == power.fails_at;
}

static void moment(void)
{
    if (fails_now()) {
        longjmp(power.start, 1);
    }
}

void cheep_hal_alive(void)
{
    moment();
}

static volatile uint32_t *word_at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static bool erase(void *context, uint32_t address)
{
    (void)context;
    const bool fails = fails_now();
    for (uint32_t at = 0; at < CHEEP_CARD_PAGE_BYTES; at += 4u) {
        *word_at(address + at) |= fails ? next_random() : UINT32_MAX;
    }
    if (fails) {
        longjmp(power.start, 1);
    }
    return true;
}

static bool write_words(void *context, uint32_t address, const uint32_t *words, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) {
        const bool fails = fails_now();
        *word_at(address + 4u * (uint32_t)i) &= words[i] | (fails ? next_random() : 0u); /* bits only fall */
        if (fails) {
            longjmp(power.start, 1);
        }
    }
    return true;
}

static bool exists(void *context)
{
    (void)context;
    return inserted != NULL;
}

static bool read_file(void *context, uint32_t offset, void *data, size_t n)
{
    (void)context;
    moment();
    memset(data, 0, n);
    if (offset < inserted->bytes) {
        memcpy(data, inserted->data + offset, inserted->bytes - offset < n ? inserted->bytes - offset : n);
    }
    return true;
}

static void log_line(void *context, const char *text)
{
    (void)context;
    if (!quiet) {
        emulator_print("log: ");
        emulator_print(text);
        emulator_print("\n");
    }
}

static void alive(void *context)
{
    (void)context;
    moment();
}

static void on_event(void *context, const cheep_app *from, const cheep_app_event *event)
{
    char line[CHEEP_LINE_BYTES];
    (void)context;
    (void)cheep_line_event(line, sizeof line, from->spec, event);
    emulator_print(line);
}

static bool boot(const cheep_image_entry *entry)
{
    const cheep_app_handlers handlers = {.event = on_event};
    cheep_card_use(entry);
    (void)cheep_ring_init(&ring, samples, RING_SAMPLES);
    return cheep_app_boot(&app, entry->spec, entry->memory, entry->memory_bytes, &ring, &handlers) == CHEEP_OK;
}

static bool try_entry(void *context, const cheep_image_entry *entry, const char **reason)
{
    (void)context;
    const bool good = boot(entry);
    *reason = app.failure;
    return good;
}

static const cheep_slots_flash flash = CHEEP_CARD_FLASH(erase, write_words);

static const cheep_slots_host host = {
    .read = read_file,
    .exists = exists,
    .try_entry = try_entry,
    .log = log_line,
    .alive = alive,
};

/* A start, to the model that listens; NULL: the power failed. */
static const cheep_image_entry *start(const card_file *file, uint32_t fails_at)
{
    inserted = file;
    power.now = 0;
    power.fails_at = fails_at;
    memset(&app, 0, sizeof app);
    if (setjmp(power.start) != 0) {
        power.fails_at = 0;
        return NULL;
    }
    return cheep_card_start(&flash, &host);
}

static bool load_file(card_file *file, const char *path)
{
    const int source = emulator_open_read(path);
    if (source < 0) {
        emulator_print("cannot open the file\n");
        return false;
    }
    file->bytes = emulator_read(source, file->data, sizeof file->data);
    emulator_close(source);
    return true;
}

static int listen(const char *path)
{
    const int source = emulator_open_read(path);
    if (source < 0) {
        return 2;
    }
    for (;;) {
        const size_t got = emulator_read(source, block, sizeof block) / sizeof block[0];
        (void)cheep_ring_push(&ring, block, got);
        (void)cheep_app_poll(&app, SIZE_MAX);
        if (got < BLOCK) {
            break;
        }
    }
    cheep_app_finish(&app);
    return 0;
}

static void say_model(const cheep_image_entry *entry)
{
    const char *slot = entry == &cheep_image_built_in              ? "built in"
                       : (uintptr_t)entry < CHEEP_CARD_SLOT1 ? "slot 0"
                                                                   : "slot 1";
    emulator_print("model: ");
    emulator_print(entry->spec->model_id);
    emulator_print(" ");
    emulator_print(slot);
    emulator_print(boot(entry) ? " listens\n" : " REFUSES\n");
}

static uint8_t *whole_flash(void)
{
    return (uint8_t *)(uintptr_t)CHEEP_CARD_SLOT0;
}

static int cut(uint32_t count)
{
    quiet = true;
    (void)start(&files[0], 0);
    memcpy(kept_flash, whole_flash(), sizeof kept_flash);
    const char *old = start(&files[0], 0)->spec->model_id;
    const cheep_image_entry *entry = start(&files[1], 0);
    const char *new = entry->spec->model_id;
    const uint32_t moments = power.now;
    uint32_t listening = 0;
    uint32_t was_old = 0;
    uint32_t updated = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* The most part over the whole update, the rest at its end, where the records are written. */
        const uint32_t spread = count - count / 3u;
        const uint32_t at = i < spread ? 1u + (uint32_t)((uint64_t)i * moments / spread)
                                       : moments - (uint32_t)((uint64_t)(i - spread) % (moments < 400u ? moments : 400u));
        memcpy(whole_flash(), kept_flash, sizeof kept_flash);
        power.random = i + 1u;
        if (start(&files[1], at) != NULL) {
            emulator_report("not_cut", at);
            return 1;
        }
        entry = start(NULL, 0);
        const bool is_old = strcmp(entry->spec->model_id, old) == 0;
        const bool is_new = strcmp(entry->spec->model_id, new) == 0;
        listening += (is_old || is_new) && entry != &cheep_image_built_in && boot(entry) ? 1u : 0u;
        was_old += is_old ? 1u : 0u;
        entry = start(&files[1], 0);
        updated += strcmp(entry->spec->model_id, new) == 0 && boot(entry) ? 1u : 0u;
    }
    emulator_report("moments", moments);
    emulator_report("cuts", count);
    emulator_report("listening", listening);
    emulator_report("old_model", was_old);
    emulator_report("updated", updated);
    return 0;
}

#define WORDS 10u

static unsigned split(char *text, const char *words[WORDS])
{
    unsigned n = 0;
    while (*text != '\0' && n < WORDS) {
        words[n++] = text;
        while (*text != '\0' && *text != ' ') {
            text++;
        }
        if (*text == ' ') {
            *text++ = '\0';
        }
    }
    return n;
}

static uint32_t number_of(const char *digits)
{
    uint32_t value = 0;
    for (; *digits >= '0' && *digits <= '9'; digits++) {
        value = 10u * value + (uint32_t)(*digits - '0');
    }
    return value;
}

int main(void)
{
    static char buffer[1024];
    const char *words[WORDS] = {0};
    const unsigned n = split(buffer + (emulator_arguments(buffer, sizeof buffer) - buffer), words);
    memset(whole_flash(), 0xff, FLASH_BYTES);
    if (n == 3u && strcmp(words[0], "listen") == 0 && load_file(&files[0], words[1])) {
        say_model(start(&files[0], 0));
        return listen(words[2]);
    }
    if (n >= 2u && strcmp(words[0], "take") == 0) {
        for (unsigned i = 1; i < n; i++) {
            const bool absent = strcmp(words[i], "-") == 0;
            if (!absent && !load_file(&files[0], words[i])) {
                return 2;
            }
            say_model(start(absent ? NULL : &files[0], 0));
        }
        emulator_report("stack_bytes", emulator_stack_peak_bytes());
        return 0;
    }
    if (n == 4u && strcmp(words[0], "cuts") == 0 && load_file(&files[0], words[2]) && load_file(&files[1], words[3])) {
        return cut(number_of(words[1]));
    }
    emulator_print("usage: listen MODEL IN | take FILES | cuts COUNT OLD NEW\n");
    return 2;
}
