/* SPDX-License-Identifier: MIT */
#include "cheep_ring.h"

#include <string.h>

/* The builtins of GCC and Clang: plain loads and stores on a single core, barriers where two cores share. */
#define LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

cheep_status cheep_ring_init(cheep_ring *ring, int16_t *data, uint32_t capacity)
{
    if (data == NULL || capacity < 2u || capacity > (1u << 30) || (capacity & (capacity - 1u)) != 0u) {
        return CHEEP_ERROR_ARGUMENT;
    }
    memset(ring, 0, sizeof *ring);
    ring->data = data;
    ring->capacity = capacity;
    return CHEEP_OK;
}

size_t cheep_ring_push(cheep_ring *ring, const int16_t *pcm, size_t n)
{
    uint32_t head = ring->head;
    uint32_t room = ring->capacity - (head - LOAD(&ring->tail));
    uint32_t seen = LOAD(&ring->lost_seen);
    if (ring->lost != seen || n > room) {
        cheep_ring_lose(ring, (uint32_t)n);
        return 0;
    }
    uint32_t at = head & (ring->capacity - 1u);
    size_t first = ring->capacity - at;
    if (first > n) {
        first = n;
    }
    memcpy(ring->data + at, pcm, first * sizeof *pcm);
    memcpy(ring->data, pcm + first, (n - first) * sizeof *pcm);
    STORE(&ring->head, head + (uint32_t)n);
    return n;
}

void cheep_ring_lose(cheep_ring *ring, uint32_t n)
{
    if (ring->lost == LOAD(&ring->lost_seen)) {
        STORE(&ring->overruns, ring->overruns + 1u);
    }
    STORE(&ring->lost, ring->lost + n);
}

size_t cheep_ring_peek(const cheep_ring *ring, const int16_t **pcm)
{
    uint32_t at = ring->tail & (ring->capacity - 1u);
    uint32_t waiting = cheep_ring_waiting(ring);
    uint32_t piece = ring->capacity - at;
    *pcm = ring->data + at;
    return waiting < piece ? waiting : piece;
}

void cheep_ring_consume(cheep_ring *ring, size_t n)
{
    STORE(&ring->tail, ring->tail + (uint32_t)n);
}

uint32_t cheep_ring_waiting(const cheep_ring *ring)
{
    return LOAD(&ring->head) - ring->tail;
}

uint32_t cheep_ring_take_gap(cheep_ring *ring)
{
    uint32_t lost = LOAD(&ring->lost);
    uint32_t gap = lost - ring->lost_seen;
    /* The producer writes nothing between its first loss and this acknowledgement, so an empty ring
     * seen after reading `lost` has given everything that came before the gap. */
    if (gap == 0u || cheep_ring_waiting(ring) != 0u) {
        return 0;
    }
    STORE(&ring->lost_seen, lost);
    return gap;
}

size_t cheep_ring_history(const cheep_ring *ring, uint32_t back, int16_t *pcm, size_t n)
{
    uint32_t valid = ring->capacity - cheep_ring_waiting(ring);
    uint32_t end = ring->tail - back;
    if (back >= valid) {
        return 0;
    }
    if (n > valid - back) {
        n = valid - back;
    }
    for (size_t i = 0; i < n; i++) {
        pcm[i] = ring->data[(end - (uint32_t)(n - i)) & (ring->capacity - 1u)];
    }
    return n;
}
