/* SPDX-License-Identifier: MIT */
#include "cheep_image.h"

#include <string.h>

#include "cheep_ed25519.h"

static uint16_t u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | (unsigned)at[1] << 8);
}

static uint32_t u32(const uint8_t *at)
{
    return (uint32_t)u16(at) | (uint32_t)u16(at + 2) << 16;
}

const char *cheep_image_text(cheep_image_reason reason)
{
    static const char *const text[CHEEP_IMAGE_REASONS] = {
        [CHEEP_IMAGE_GOOD] = "it is good",
        [CHEEP_IMAGE_ABSENT] = "there is none",
        [CHEEP_IMAGE_UNREADABLE] = "the card cannot be read",
        [CHEEP_IMAGE_NOT_ONE] = "it is no image of a model (write it with cheep export --card)",
        [CHEEP_IMAGE_OTHER_ABI] = "it was made for another firmware (ABI): export it with the Cheep that made this firmware, "
                                  "or flash this one anew",
        [CHEEP_IMAGE_UNSIGNED] = "its signature is not one of this firmware's key, or its header is damaged: copy it again, "
                                 "or sign it with the key that this firmware was built with",
        [CHEEP_IMAGE_OTHER_BOARD] = "it is of another board, or for other places in the flash",
        [CHEEP_IMAGE_OTHER_RATE] = "its sample rate is not the one at which this firmware listens: flash a firmware of that rate",
        [CHEEP_IMAGE_TOO_LARGE] = "it is too large for the slot, the memory or the detector: see cheep size",
        [CHEEP_IMAGE_DAMAGED] = "it is damaged (SHA-256): copy it again",
        [CHEEP_IMAGE_NOT_WRITTEN] = "the flash did not take it",
        [CHEEP_IMAGE_REFUSED] = "its self-check failed",
        [CHEEP_IMAGE_HANGS] = "its self-check did not come to an end in three starts",
    };
    return (unsigned)reason < CHEEP_IMAGE_REASONS ? text[reason] : "unknown";
}

bool cheep_image_read(const uint8_t bytes[CHEEP_IMAGE_HEADER_BYTES], cheep_image_header *header)
{
    header->abi = u16(bytes + 8);
    header->length = u32(bytes + 12);
    header->address = u32(bytes + 16);
    header->entry = u32(bytes + 20);
    header->ram_address = u32(bytes + 24);
    header->ram_bytes = u32(bytes + 28);
    header->feature_hash = u32(bytes + 32);
    header->sample_rate_hz = u32(bytes + 36);
    header->classes = u16(bytes + 40);
    header->smoothing = u16(bytes + 42);
    header->board = bytes + 44;
    header->set = bytes + 64;
    header->sha256 = bytes + 96;
    header->model = bytes + 128;
    return memcmp(bytes, "CHEEPIMG", 8) == 0 && u16(bytes + 10) == CHEEP_IMAGE_HEADER_BYTES;
}

static bool is_board(const uint8_t *found, const char *board)
{
    char padded[CHEEP_IMAGE_BOARD_BYTES] = {0};
    const size_t n = strlen(board);
    memcpy(padded, board, n < sizeof padded ? n : sizeof padded);
    return memcmp(found, padded, sizeof padded) == 0;
}

/* The entry lies whole inside the body, and the body inside the slot. */
static bool is_inside(const cheep_image_header *h)
{
    const uint32_t from = h->address + CHEEP_IMAGE_HEADER_BYTES;
    return h->entry % 8u == 0u && h->entry >= from &&
           h->entry - h->address <= h->length - (uint32_t)sizeof(cheep_image_entry);
}

cheep_image_reason cheep_image_check(const uint8_t bytes[CHEEP_IMAGE_HEADER_BYTES], const cheep_image_rules *rules,
                                     unsigned slot)
{
    cheep_image_header h;
    if (!cheep_image_read(bytes, &h)) {
        return CHEEP_IMAGE_NOT_ONE;
    }
    if (h.abi != CHEEP_IMAGE_ABI) {
        return CHEEP_IMAGE_OTHER_ABI; /* before the signature: another ABI may sign other bytes */
    }
    if (!cheep_ed25519_verify(rules->public_key, bytes, CHEEP_IMAGE_SIGNED_BYTES, bytes + CHEEP_IMAGE_SIGNED_BYTES)) {
        return CHEEP_IMAGE_UNSIGNED;
    }
    if (!is_board(h.board, rules->board) || h.address != rules->slot_address[slot] ||
        h.ram_address != rules->ram_address) {
        return CHEEP_IMAGE_OTHER_BOARD;
    }
    if (h.sample_rate_hz != rules->sample_rate_hz) {
        return CHEEP_IMAGE_OTHER_RATE;
    }
    if (h.length > rules->slot_bytes || h.ram_bytes > rules->ram_bytes || h.classes > rules->max_classes ||
        (uint32_t)h.classes * h.smoothing > rules->max_scores) {
        return CHEEP_IMAGE_TOO_LARGE;
    }
    if (h.length % 4u != 0u || h.length < CHEEP_IMAGE_HEADER_BYTES + sizeof(cheep_image_entry) || !is_inside(&h)) {
        return CHEEP_IMAGE_NOT_ONE;
    }
    return CHEEP_IMAGE_GOOD;
}
