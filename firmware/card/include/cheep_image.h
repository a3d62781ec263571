/* SPDX-License-Identifier: MIT */
/* A model as one image: compiled network, front end tables, thresholds, labels and golden windows, linked for one slot of
 * a board's flash and for a window of its RAM. MODEL.BIN on a card holds the image of each slot, one after another.
 *
 * A header of CHEEP_IMAGE_HEADER_BYTES (all numbers least byte first), then the body, which the linker has laid out:
 *
 *      0  magic            8   "CHEEPIMG"
 *      8  abi              2   CHEEP_IMAGE_ABI
 *     10  header bytes     2   256
 *     12  length           4   of header and body, a multiple of 4
 *     16  address          4   of the header in flash
 *     20  entry            4   address of the cheep_image_entry
 *     24  RAM address      4   of the window
 *     28  RAM bytes        4   that it takes of the window
 *     32  feature hash     4
 *     36  sample rate      4   Hz
 *     40  classes          2
 *     42  smoothing        2
 *     44  board           16   its name, padded with zeros
 *     60  zero             4
 *     64  set             32   the same in the images of all slots of one export, different otherwise
 *     96  SHA-256         32   of the body
 *    128  model           16   text: first digits of the .tflite's sha256, padded with zeros
 *    144  zero            48
 *    192  signature       64   Ed25519 of the 192 bytes before
 */
#ifndef CHEEP_IMAGE_H
#define CHEEP_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_app.h"
#include "cheep_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the structures below and all that they point to, and of how the image is called. */
#define CHEEP_IMAGE_ABI 2u
#define CHEEP_IMAGE_HEADER_BYTES 256u
#define CHEEP_IMAGE_SIGNED_BYTES 192u
#define CHEEP_IMAGE_ID_BYTES 32u
#define CHEEP_IMAGE_BOARD_BYTES 16u
#define CHEEP_IMAGE_MODEL_BYTES 16u

/* What cheep_model.h declares, of one model. */
typedef struct {
    cheep_status (*init)(void);
    cheep_status (*invoke)(const int8_t *window, int8_t *scores);
    void (*forget)(void);
    const cheep_model_columns *(*by_columns)(void);
    size_t (*memory_bytes)(void);
    const char *(*error)(void);
} cheep_image_model;

/* Where an image begins for the application; also the model that the firmware was built with has one. */
typedef struct {
    const cheep_app_spec *spec;
    const cheep_image_model *model;
    void *memory;             /* for cheep_app_boot; zero before the first call */
    uint32_t memory_bytes;
    double hysteresis;        /* CHEEP_DETECTOR_HYSTERESIS */
} cheep_image_entry;

#if defined(__arm__)
/* A change here, or in the meaning of a field, is another ABI. */
_Static_assert(sizeof(cheep_image_entry) == 24 && sizeof(cheep_image_model) == 24, "raise CHEEP_IMAGE_ABI");
_Static_assert(sizeof(cheep_app_spec) == 76 && sizeof(cheep_frontend_spec) == 72, "raise CHEEP_IMAGE_ABI");
_Static_assert(sizeof(cheep_detector_spec) == 24 && sizeof(cheep_class_threshold) == 8, "raise CHEEP_IMAGE_ABI");
_Static_assert(sizeof(cheep_golden) == 12 && sizeof(cheep_model_columns) == 16, "raise CHEEP_IMAGE_ABI");
_Static_assert(sizeof(cheep_gate_spec) == 16, "raise CHEEP_IMAGE_ABI");
#endif

/* A header as read. */
typedef struct {
    uint16_t abi;
    uint32_t length, address, entry, ram_address, ram_bytes, feature_hash, sample_rate_hz;
    uint16_t classes, smoothing;
    const uint8_t *board, *set, *sha256, *model; /* inside the header's bytes */
} cheep_image_header;

/* What a firmware takes. */
typedef struct {
    const char *board;
    uint32_t slot_address[2];
    uint32_t slot_bytes;
    uint32_t ram_address, ram_bytes;  /* of the window */
    uint32_t sample_rate_hz;          /* of its microphone; all other feature settings come with the image */
    uint16_t max_classes, max_scores; /* that the detector has room for */
    const uint8_t *public_key;        /* Ed25519 */
} cheep_image_rules;

typedef enum {
    CHEEP_IMAGE_GOOD = 0,
    CHEEP_IMAGE_ABSENT,        /* no such file, or an empty one */
    CHEEP_IMAGE_UNREADABLE,    /* the card fails */
    CHEEP_IMAGE_NOT_ONE,       /* no magic, or impossible numbers */
    CHEEP_IMAGE_OTHER_ABI,
    CHEEP_IMAGE_UNSIGNED,      /* the signature is not one of this key */
    CHEEP_IMAGE_OTHER_BOARD,   /* or of other addresses */
    CHEEP_IMAGE_OTHER_RATE,
    CHEEP_IMAGE_TOO_LARGE,     /* for the slot, the window or the detector */
    CHEEP_IMAGE_DAMAGED,       /* its SHA-256 differs */
    CHEEP_IMAGE_NOT_WRITTEN,   /* the flash did not take it */
    CHEEP_IMAGE_REFUSED,       /* its self-check failed */
    CHEEP_IMAGE_HANGS,         /* its self-check did not come to an end, several times */
    CHEEP_IMAGE_REASONS
} cheep_image_reason;

/* One line of what is wrong and what helps, never NULL. */
const char *cheep_image_text(cheep_image_reason reason);

/* Take the fields apart; false: no header of an image. `bytes` must outlive *header. */
bool cheep_image_read(const uint8_t bytes[CHEEP_IMAGE_HEADER_BYTES], cheep_image_header *header);

/* Everything but the body, for the slot. Signature first: what is not signed is not judged further. */
cheep_image_reason cheep_image_check(const uint8_t bytes[CHEEP_IMAGE_HEADER_BYTES], const cheep_image_rules *rules,
                                     unsigned slot);

/* The model that cheep_model.h's functions call from here on (cheep_image_model.c). */
void cheep_image_use(const cheep_image_entry *entry);

#ifdef __cplusplus
}
#endif
#endif
