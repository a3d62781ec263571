/* SPDX-License-Identifier: MIT */
/* A card's rows and clips for a board with a file system: the AudioMoth's files (field_records.h), and clips of any length
 * with a pre-roll. A clip's beginning comes out of the ring's past, the rest as it is heard: the ring need only hold the
 * pre-roll and what is heard between two calls. One clip at a time. */
#ifndef FIELD_KEEPER_H
#define FIELD_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_app.h"
#include "field_records.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The file system. Each returns false when the card takes or gives nothing. One file is open at a time, and none between two
 * calls of the keeper: whatever stops the board then, what has been closed is on the card. */
typedef struct {
    void *context;
    bool (*exists)(void *context, const char *name);
    bool (*open)(void *context, const char *name); /* to write behind what is there; makes it */
    bool (*write)(void *context, const void *data, size_t n);
    bool (*close)(void *context, bool keep); /* keep false: the file is as it was when it was opened */
} field_files;

typedef struct {
    field_files files;
    const cheep_ring *ring;
    uint32_t rate_hz, lead_samples, clip_samples; /* clip_samples 0: no clips */
    uint32_t id_high, id_low;
    uint32_t utc, utc_ms;      /* of sample 0 */
    cheep_app_card losses;
    bool failing;              /* the card takes nothing: left alone until a minute of sound has passed */
    uint64_t again;            /* sample from which it is tried again */
    struct {
        bool open;
        uint64_t next;         /* sample that is to be written next */
        uint64_t seen;         /* heard up to here at the last poll, without a gap */
        uint32_t left;
        uint64_t lost;         /* of the stream when it began; UINT64_MAX behind a gap */
        uint32_t ahead;        /* the most samples that waited in the ring at once */
        bool damaged;          /* counted already */
        char name[FIELD_NAME_BYTES];
    } clip;
} field_keeper;

/* A card that is full or gone answers slowly: behind a failure it is tried once a minute, what belongs on it meanwhile is
 * counted (losses; they stand in the `stats` line), and the board says when `failing` changes. */

/* An event began or ended: a clip begins, or a row is written. In cheep_app_handlers.event. */
void field_keeper_event(field_keeper *k, const cheep_app *app, const cheep_app_event *event);

/* After each cheep_app_poll: what has been heard goes into the clip, a quarter of the ring at a time (the ring holds it until
 * then: no other memory; less where the microphone runs far ahead of the network, for then less of the past is left), so that a
 * card is not opened, and its tables written, for every few samples. Samples that the ring does not have any more are zeros, and
 * so is all behind a gap, so that the clip is as long as it says; such a clip is counted. */
void field_keeper_poll(field_keeper *k, const cheep_app *app);

#ifdef __cplusplus
}
#endif
#endif
