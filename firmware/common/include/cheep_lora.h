/* SPDX-License-Identifier: MIT */
/* An event as 24 bytes for LoRa, and 8 bytes that prove who sent it (docs/lora.md has the table; cheep.lora is the same in
 * Python). Numbers are big-endian.
 *
 *      0  version (4 bits), flags (4 bits)      14  first four bytes of the model's sha256
 *      1  device                                18  score: logit in 1/1000, or probability in millionths
 *      5  counter                               21  duration in tenths of a second
 *      9  time in seconds                       23  battery in 20 mV, 0: unknown
 *     13  label                                 24  tag: the first 8 bytes of AES-128-CMAC over bytes 0 to 23
 */
#ifndef CHEEP_LORA_H
#define CHEEP_LORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_cmac.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_LORA_VERSION 1
#define CHEEP_LORA_BODY_BYTES 24
#define CHEEP_LORA_TAG_BYTES 8
#define CHEEP_LORA_BYTES (CHEEP_LORA_BODY_BYTES + CHEEP_LORA_TAG_BYTES)

typedef struct {
    uint32_t device;       /* the key belongs to it */
    uint32_t counter;      /* larger with every payload of the device, for ever (cheep_lora_counter) */
    uint32_t time_s;       /* of the start of the event: since 1970, UTC, or since the device began to listen */
    bool since_start;      /* the device does not know the date */
    uint8_t label;         /* class of the model */
    uint32_t model;        /* first four bytes of its sha256, as a number */
    bool is_logit;         /* score: logit in 1/1000; otherwise probability in millionths */
    int32_t score;         /* encoded within -8,388,608..8,388,607 */
    uint32_t duration_ms;  /* rounded to tenths of a second, 6553.5 s at most */
    uint32_t battery_mv;   /* rounded to 20 mV, 20..5100; 0: unknown */
} cheep_lora_event;

typedef enum {
    CHEEP_LORA_OK = 0,
    CHEEP_LORA_LENGTH,     /* not CHEEP_LORA_BYTES long */
    CHEEP_LORA_FORMAT,     /* another version, or flags that this one does not have */
    CHEEP_LORA_DEVICE,     /* of another device than the key's */
    CHEEP_LORA_TAG,        /* changed on the way, or of somebody without the key */
    CHEEP_LORA_REPLAY      /* its counter has been seen, or is older */
} cheep_lora_result;

/* The payload of an event. */
void cheep_lora_encode(const cheep_lora_event *event, const uint8_t key[CHEEP_CMAC_KEY_BYTES],
                       uint8_t payload[CHEEP_LORA_BYTES]);

/* The event of a payload of `device`, for a receiver that has seen its counters up to *counter (*fresh: none yet).
 * On CHEEP_LORA_OK *event, *counter and *fresh are set, otherwise nothing is. */
cheep_lora_result cheep_lora_decode(const uint8_t *payload, size_t n, uint32_t device,
                                    const uint8_t key[CHEEP_CMAC_KEY_BYTES], uint32_t *counter, bool *fresh,
                                    cheep_lora_event *event);

/* Numbers that are never given twice, whenever the power fails: `ceiling` is stored before the numbers below it are used,
 * CHEEP_LORA_LEASE at a time, so that a store in flash is written once in so many events. */
#define CHEEP_LORA_LEASE 64u

typedef struct {
    void *context;
    bool (*store)(void *context, uint32_t ceiling); /* returns when it is safe; false: it is not */
    uint32_t next, ceiling;
} cheep_lora_counter;

/* `stored`: the ceiling that was stored last, 0 for a new device. */
void cheep_lora_counter_init(cheep_lora_counter *c, uint32_t stored, bool (*store)(void *context, uint32_t ceiling),
                             void *context);
/* False: the ceiling cannot be stored, or the numbers are used up (a new key is due); nothing may be sent. */
bool cheep_lora_counter_take(cheep_lora_counter *c, uint32_t *counter);

#ifdef __cplusplus
}
#endif
#endif
