/* SPDX-License-Identifier: MIT */
/* A model from the card into one of two slots of the flash, so that power may fail at any moment.
 *
 * The flash holds two slots and two pages of records. A record is the whole state: which slot is in use, which one is
 * being tried, what was refused. Records are appended; the newest whole one counts. A page is erased only when the other
 * one holds the newest record. So there is at every moment a record that names a slot which nobody writes into:
 *
 *      MODEL.BIN is new -> header, signature, SHA-256 -> the slot that is not in use: erase, write -> the same checks
 *      on the flash -> record "tried" -> self-check with golden windows -> record "in use"
 *
 * The model that the firmware was built with is the last resort: where no slot is in use, or the one in use is damaged.
 *
 * Portable: the flash, the file and the self-check are functions of the caller. Not thread-safe, no heap, 1 KB of stack
 * besides what the caller's functions take.
 */
#ifndef CHEEP_SLOTS_H
#define CHEEP_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_image.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_SLOTS_BUILT_IN 2u /* in the place of a slot's number */
#define CHEEP_SLOTS_RECORD_BYTES 128u
#define CHEEP_SLOTS_ATTEMPTS 3u /* of a self-check that does not come to an end */

typedef struct {
    void *context;
    uint32_t page_bytes;
    uint32_t state_address[2];  /* a page each */
    /* An erased page reads 255. Interrupted, anything may stand in it. */
    bool (*erase)(void *context, uint32_t address);
    /* Words into erased places. Interrupted, some are written and one may be half written. */
    bool (*write)(void *context, uint32_t address, const uint32_t *words, size_t n);
    const uint8_t *(*at)(void *context, uint32_t address);  /* where it can be read */
} cheep_slots_flash;

typedef struct {
    void *context;
    /* Bytes of MODEL.BIN; what lies behind its end reads as zeros. False: the card fails. */
    bool (*read)(void *context, uint32_t offset, void *data, size_t n);
    bool (*exists)(void *context);
    /* Self-check of an entry, as the application will boot with it; reason: one line, if it fails. */
    bool (*try_entry)(void *context, const cheep_image_entry *entry, const char **reason);
    void (*log)(void *context, const char *text);
    void (*alive)(void *context); /* feed the watchdog */
} cheep_slots_host;

/* The slot whose model is to be used from here on (0, 1 or CHEEP_SLOTS_BUILT_IN). Takes a new MODEL.BIN in, if there is
 * one, and says in the log what became of it. Call at start, before anything of a model is used. */
unsigned cheep_slots_start(const cheep_slots_flash *flash, const cheep_image_rules *rules, const cheep_slots_host *host);

/* The entry of a slot that cheep_slots_start has named; NULL for the built-in one. */
const cheep_image_entry *cheep_slots_entry(const cheep_slots_flash *flash, const cheep_image_rules *rules,
                                           unsigned slot);

#ifdef __cplusplus
}
#endif
#endif
