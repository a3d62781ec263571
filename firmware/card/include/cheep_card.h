/* SPDX-License-Identifier: MIT */
/* What a firmware takes from a card, and where its flash has it: from the files that `cheep export --card-key` writes and
 * from the model that it is built with. For the one file of a board that calls cheep_slots_start. */
#ifndef CHEEP_CARD_H
#define CHEEP_CARD_H

#include "cheep_generated.h"
#include "cheep_slots.h"

#if !__has_include(<generated/card_key.h>)
#error "no key yet: run `cheep export --card-key`, which writes generated/card_key.h and card_layout.h"
#endif
#include <generated/card_key.h>
#include <generated/card_layout.h>

#define CHEEP_CARD_FILE "MODEL.BIN"

#ifdef __cplusplus
extern "C" {
#endif

extern const cheep_image_entry cheep_image_built_in;

static const uint8_t cheep_card_public_key[] = CHEEP_CARD_PUBLIC_KEY;

static const cheep_image_rules cheep_card_rules = {
    .board = CHEEP_CARD_BOARD,
    .slot_address = {CHEEP_CARD_SLOT0, CHEEP_CARD_SLOT1},
    .slot_bytes = CHEEP_CARD_SLOT_BYTES,
    .ram_address = CHEEP_CARD_WINDOW,
    .ram_bytes = CHEEP_CARD_WINDOW_BYTES,
    .sample_rate_hz = CHEEP_MEL_SAMPLE_RATE_HZ,
    .max_classes = CHEEP_MAX_CLASSES,
    .max_scores = CHEEP_MAX_SCORES,
    .public_key = cheep_card_public_key,
};

/* Flash that is read where it lies. */
static inline const uint8_t *cheep_card_flash_at(void *context, uint32_t address)
{
    (void)context;
    return (const uint8_t *)(uintptr_t)address;
}

/* erase and write: of the board. */
#define CHEEP_CARD_FLASH(erase_page, write_words) \
    { \
        .page_bytes = CHEEP_CARD_PAGE_BYTES, .state_address = {CHEEP_CARD_STATE0, CHEEP_CARD_STATE1}, \
        .erase = (erase_page), .write = (write_words), .at = cheep_card_flash_at, \
    }

/* From here on this model is used, in a window of RAM that holds nothing of the one before. */
static inline void cheep_card_use(const cheep_image_entry *entry)
{
    uint8_t *window = (uint8_t *)(uintptr_t)CHEEP_CARD_WINDOW;
    for (uint32_t i = 0; i < CHEEP_CARD_WINDOW_BYTES; i++) {
        window[i] = 0;
    }
    cheep_image_use(entry);
}

/* The model that is to be used: of a slot, or the one built in. */
static inline const cheep_image_entry *cheep_card_start(const cheep_slots_flash *flash, const cheep_slots_host *host)
{
    const unsigned slot = cheep_slots_start(flash, &cheep_card_rules, host);
    const cheep_image_entry *entry = cheep_slots_entry(flash, &cheep_card_rules, slot);
    return entry != NULL ? entry : &cheep_image_built_in;
}

#ifdef __cplusplus
}
#endif
#endif
