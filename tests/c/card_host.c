/* SPDX-License-Identifier: MIT */
/* The update of a model from a card on this machine, for sanitizers: any power cut, any damage.
 *
 *     card_host cuts KEY OLD NEW [COUNT]  the power fails once at every moment of the update (or about COUNT of them), and
 *                                         once more at a moment of the start after it
 *     card_host fuzz KEY OLD NEW SECONDS  damaged files, damaged flash and power cuts in any order
 *
 * KEY: 32 bytes. The images' code is not run: a self-check passes where the bytes in the slot are those of OLD or NEW. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cheep_slots.h"

#define PAGE 2048u
#define SLOT0 0x23000u
#define SLOT_BYTES 57344u
#define SLOT1 (SLOT0 + SLOT_BYTES)
#define STATE0 (SLOT1 + SLOT_BYTES)
#define FLASH_BYTES (2u * SLOT_BYTES + 2u * PAGE)
#define FILE_BYTES (3u * SLOT_BYTES)

typedef struct {
    uint8_t data[FILE_BYTES];
    size_t bytes;
} file;

static _Alignas(8) uint8_t flash_bytes[FLASH_BYTES];
static uint8_t kept[FLASH_BYTES];
static file files[2], made;
static const file *inserted;
static uint8_t key[32];
static jmp_buf power;
static uint64_t now, fails_at;
static uint64_t random_state = 1;
static bool bad_flash, bad_card;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static bool fails_now(void)
{
    now++;
    return fails_at != 0u && now == fails_at;
}

static void moment(void)
{
    if (fails_now()) {
        longjmp(power, 1);
    }
}

static uint8_t *place(uint32_t address, size_t n)
{
    if (address < SLOT0 || address - SLOT0 > FLASH_BYTES - n) {
        fprintf(stderr, "flash at 0x%x: outside\n", (unsigned)address);
        abort();
    }
    return flash_bytes + (address - SLOT0);
}

static bool erase(void *context, uint32_t address)
{
    uint8_t *at = place(address, PAGE);
    const bool fails = fails_now();
    (void)context;
    for (uint32_t i = 0; i < PAGE; i++) {
        at[i] = (uint8_t)(at[i] | (fails ? next_random() : 255u));
    }
    if (fails) {
        longjmp(power, 1);
    }
    return !(bad_flash && next_random() % 64u == 0u);
}

static bool write_words(void *context, uint32_t address, const uint32_t *words, size_t n)
{
    uint8_t *at = place(address, 4u * n);
    (void)context;
    for (size_t i = 0; i < n; i++) {
        const bool fails = fails_now();
        uint32_t word;
        memcpy(&word, at + 4u * i, 4);
        word &= words[i] | (fails ? next_random() : 0u);
        if (bad_flash && next_random() % 4096u == 0u) {
            word ^= 1u << next_random() % 32u;
        }
        memcpy(at + 4u * i, &word, 4);
        if (fails) {
            longjmp(power, 1);
        }
    }
    return true;
}

static const uint8_t *flash_at(void *context, uint32_t address)
{
    (void)context;
    return place(address, 1);
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
    return !(bad_card && next_random() % 64u == 0u);
}

/* -1: neither; the image of the slot that holds `at`. */
static int whose(uint32_t slot)
{
    for (int which = 0; which < 2; which++) {
        cheep_image_header header;
        uint32_t offset = 0;
        for (unsigned part = 0; part < slot; part++) {
            (void)cheep_image_read(files[which].data + offset, &header);
            offset += header.length;
        }
        (void)cheep_image_read(files[which].data + offset, &header);
        if (memcmp(place(slot == 0u ? SLOT0 : SLOT1, header.length), files[which].data + offset, header.length) == 0) {
            return which;
        }
    }
    return -1;
}

static bool try_entry(void *context, const cheep_image_entry *entry, const char **reason)
{
    (void)context;
    const uint8_t *at = (const uint8_t *)entry;
    const int which = whose(at < flash_bytes + SLOT_BYTES ? 0 : 1);
    *reason = "other bytes";
    for (unsigned i = 0; i < 8u; i++) {
        moment();
    }
    if (which < 0) {
        fprintf(stderr, "an image that nobody signed is tried\n");
        abort();
    }
    return true;
}

static void log_line(void *context, const char *text)
{
    (void)context;
    if (strncmp(text, "MODEL.BIN", 9) != 0 || strlen(text) > 223u) {
        abort();
    }
}

static void alive(void *context)
{
    (void)context;
    moment();
}

static const cheep_slots_flash flash = {NULL, PAGE, {STATE0, STATE0 + PAGE}, erase, write_words, flash_at};
static const cheep_image_rules template = {"audiomoth", {SLOT0, SLOT1}, SLOT_BYTES, 0x20000000u, 16384u, 0, 16, 128, key};
static cheep_image_rules rules;
static const cheep_slots_host host = {NULL, read_file, exists, try_entry, log_line, alive};

/* A start: the slot, or -1 where the power failed. */
static int start(const file *with, uint64_t at)
{
    inserted = with;
    now = 0;
    fails_at = at;
    if (setjmp(power) != 0) {
        return -1;
    }
    return (int)cheep_slots_start(&flash, &rules, &host);
}

/* What listens after a start: 0 or 1 of the files, 2: the model built in. */
static int listens(int slot)
{
    return slot == 2 ? 2 : whose((uint32_t)slot);
}

static void load(file *into, const char *path)
{
    FILE *source = fopen(path, "rb");
    if (source == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
        exit(2);
    }
    into->bytes = fread(into->data, 1, sizeof into->data, source);
    fclose(source);
}

static int cuts(uint64_t count)
{
    unsigned long done = 0;
    unsigned long kept_old = 0;
    memset(flash_bytes, 255, sizeof flash_bytes);
    if (listens(start(&files[0], 0)) != 0) {
        return 1;
    }
    memcpy(kept, flash_bytes, sizeof kept);
    if (listens(start(&files[1], 0)) != 1) {
        return 1;
    }
    const uint64_t moments = now;
    const uint64_t step = count != 0u && count < moments ? moments / count : 1u;
    for (uint64_t at = moments; at > 0u; at = at > step ? at - step : 0u) {
        memcpy(flash_bytes, kept, sizeof kept);
        (void)start(&files[1], at);
        (void)start(&files[1], 1u + next_random() % (uint32_t)moments); /* again, perhaps */
        const int whole = listens(start(NULL, 0));
        if (whole != 0 && whole != 1) {
            fprintf(stderr, "moment %lu: no whole model\n", (unsigned long)at);
            return 1;
        }
        if (listens(start(&files[1], 0)) != 1) {
            fprintf(stderr, "moment %lu: the update does not go on\n", (unsigned long)at);
            return 1;
        }
        kept_old += whole == 0;
        done++;
    }
    printf("cuts=%lu\nold_model=%lu\n", done, kept_old);
    return 0;
}

/* A file that is damaged somehow, or not at all. */
static const file *any_file(void)
{
    made = files[next_random() % 2u];
    switch (next_random() % 6u) {
    case 0: return NULL;
    case 1: return &files[next_random() % 2u];
    case 2: made.bytes = next_random() % (made.bytes + 1u); break;
    case 3: memmove(made.data, made.data + next_random() % 999u, made.bytes - 999u); break;
    default: break;
    }
    for (unsigned n = next_random() % 6u; n > 0u; n--) {
        const size_t at = next_random() % 3u == 0u ? next_random() % 256u : next_random() % FILE_BYTES;
        made.data[at] = next_random() % 2u == 0u ? (uint8_t)next_random() : (uint8_t)(255u * (next_random() % 2u));
    }
    return &made;
}

static int fuzz(double seconds)
{
    unsigned long starts = 0;
    unsigned long built_in = 0;
    unsigned long taken = 0;
    const time_t begun = time(NULL);
    memset(flash_bytes, 255, sizeof flash_bytes);
    while (difftime(time(NULL), begun) < seconds) {
        bad_flash = next_random() % 8u == 0u;
        bad_card = next_random() % 8u == 0u;
        const int slot = start(any_file(), next_random() % 2u == 0u ? 1u + next_random() % 20000u : 0u);
        bad_flash = bad_card = false;
        starts++;
        if (slot >= 0) {
            const int which = listens(slot);
            if (which < 0) {
                fprintf(stderr, "start %lu: a model that nobody signed listens\n", starts);
                return 1;
            }
            built_in += which == 2;
            taken += which < 2;
        }
        if (next_random() % 16u == 0u) { /* the flash forgets, or is filled by somebody */
            const uint32_t at = next_random() % FLASH_BYTES;
            const uint32_t n = 1u + next_random() % 300u;
            for (uint32_t i = at; i < at + n && i < FLASH_BYTES; i++) {
                flash_bytes[i] = (uint8_t)next_random();
            }
        }
    }
    printf("starts=%lu\nfrom_the_card=%lu\nbuilt_in=%lu\n", starts, taken, built_in);
    return 0;
}

int main(int argc, char **argv)
{
    cheep_image_header header;
    if (argc < 5) {
        fprintf(stderr, "usage: card_host cuts|fuzz KEY OLD NEW [COUNT|SECONDS]\n");
        return 2;
    }
    load(&files[0], argv[2]);
    memcpy(key, files[0].data, sizeof key);
    load(&files[0], argv[3]);
    load(&files[1], argv[4]);
    (void)cheep_image_read(files[0].data, &header);
    memcpy(&rules, &template, sizeof rules);
    rules.sample_rate_hz = header.sample_rate_hz;
    return strcmp(argv[1], "cuts") == 0 ? cuts((uint64_t)(argc > 5 ? atol(argv[5]) : 0)) : fuzz(argc > 5 ? atof(argv[5]) : 10.0);
}
