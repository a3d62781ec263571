/* SPDX-License-Identifier: MIT */
/* Save and load of what the hyperdimensional head has learned.
 *
 * A record is a sequence of blocks: head (magic, format, sizes, sequence number, id of the model), then for each
 * learned class its description and the H sums, then a foot with the CRC-32 of everything before. It goes to the slot
 * that does not hold the newest good record, foot last: whatever a power cut leaves there, the other slot is good. */
#include <string.h>

#include "cheep_crc32.h"
#include "cheep_hdc.h"
#include "cheep_hdc_internal.h"

#define MAGIC 0x43444843u /* "CHDC" */

typedef struct {
    bool good;
    bool blank;
    uint32_t sequence;
    uint32_t id;
    uint32_t blocks; /* head and classes */
    uint16_t classes;
    uint16_t hyper;
    uint8_t form;
} record;

static void put16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value & 0xFFu);
    to[1] = (uint8_t)((value >> 8) & 0xFFu);
}

static void put32(uint8_t *to, uint32_t value)
{
    put16(to, value & 0xFFFFu);
    put16(to + 2, value >> 16);
}

static uint16_t get16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (from[1] << 8));
}

static uint32_t get32(const uint8_t *from)
{
    return (uint32_t)get16(from) | ((uint32_t)get16(from + 2) << 16);
}

static uint32_t class_blocks(const cheep_hdc_spec *spec)
{
    return 1u + spec->hyper * 2u / CHEEP_HDC_BLOCK;
}

static uint16_t used_classes(const cheep_hdc *h)
{
    uint16_t used = 0;
    for (uint16_t i = 0; i < h->n_slots; i++) {
        used = (uint16_t)(used + (h->slot[i].used ? 1u : 0u));
    }
    return used;
}

uint32_t cheep_hdc_record_bytes(const cheep_hdc *h)
{
    return (2u + h->n_slots * class_blocks(h->spec)) * CHEEP_HDC_BLOCK;
}

static void read_head(const uint8_t *block, record *r)
{
    r->classes = get16(block + 6);
    r->sequence = get32(block + 8);
    r->id = get32(block + 12);
    r->blocks = get32(block + 16);
    r->hyper = get16(block + 20);
    r->form = block[22];
}

/* Read a slot through and check it. */
static cheep_status check_slot(const cheep_hdc_storage *storage, unsigned slot, record *r)
{
    uint8_t block[CHEEP_HDC_BLOCK];
    memset(r, 0, sizeof *r);
    cheep_status status = storage->read(storage->context, slot, 0, block, CHEEP_HDC_BLOCK);
    if (status != CHEEP_OK) {
        return status;
    }
    r->blank = true;
    for (uint32_t i = 0; i < CHEEP_HDC_BLOCK; i++) {
        r->blank = r->blank && block[i] == block[0] && (block[0] == 0xFFu || block[0] == 0u);
    }
    if (get32(block) != MAGIC || get16(block + 4) != CHEEP_HDC_FORMAT) {
        return CHEEP_OK;
    }
    read_head(block, r);
    if (r->blocks < 1u || r->blocks > storage->slot_bytes / CHEEP_HDC_BLOCK - 1u) {
        return CHEEP_OK;
    }
    uint32_t crc = cheep_crc32(0, block, CHEEP_HDC_BLOCK);
    for (uint32_t i = 1; i <= r->blocks; i++) {
        status = storage->read(storage->context, slot, i * CHEEP_HDC_BLOCK, block, CHEEP_HDC_BLOCK);
        if (status != CHEEP_OK) {
            return status;
        }
        if (i < r->blocks) {
            crc = cheep_crc32(crc, block, CHEEP_HDC_BLOCK);
        }
    }
    r->good = get32(block) == crc && get32(block + 4) == ~crc;
    return CHEEP_OK;
}

/* The slot with the newest good record, or -1. A slot that cannot be read counts as not good. */
static int newest(const cheep_hdc_storage *storage, record *found, bool *blank, bool *unreadable)
{
    int best = -1;
    *blank = true;
    *unreadable = false;
    for (unsigned slot = 0; slot < 2u; slot++) {
        record r;
        if (check_slot(storage, slot, &r) != CHEEP_OK) {
            *unreadable = true;
            r.good = false;
        }
        *blank = *blank && r.blank;
        if (r.good && (best < 0 || (int32_t)(r.sequence - found->sequence) > 0)) {
            best = (int)slot;
            *found = r;
        }
    }
    return best;
}

typedef struct {
    const cheep_hdc_storage *storage;
    unsigned slot;
    uint32_t block;
    uint32_t crc;
    cheep_status status;
} writer;

static void put_block(writer *w, const uint8_t *block)
{
    if (w->status == CHEEP_OK) {
        w->status = w->storage->write(w->storage->context, w->slot, w->block * CHEEP_HDC_BLOCK, block, CHEEP_HDC_BLOCK);
        w->crc = cheep_crc32(w->crc, block, CHEEP_HDC_BLOCK);
        w->block++;
    }
}

static void put_class(writer *w, const cheep_hdc_slot *slot, uint16_t hyper)
{
    uint8_t block[CHEEP_HDC_BLOCK];
    memset(block, 0, sizeof block);
    memcpy(block, slot->name, CHEEP_HDC_NAME_BYTES);
    put16(block + 16, slot->overrides);
    put16(block + 18, slot->count);
    put_block(w, block);
    for (uint32_t i = 0; i < hyper; i += CHEEP_HDC_BLOCK / 2u) {
        for (uint32_t j = 0; j < CHEEP_HDC_BLOCK / 2u; j++) {
            put16(block + 2u * j, (uint32_t)slot->sum[i + j] & 0xFFFFu);
        }
        put_block(w, block);
    }
}

cheep_status cheep_hdc_save(const cheep_hdc *h, const cheep_hdc_storage *storage)
{
    uint16_t classes = used_classes(h);
    uint32_t blocks = 1u + classes * class_blocks(h->spec);
    if ((blocks + 1u) * CHEEP_HDC_BLOCK > storage->slot_bytes) {
        return CHEEP_ERROR_MEMORY;
    }
    record last;
    bool blank;
    bool unreadable;
    memset(&last, 0, sizeof last);
    int current = newest(storage, &last, &blank, &unreadable);
    if (unreadable) {
        return CHEEP_ERROR_IO; /* it may hold the only good record */
    }
    writer w = {storage, current == 0 ? 1u : 0u, 0, 0, CHEEP_OK};
    uint32_t sequence = current < 0 ? 1u : last.sequence + 1u;
    w.status = storage->erase(storage->context, w.slot);
    uint8_t block[CHEEP_HDC_BLOCK];
    memset(block, 0, sizeof block);
    put32(block, MAGIC);
    put16(block + 4, CHEEP_HDC_FORMAT);
    put16(block + 6, classes);
    put32(block + 8, sequence);
    put32(block + 12, h->spec->id);
    put32(block + 16, blocks);
    put16(block + 20, h->spec->hyper);
    block[22] = h->spec->form;
    put_block(&w, block);
    for (uint16_t i = 0; i < h->n_slots; i++) {
        if (h->slot[i].used) {
            put_class(&w, &h->slot[i], h->spec->hyper);
        }
    }
    memset(block, 0, sizeof block);
    uint32_t crc = w.crc;
    put32(block, crc);
    put32(block + 4, ~crc);
    put_block(&w, block);
    if (w.status != CHEEP_OK) {
        return w.status;
    }
    record written;
    cheep_status status = check_slot(storage, w.slot, &written);
    if (status == CHEEP_OK && !(written.good && written.sequence == sequence)) {
        status = CHEEP_ERROR_IO;
    }
    return status;
}

/* Copy the sums of a checked record into the slots; the CRC is checked again on the way. */
static cheep_status take(cheep_hdc *h, const cheep_hdc_storage *storage, unsigned slot, const record *r)
{
    uint8_t block[CHEEP_HDC_BLOCK];
    uint32_t crc = 0;
    uint32_t per_class = class_blocks(h->spec);
    for (uint32_t i = 0; i <= r->blocks; i++) {
        cheep_status status = storage->read(storage->context, slot, i * CHEEP_HDC_BLOCK, block, CHEEP_HDC_BLOCK);
        if (status != CHEEP_OK) {
            return status;
        }
        if (i == r->blocks) {
            return get32(block) == crc ? CHEEP_OK : CHEEP_ERROR_CORRUPT;
        }
        crc = cheep_crc32(crc, block, CHEEP_HDC_BLOCK);
        if (i == 0u) {
            continue;
        }
        cheep_hdc_slot *to = &h->slot[(i - 1u) / per_class];
        uint32_t part = (i - 1u) % per_class;
        if (part == 0u) {
            memcpy(to->name, block, CHEEP_HDC_NAME_BYTES);
            to->name[CHEEP_HDC_NAME_BYTES - 1u] = '\0';
            to->overrides = get16(block + 16);
            to->count = get16(block + 18);
            to->used = true;
            continue;
        }
        for (uint32_t j = 0; j < CHEEP_HDC_BLOCK / 2u; j++) {
            to->sum[(part - 1u) * (CHEEP_HDC_BLOCK / 2u) + j] = (int16_t)get16(block + 2u * j);
        }
    }
    return CHEEP_ERROR_CORRUPT;
}

cheep_status cheep_hdc_load(cheep_hdc *h, const cheep_hdc_storage *storage)
{
    record r;
    bool blank;
    bool unreadable;
    memset(&r, 0, sizeof r);
    cheep_hdc_clear(h);
    int slot = newest(storage, &r, &blank, &unreadable);
    if (slot < 0) {
        return unreadable ? CHEEP_ERROR_IO : (blank ? CHEEP_OK : CHEEP_ERROR_CORRUPT);
    }
    if (r.id != h->spec->id || r.hyper != h->spec->hyper || r.form != h->spec->form || r.classes > h->n_slots ||
        r.blocks != 1u + r.classes * class_blocks(h->spec)) {
        return CHEEP_ERROR_MISMATCH;
    }
    cheep_status status = take(h, storage, (unsigned)slot, &r);
    if (status != CHEEP_OK) {
        cheep_hdc_clear(h);
        return status;
    }
    for (uint16_t i = 0; i < r.classes; i++) {
        cheep_hdc_rebuild(h, i);
    }
    return CHEEP_OK;
}
