/* SPDX-License-Identifier: MIT */
#include "cheep_capture.h"

#include <string.h>

#include "hal.h"

#define FIRST_WAIT_MS 10u
#define LONGEST_WAIT_MS 1000u

cheep_status cheep_capture_init(cheep_capture *capture, cheep_ring *ring, uint32_t factor, uint32_t rate_hz)
{
    memset(capture, 0, sizeof *capture);
    capture->ring = ring;
    capture->factor = factor;
    capture->rate_hz = rate_hz;
    capture->last_us = cheep_hal_clock_us();
    return cheep_decimate_init(&capture->decimator, factor);
}

static uint32_t since_last_read(cheep_capture *capture)
{
    const uint32_t now = cheep_hal_clock_us();
    const uint32_t us = now - capture->last_us; /* right across one wrap of the clock */
    capture->last_us = now;
    return us;
}

void cheep_capture_took(cheep_capture *capture, int16_t *pcm, size_t n, uint32_t dropped)
{
    uint64_t lost = dropped / capture->factor;
    const uint32_t us = since_last_read(capture);
    if (capture->in_a_row > 0u) { /* of the time without samples, these n are the end */
        const uint64_t missing = (capture->lost_us + us) * capture->rate_hz / 1000000u;
        const uint64_t came = n / capture->factor;
        lost += missing > came ? missing - came : 0u;
        capture->lost_us = 0;
    }
    if (lost > 0u) {
        cheep_ring_lose(capture->ring, lost > UINT32_MAX / 2u ? UINT32_MAX / 2u : (uint32_t)lost);
    }
    n = cheep_decimate(&capture->decimator, pcm, n, pcm);
    (void)cheep_ring_push(capture->ring, pcm, n);
    __atomic_store_n(&capture->in_a_row, 0u, __ATOMIC_RELEASE);
}

uint32_t cheep_capture_failed(cheep_capture *capture)
{
    const uint32_t before = capture->in_a_row;
    capture->lost_us += since_last_read(capture);
    capture->failed++;
    __atomic_store_n(&capture->in_a_row, before + 1u, __ATOMIC_RELEASE);
    return before > 6u ? LONGEST_WAIT_MS : FIRST_WAIT_MS << before;
}
