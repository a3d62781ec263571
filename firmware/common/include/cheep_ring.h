/* SPDX-License-Identifier: MIT */
/* Ring of int16 samples: one producer (an interrupt), one consumer (the main loop), no locks.
 *
 * The producer never waits. When the ring is full it drops samples and goes on dropping until the
 * consumer has drained the ring and acknowledged the gap: so a gap has exactly one place in the
 * stream and its length is known, and time never drifts. Consumed samples stay readable until they
 * are overwritten (cheep_ring_history), which gives the audio before an event without a second buffer.
 *
 * State: 28 bytes on a 32-bit machine, plus the caller's sample memory.
 */
#ifndef CHEEP_RING_H
#define CHEEP_RING_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int16_t *data;        /* capacity samples, the caller's */
    uint32_t capacity;    /* a power of two, 2..2^30 */
    uint32_t head;        /* samples ever written, modulo 2^32 (producer) */
    uint32_t tail;        /* samples ever consumed, modulo 2^32 (consumer) */
    uint32_t lost;        /* samples ever dropped, modulo 2^32 (producer) */
    uint32_t lost_seen;   /* the part of lost that the consumer knows (consumer) */
    uint32_t overruns;    /* gaps (producer) */
} cheep_ring;

/* CHEEP_ERROR_ARGUMENT unless capacity is a power of two and data is given. */
cheep_status cheep_ring_init(cheep_ring *ring, int16_t *data, uint32_t capacity);

/* Producer, interrupt-safe: all n samples are taken or all are counted as lost. Returns those taken. */
size_t cheep_ring_push(cheep_ring *ring, const int16_t *pcm, size_t n);

/* Producer: n samples never came (the driver dropped them): a gap, as if there had been no room for them. */
void cheep_ring_lose(cheep_ring *ring, uint32_t n);

/* Consumer: the samples that can be read at *pcm in one piece (0 when empty). */
size_t cheep_ring_peek(const cheep_ring *ring, const int16_t **pcm);

/* Consumer: n samples (at most what cheep_ring_peek returned) are done with. */
void cheep_ring_consume(cheep_ring *ring, size_t n);

/* Consumer: samples waiting. */
uint32_t cheep_ring_waiting(const cheep_ring *ring);

/* Consumer, when the ring is empty: samples lost at this place of the stream; acknowledges them. */
uint32_t cheep_ring_take_gap(cheep_ring *ring);

/* Consumer: copy n samples of which the newest lies `back` samples before the next one to consume.
 * Returns the number copied: less than n when the oldest are already overwritten (the newest are kept).
 * The producer goes on meanwhile: leave it room (back + n at most the capacity less what may arrive). */
size_t cheep_ring_history(const cheep_ring *ring, uint32_t back, int16_t *pcm, size_t n);

#ifdef __cplusplus
}
#endif
#endif
