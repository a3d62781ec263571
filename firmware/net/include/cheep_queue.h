/* SPDX-License-Identifier: MIT */
/* Records that wait in flash until someone has acknowledged them: in order, none lost, whatever moment the power fails.
 *
 * The flash is a ring of sectors. A sector is a head and slots of CHEEP_QUEUE_SLOT bytes; each record has a number, which
 * rises by one and is never given twice. Writing only clears bits, and a record is acknowledged by clearing a word of its
 * slot: only a sector whose records are all acknowledged is erased. A write that the power cut short fails its CRC and is
 * passed over.
 *
 * A record counts from the moment in which cheep_queue_append has returned CHEEP_OK. An acknowledgement that the power
 * cut short may be forgotten: the record comes again, with its number, so the reader can tell (docs/mqtt.md).
 * Nothing here knows a board; flash encryption and flash with error correction do not allow the second write to a slot. */
#ifndef CHEEP_QUEUE_H
#define CHEEP_QUEUE_H

#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_QUEUE_SLOT 128u
#define CHEEP_QUEUE_RECORD_BYTES 108u /* the longest record */

typedef struct {
    void *context;
    uint32_t sector_bytes; /* what one erase sets to ones; a multiple of CHEEP_QUEUE_SLOT, two slots or more */
    uint32_t sectors;      /* three or more */
    cheep_status (*erase)(void *context, uint32_t sector);
    /* offset: from the start of the first sector; clears bits, never sets them */
    cheep_status (*write)(void *context, uint32_t offset, const void *data, uint32_t n);
    cheep_status (*read)(void *context, uint32_t offset, void *data, uint32_t n);
} cheep_flash;

typedef struct {
    const cheep_flash *flash;
    uint32_t id;       /* of this queue: another one after the flash has been cleared, when numbers begin anew */
    uint32_t next;     /* number of the next record; the first is 1 */
    uint32_t waiting;  /* records that nobody has acknowledged */
    uint32_t refused;  /* records for which there was no room, since opening */
    uint32_t sector;   /* written to */
    uint32_t serial;   /* of that sector */
    uint32_t slot;     /* next to write, from 1 */
    uint32_t read_sector, read_slot; /* where the search for the oldest record begins */
} cheep_queue;

/* Find what the flash holds; flash without a queue becomes an empty one with the number new_id (a random one).
 * CHEEP_ERROR_ARGUMENT: sizes; CHEEP_ERROR_IO: the flash fails. Reads every slot once; 160 bytes of stack. */
cheep_status cheep_queue_open(cheep_queue *q, const cheep_flash *flash, uint32_t new_id);

/* Keep n <= CHEEP_QUEUE_RECORD_BYTES bytes; *number is the record's. CHEEP_ERROR_MEMORY: no room, counted in refused. */
cheep_status cheep_queue_append(cheep_queue *q, const void *record, uint32_t n, uint32_t *number);

/* The oldest record that waits, into record[CHEEP_QUEUE_RECORD_BYTES]; *n = 0: none waits. */
cheep_status cheep_queue_oldest(cheep_queue *q, void *record, uint32_t *n, uint32_t *number);

/* The oldest record is delivered. CHEEP_ERROR_ARGUMENT: it has another number. */
cheep_status cheep_queue_acknowledge(cheep_queue *q, uint32_t number);

#ifdef __cplusplus
}
#endif
#endif
