/* SPDX-License-Identifier: MIT */
/* Between a microphone's driver and the ring: what a board's task that reads the microphone does, without the board.
 *
 *     for (;;) {
 *         if (driver gives n samples) {
 *             cheep_capture_took(&capture, pcm, n, samples that the driver has dropped before them);
 *         } else {
 *             sleep for cheep_capture_failed(&capture) milliseconds;
 *         }
 *     }
 *
 * The application is told of it with cheep_app_watch: it says when the microphone fails, and when it is back. */
#ifndef CHEEP_CAPTURE_H
#define CHEEP_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_decimate.h"
#include "cheep_ring.h"
#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    cheep_ring *ring;
    cheep_decimator decimator;
    uint32_t factor;      /* samples of the driver for one of the model */
    uint32_t rate_hz;     /* of the model */
    uint32_t in_a_row;    /* reads that failed since the last good one (the producer writes) */
    uint32_t failed;      /* reads that failed since boot */
    uint32_t last_us;     /* clock at the last read */
    uint64_t lost_us;     /* for which no samples came */
    int32_t offset;       /* of the microphone, in units of a sample, where the board knows it */
} cheep_capture;

/* factor 1, 2 or 3: as cheep_decimate_init. */
cheep_status cheep_capture_init(cheep_capture *capture, cheep_ring *ring, uint32_t factor, uint32_t rate_hz);

/* n samples of the driver, decimated in place and put into the ring; `dropped` of the driver's samples were lost before
 * them (its queue overflowed). What was lost is one gap in the ring: counted, and time does not drift. */
void cheep_capture_took(cheep_capture *capture, int16_t *pcm, size_t n, uint32_t dropped);

/* A read failed, or gave nothing. Returns for how many milliseconds to wait before the next: 10, 20, 40, ... 1000. */
uint32_t cheep_capture_failed(cheep_capture *capture);

#ifdef __cplusplus
}
#endif
#endif
