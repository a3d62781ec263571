/* SPDX-License-Identifier: MIT */
#include "cheep_slots.h"

#include <string.h>

#include "cheep_crc32.h"
#include "cheep_sha2.h"
#include "cheep_text.h"

#define MAGIC 0x32544c53u /* "SLT2" */
#define NONE 255u
#define BLOCK_WORDS 64u
#define LINE_BYTES 224u

/* The whole state. Written as it lies in memory: only this device reads it. */
typedef struct {
    uint32_t magic;
    uint32_t sequence;  /* the highest counts */
    uint8_t used;       /* slot, or CHEEP_SLOTS_BUILT_IN */
    uint8_t tried;      /* slot whose self-check has begun, or NONE */
    uint8_t attempts;   /* of it */
    uint8_t reason;     /* why `refused` was */
    uint8_t used_set[CHEEP_IMAGE_ID_BYTES];
    uint8_t tried_set[CHEEP_IMAGE_ID_BYTES];
    uint8_t refused_set[CHEEP_IMAGE_ID_BYTES]; /* not to be written again, where reason is not GOOD */
    uint32_t zero[4];
    uint32_t crc;
} record;

_Static_assert(sizeof(record) == CHEEP_SLOTS_RECORD_BYTES, "records have their place in a page");

typedef struct {
    const cheep_slots_flash *flash;
    const cheep_image_rules *rules;
    const cheep_slots_host *host;
    record now;
    uint32_t at; /* of the newest record in the flash; 0: none yet */
} slots;

static uint32_t crc_of(const record *r)
{
    return cheep_crc32(0, r, offsetof(record, crc));
}

/* Records */

static void load(slots *s)
{
    memset(&s->now, 0, sizeof s->now);
    s->now.used = CHEEP_SLOTS_BUILT_IN;
    s->now.tried = NONE;
    s->at = 0;
    for (unsigned page = 0; page < 2u; page++) {
        for (uint32_t place = 0; place + sizeof(record) <= s->flash->page_bytes; place += sizeof(record)) {
            const uint32_t address = s->flash->state_address[page] + place;
            record found;
            memcpy(&found, s->flash->at(s->flash->context, address), sizeof found);
            if (found.magic == MAGIC && found.crc == crc_of(&found) &&
                (s->at == 0u || found.sequence > s->now.sequence)) {
                s->now = found;
                s->at = address;
            }
        }
    }
}

static bool is_blank(const slots *s, uint32_t address, uint32_t n)
{
    const uint8_t *bytes = s->flash->at(s->flash->context, address);
    for (uint32_t i = 0; i < n; i++) {
        if (bytes[i] != 255u) {
            return false;
        }
    }
    return true;
}

/* The place behind the newest record and all that was begun there; 0: the page is full. */
static uint32_t next_place(const slots *s, uint32_t page)
{
    uint32_t place = page + s->flash->page_bytes / CHEEP_SLOTS_RECORD_BYTES * CHEEP_SLOTS_RECORD_BYTES;
    uint32_t free = 0;
    while (place > s->at + CHEEP_SLOTS_RECORD_BYTES) {
        place -= CHEEP_SLOTS_RECORD_BYTES;
        if (!is_blank(s, place, CHEEP_SLOTS_RECORD_BYTES)) {
            break;
        }
        free = place;
    }
    return free;
}

static bool put(const slots *s, uint32_t address, const record *r)
{
    uint32_t words[sizeof(record) / 4u];
    memcpy(words, r, sizeof words);
    return s->flash->write(s->flash->context, address, words, sizeof words / 4u) &&
           memcmp(s->flash->at(s->flash->context, address), r, sizeof *r) == 0;
}

/* s->now becomes the newest record. */
static bool save(slots *s)
{
    const unsigned page = s->at >= s->flash->state_address[1] &&
                                  s->at < s->flash->state_address[1] + s->flash->page_bytes
                              ? 1u
                              : 0u;
    const uint32_t place = s->at != 0u ? next_place(s, s->flash->state_address[page]) : 0u;
    const uint32_t other = s->flash->state_address[s->at != 0u ? 1u - page : 0u];
    s->now.magic = MAGIC;
    s->now.sequence++;
    s->now.crc = crc_of(&s->now);
    if (place != 0u && put(s, place, &s->now)) {
        s->at = place;
        return true;
    }
    if (s->flash->erase(s->flash->context, other) && put(s, other, &s->now)) {
        s->at = other;
        return true;
    }
    return false;
}

/* What is said */

static void say(const slots *s, const cheep_image_header *header, const char *what, const char *why)
{
    char line[LINE_BYTES];
    cheep_text t;
    cheep_text_init(&t, line, sizeof line);
    cheep_text_string(&t, "MODEL.BIN");
    if (header != NULL) {
        char model[CHEEP_IMAGE_MODEL_BYTES + 1u] = {0};
        memcpy(model, header->model, CHEEP_IMAGE_MODEL_BYTES);
        cheep_text_string(&t, " (model ");
        for (const char *c = model; *c != '\0'; c++) {
            cheep_text_char(&t, *c >= ' ' && *c < 127 ? *c : '?');
        }
        cheep_text_char(&t, ')');
    }
    cheep_text_string(&t, what);
    cheep_text_string(&t, why);
    s->host->log(s->host->context, line);
}

/* Checks */

/* The image in a slot, checked to its last byte. */
static cheep_image_reason check_slot(const slots *s, unsigned slot, cheep_image_header *header)
{
    const uint8_t *bytes = s->flash->at(s->flash->context, s->rules->slot_address[slot]);
    cheep_image_reason reason = cheep_image_check(bytes, s->rules, slot);
    (void)cheep_image_read(bytes, header);
    if (reason == CHEEP_IMAGE_GOOD) {
        cheep_sha256 sha;
        uint8_t digest[CHEEP_SHA256_BYTES];
        cheep_sha256_init(&sha);
        cheep_sha256_add(&sha, bytes + CHEEP_IMAGE_HEADER_BYTES, header->length - CHEEP_IMAGE_HEADER_BYTES);
        cheep_sha256_end(&sha, digest);
        reason = memcmp(digest, header->sha256, sizeof digest) == 0 ? CHEEP_IMAGE_GOOD : CHEEP_IMAGE_DAMAGED;
    }
    return reason;
}

/* The header of the image for `slot` in the file: *offset. Where none is for it, the first one. */
static cheep_image_reason find_in_file(const slots *s, unsigned slot, uint32_t *offset, uint8_t *bytes)
{
    cheep_image_header header;
    *offset = 0;
    for (unsigned part = 0; part < 2u; part++) {
        if (!s->host->read(s->host->context, *offset, bytes, CHEEP_IMAGE_HEADER_BYTES)) {
            return CHEEP_IMAGE_UNREADABLE;
        }
        if (!cheep_image_read(bytes, &header) || header.address == s->rules->slot_address[slot] || part > 0u) {
            break;
        }
        *offset = header.length;
    }
    return cheep_image_check(bytes, s->rules, slot);
}

static cheep_image_reason check_file_body(const slots *s, uint32_t offset, const cheep_image_header *header)
{
    uint32_t block[BLOCK_WORDS];
    cheep_sha256 sha;
    uint8_t digest[CHEEP_SHA256_BYTES];
    cheep_sha256_init(&sha);
    for (uint32_t done = CHEEP_IMAGE_HEADER_BYTES; done < header->length; done += sizeof block) {
        const uint32_t left = header->length - done;
        const uint32_t n = left < sizeof block ? left : (uint32_t)sizeof block;
        if (!s->host->read(s->host->context, offset + done, block, n)) {
            return CHEEP_IMAGE_UNREADABLE;
        }
        cheep_sha256_add(&sha, block, n);
        s->host->alive(s->host->context);
    }
    cheep_sha256_end(&sha, digest);
    return memcmp(digest, header->sha256, sizeof digest) == 0 ? CHEEP_IMAGE_GOOD : CHEEP_IMAGE_DAMAGED;
}

/* The update */

static cheep_image_reason copy_to_slot(const slots *s, unsigned slot, uint32_t offset, uint32_t length)
{
    const cheep_slots_flash *flash = s->flash;
    const uint32_t start = s->rules->slot_address[slot];
    uint32_t block[BLOCK_WORDS];
    for (uint32_t done = 0; done < length; done += flash->page_bytes) {
        if (!flash->erase(flash->context, start + done)) {
            return CHEEP_IMAGE_NOT_WRITTEN;
        }
        s->host->alive(s->host->context);
    }
    for (uint32_t done = 0; done < length; done += sizeof block) {
        const uint32_t n = length - done < sizeof block ? length - done : (uint32_t)sizeof block;
        if (!s->host->read(s->host->context, offset + done, block, n)) {
            return CHEEP_IMAGE_UNREADABLE;
        }
        if (!flash->write(flash->context, start + done, block, n / 4u)) {
            return CHEEP_IMAGE_NOT_WRITTEN;
        }
        s->host->alive(s->host->context);
    }
    return CHEEP_IMAGE_GOOD;
}

static void refuse(slots *s, const cheep_image_header *header, cheep_image_reason reason, const char *detail)
{
    say(s, header, " is not used: ", detail);
    memcpy(s->now.refused_set, header->set, CHEEP_IMAGE_ID_BYTES);
    s->now.reason = (uint8_t)reason;
    s->now.tried = NONE;
    (void)save(s);
}

/* Self-check of what lies in the slot, and what follows from it. Each begun attempt is counted before. */
static void try_slot(slots *s, unsigned slot, const cheep_image_header *header)
{
    const char *why = "";
    s->now.attempts = s->now.tried == slot ? (uint8_t)(s->now.attempts + 1u) : 1u;
    s->now.tried = (uint8_t)slot;
    memcpy(s->now.tried_set, header->set, CHEEP_IMAGE_ID_BYTES);
    if (!save(s)) {
        say(s, header, " is not used: ", "the flash takes no record");
        return;
    }
    if (!s->host->try_entry(s->host->context, cheep_slots_entry(s->flash, s->rules, slot), &why)) {
        refuse(s, header, CHEEP_IMAGE_REFUSED, why);
        return;
    }
    s->now.used = (uint8_t)slot;
    s->now.tried = NONE;
    s->now.reason = CHEEP_IMAGE_GOOD;
    memcpy(s->now.used_set, header->set, CHEEP_IMAGE_ID_BYTES);
    if (save(s)) {
        say(s, header, " is in use: ", slot == 0u ? "slot 0" : "slot 1");
    } else {
        load(s); /* what the flash says counts */
        say(s, header, " is not used: ", "the flash takes no record");
    }
}

/* The start before has begun a self-check and not come to its end: the power failed, or the model hangs. */
static void go_on_trying(slots *s)
{
    const unsigned slot = s->now.tried;
    cheep_image_header header;
    const cheep_image_reason reason = slot < 2u ? check_slot(s, slot, &header) : CHEEP_IMAGE_DAMAGED;
    if (reason != CHEEP_IMAGE_GOOD || memcmp(header.set, s->now.tried_set, CHEEP_IMAGE_ID_BYTES) != 0) {
        s->now.tried = NONE; /* not what was written: as if it had never come */
        (void)save(s);
    } else if (s->now.attempts >= CHEEP_SLOTS_ATTEMPTS) {
        refuse(s, &header, CHEEP_IMAGE_HANGS, cheep_image_text(CHEEP_IMAGE_HANGS));
    } else {
        try_slot(s, slot, &header);
    }
}

static void take_file(slots *s, bool used_is_whole)
{
    const unsigned slot = s->now.used == 0u ? 1u : 0u;
    uint8_t bytes[CHEEP_IMAGE_HEADER_BYTES];
    cheep_image_header header;
    uint32_t offset = 0;
    if (!s->host->exists(s->host->context)) {
        if (s->now.reason != CHEEP_IMAGE_GOOD) { /* the card was without it: it may be tried again */
            s->now.reason = CHEEP_IMAGE_GOOD;
            (void)save(s);
        }
        return;
    }
    cheep_image_reason reason = find_in_file(s, slot, &offset, bytes);
    const bool readable = cheep_image_read(bytes, &header) && reason != CHEEP_IMAGE_UNREADABLE;
    if (readable && ((used_is_whole && memcmp(header.set, s->now.used_set, CHEEP_IMAGE_ID_BYTES) == 0) ||
                     (s->now.reason != CHEEP_IMAGE_GOOD &&
                      memcmp(header.set, s->now.refused_set, CHEEP_IMAGE_ID_BYTES) == 0))) {
        return; /* in use, or known to be bad and said so */
    }
    if (reason == CHEEP_IMAGE_GOOD) {
        reason = check_file_body(s, offset, &header);
    }
    if (reason != CHEEP_IMAGE_GOOD) {
        say(s, readable ? &header : NULL, " is not used: ", cheep_image_text(reason));
        return;
    }
    reason = copy_to_slot(s, slot, offset, header.length);
    cheep_image_header written;
    if (reason == CHEEP_IMAGE_GOOD &&
        (check_slot(s, slot, &written) != CHEEP_IMAGE_GOOD ||
         memcmp(written.set, header.set, CHEEP_IMAGE_ID_BYTES) != 0)) {
        reason = CHEEP_IMAGE_NOT_WRITTEN;
    }
    if (reason == CHEEP_IMAGE_GOOD) {
        try_slot(s, slot, &written);
    } else if (reason == CHEEP_IMAGE_NOT_WRITTEN) {
        refuse(s, &header, reason, cheep_image_text(reason));
    } else {
        say(s, &header, " is not used: ", cheep_image_text(reason));
    }
}

static bool check_used(slots *s)
{
    cheep_image_header header;
    if (s->now.used >= CHEEP_SLOTS_BUILT_IN) {
        return false;
    }
    cheep_image_reason reason = check_slot(s, s->now.used, &header);
    if (reason == CHEEP_IMAGE_GOOD && memcmp(header.set, s->now.used_set, CHEEP_IMAGE_ID_BYTES) != 0) {
        reason = CHEEP_IMAGE_DAMAGED;
    }
    return reason == CHEEP_IMAGE_GOOD;
}

unsigned cheep_slots_start(const cheep_slots_flash *flash, const cheep_image_rules *rules, const cheep_slots_host *host)
{
    slots s = {.flash = flash, .rules = rules, .host = host};
    load(&s);
    bool whole = check_used(&s);
    const unsigned before = s.now.used;
    if (s.now.tried != NONE) {
        go_on_trying(&s);
    } else {
        take_file(&s, whole);
    }
    if (s.now.used != before) {
        whole = true; /* its self-check has just passed */
    }
    if (s.now.used < CHEEP_SLOTS_BUILT_IN && !whole) {
        say(&s, NULL, " of before is damaged in the flash, or not this firmware's: ", "the model built in is used");
    }
    return whole ? s.now.used : CHEEP_SLOTS_BUILT_IN;
}

const cheep_image_entry *cheep_slots_entry(const cheep_slots_flash *flash, const cheep_image_rules *rules, unsigned slot)
{
    if (slot >= CHEEP_SLOTS_BUILT_IN) {
        return NULL;
    }
    const uint32_t start = rules->slot_address[slot];
    cheep_image_header header;
    (void)cheep_image_read(flash->at(flash->context, start), &header);
    return (const cheep_image_entry *)(const void *)flash->at(flash->context, header.entry);
}
