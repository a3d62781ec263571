/* SPDX-License-Identifier: MIT */
#include "cheep_queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "cheep_crc32.h"

#define MAGIC 0x31515043u /* "CPQ1" */
#define ERASED 0xFFFFFFFFu
#define TRIES 4u /* slots in a row that do not take a record */

/* A slot of a record: acknowledged (erased: not yet), number, length, the record, CRC-32 of number to record. */
typedef struct {
    uint32_t acknowledged;
    uint32_t number;
    uint32_t length;
    uint8_t record[CHEEP_QUEUE_RECORD_BYTES];
    uint32_t spare;
    uint32_t crc;
} slot_bytes;

/* The first slot of a sector. The magic word is cleared before the sector is erased. */
typedef struct {
    uint32_t magic;
    uint32_t id;
    uint32_t serial; /* one more than that of the sector before */
    uint32_t first;  /* number of its first record */
    uint32_t crc;    /* of id to first */
} head_bytes;

_Static_assert(sizeof(slot_bytes) == CHEEP_QUEUE_SLOT, "a slot has no padding");

static uint32_t slots(const cheep_queue *q)
{
    return q->flash->sector_bytes / CHEEP_QUEUE_SLOT;
}

static uint32_t place(const cheep_queue *q, uint32_t sector, uint32_t slot)
{
    return sector * q->flash->sector_bytes + slot * CHEEP_QUEUE_SLOT;
}

static uint32_t head_crc(const head_bytes *head)
{
    return cheep_crc32(0, &head->id, offsetof(head_bytes, crc) - offsetof(head_bytes, id));
}

static uint32_t slot_crc(const slot_bytes *slot)
{
    return cheep_crc32(0, &slot->number, offsetof(slot_bytes, crc) - offsetof(slot_bytes, number));
}

static cheep_status read_head(const cheep_queue *q, uint32_t sector, head_bytes *head, bool *good)
{
    cheep_status status = q->flash->read(q->flash->context, place(q, sector, 0), head, sizeof *head);
    *good = status == CHEEP_OK && head->magic == MAGIC && head->crc == head_crc(head);
    return status;
}

typedef enum { SLOT_BLANK, SLOT_TORN, SLOT_WAITS, SLOT_DONE } slot_state;

static cheep_status read_slot(const cheep_queue *q, uint32_t sector, uint32_t slot, slot_bytes *found, slot_state *state)
{
    cheep_status status = q->flash->read(q->flash->context, place(q, sector, slot), found, sizeof *found);
    bool blank = true;
    const uint8_t *bytes = (const uint8_t *)found;
    for (size_t i = 0; i < sizeof *found; i++) {
        blank = blank && bytes[i] == 0xFFu;
    }
    *state = blank ? SLOT_BLANK : SLOT_TORN;
    if (!blank && found->length <= CHEEP_QUEUE_RECORD_BYTES && found->length > 0u && found->crc == slot_crc(found)) {
        *state = found->acknowledged == ERASED ? SLOT_WAITS : SLOT_DONE;
    }
    return status;
}

/* Clear a sector for records from q->next on, and write there. */
static cheep_status begin_sector(cheep_queue *q, uint32_t sector, uint32_t serial)
{
    const cheep_flash *flash = q->flash;
    head_bytes head = {MAGIC, q->id, serial, q->next, 0};
    const uint32_t nothing = 0;
    head.crc = head_crc(&head);
    /* An erase that is cut short may leave old records that look whole: the head goes first. */
    cheep_status status = flash->write(flash->context, place(q, sector, 0), &nothing, sizeof nothing);
    if (status == CHEEP_OK) {
        status = flash->erase(flash->context, sector);
    }
    if (status == CHEEP_OK) {
        status = flash->write(flash->context, place(q, sector, 0), &head, sizeof head);
    }
    if (status == CHEEP_OK) {
        q->sector = sector;
        q->serial = serial;
        q->slot = 1;
        if (q->waiting == 0u) {
            q->read_sector = sector;
            q->read_slot = 1;
        }
    }
    return status;
}

/* The newest sector of a queue in the flash; false: there is none. */
static cheep_status find_newest(cheep_queue *q, bool *found)
{
    *found = false;
    for (uint32_t sector = 0; sector < q->flash->sectors; sector++) {
        head_bytes head;
        bool good;
        cheep_status status = read_head(q, sector, &head, &good);
        if (status != CHEEP_OK) {
            return status;
        }
        if (good && (!*found || (int32_t)(head.serial - q->serial) > 0)) {
            *found = true;
            q->sector = sector;
            q->serial = head.serial;
            q->id = head.id;
            q->next = head.first;
        }
    }
    return CHEEP_OK;
}

/* Count what waits in a sector, find its last written slot. */
static cheep_status scan_sector(cheep_queue *q, uint32_t sector, uint32_t *end)
{
    *end = 1;
    for (uint32_t i = 1; i < slots(q); i++) {
        slot_bytes slot;
        slot_state state;
        cheep_status status = read_slot(q, sector, i, &slot, &state);
        if (status != CHEEP_OK) {
            return status;
        }
        *end = state == SLOT_BLANK ? *end : i + 1u;
        if (state == SLOT_WAITS || state == SLOT_DONE) {
            q->next = slot.number + 1u > q->next ? slot.number + 1u : q->next;
        }
        if (state == SLOT_DONE) { /* acknowledged in order: an older one that seems to wait has lost its mark */
            q->waiting = 0;
        } else if (state == SLOT_WAITS) {
            if (q->waiting == 0u) {
                q->read_sector = sector;
                q->read_slot = i;
            }
            q->waiting++;
        }
    }
    return CHEEP_OK;
}

cheep_status cheep_queue_open(cheep_queue *q, const cheep_flash *flash, uint32_t new_id)
{
    bool found;
    memset(q, 0, sizeof *q);
    if (flash->sectors < 3u || flash->sector_bytes < 2u * CHEEP_QUEUE_SLOT ||
        flash->sector_bytes % CHEEP_QUEUE_SLOT != 0u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    q->flash = flash;
    cheep_status status = find_newest(q, &found);
    if (status != CHEEP_OK) {
        return status;
    }
    if (!found) {
        q->id = new_id;
        q->next = 1;
        return begin_sector(q, 0, 1);
    }
    /* From the oldest sector of the ring to the newest: their serials follow each other. */
    uint32_t before = 0;
    while (before + 1u < flash->sectors) {
        head_bytes head;
        bool good;
        uint32_t sector = (q->sector + flash->sectors - before - 1u) % flash->sectors;
        status = read_head(q, sector, &head, &good);
        if (status != CHEEP_OK) {
            return status;
        }
        if (!good || head.id != q->id || head.serial != q->serial - before - 1u) {
            break;
        }
        before++;
    }
    for (uint32_t i = before + 1u; i-- > 0u;) {
        status = scan_sector(q, (q->sector + flash->sectors - i) % flash->sectors, &q->slot);
        if (status != CHEEP_OK) {
            return status;
        }
    }
    if (q->waiting == 0u) {
        q->read_sector = q->sector;
        q->read_slot = q->slot;
    }
    return CHEEP_OK;
}

static cheep_status next_sector(cheep_queue *q)
{
    uint32_t sector = (q->sector + 1u) % q->flash->sectors;
    if (q->waiting > 0u && sector == q->read_sector) {
        return CHEEP_ERROR_MEMORY;
    }
    return begin_sector(q, sector, q->serial + 1u);
}

cheep_status cheep_queue_append(cheep_queue *q, const void *record, uint32_t n, uint32_t *number)
{
    const cheep_flash *flash = q->flash;
    slot_bytes slot;
    if (n == 0u || n > CHEEP_QUEUE_RECORD_BYTES) {
        return CHEEP_ERROR_ARGUMENT;
    }
    memset(&slot, 0xFF, sizeof slot);
    slot.number = q->next;
    slot.length = n;
    memcpy(slot.record, record, n);
    slot.crc = slot_crc(&slot);
    cheep_status status = CHEEP_ERROR_IO;
    for (unsigned i = 0; i < TRIES; i++) {
        slot_bytes written;
        slot_state state = SLOT_TORN;
        if (q->slot >= slots(q)) {
            status = next_sector(q);
            if (status != CHEEP_OK) {
                q->refused += status == CHEEP_ERROR_MEMORY ? 1u : 0u;
                return status;
            }
        }
        uint32_t at = q->slot++;
        status = flash->write(flash->context, place(q, q->sector, at), &slot, sizeof slot);
        if (status == CHEEP_OK) {
            status = read_slot(q, q->sector, at, &written, &state);
        }
        if (status == CHEEP_OK && state == SLOT_WAITS && written.number == slot.number) {
            if (q->waiting++ == 0u) {
                q->read_sector = q->sector;
                q->read_slot = at;
            }
            *number = q->next++;
            return CHEEP_OK;
        }
    }
    return status == CHEEP_OK ? CHEEP_ERROR_IO : status;
}

/* Move to the oldest record that waits; there is one. */
static cheep_status seek(cheep_queue *q, slot_bytes *slot)
{
    for (;;) {
        slot_state state;
        if (q->read_slot >= slots(q)) {
            if (q->read_sector == q->sector) {
                return CHEEP_ERROR_CORRUPT;
            }
            q->read_sector = (q->read_sector + 1u) % q->flash->sectors;
            q->read_slot = 1;
        }
        cheep_status status = read_slot(q, q->read_sector, q->read_slot, slot, &state);
        if (status != CHEEP_OK || state == SLOT_WAITS) {
            return status;
        }
        q->read_slot++;
    }
}

cheep_status cheep_queue_oldest(cheep_queue *q, void *record, uint32_t *n, uint32_t *number)
{
    slot_bytes slot;
    *n = 0;
    *number = 0;
    if (q->waiting == 0u) {
        return CHEEP_OK;
    }
    cheep_status status = seek(q, &slot);
    if (status == CHEEP_OK) {
        memcpy(record, slot.record, slot.length);
        *n = slot.length;
        *number = slot.number;
    }
    return status;
}

cheep_status cheep_queue_acknowledge(cheep_queue *q, uint32_t number)
{
    slot_bytes slot;
    const uint32_t acknowledged = 0;
    if (q->waiting == 0u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    cheep_status status = seek(q, &slot);
    if (status != CHEEP_OK) {
        return status;
    }
    if (slot.number != number) {
        return CHEEP_ERROR_ARGUMENT;
    }
    status = q->flash->write(q->flash->context, place(q, q->read_sector, q->read_slot), &acknowledged, 4u);
    q->waiting--;
    q->read_slot++;
    return status;
}
