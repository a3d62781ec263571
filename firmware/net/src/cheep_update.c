/* SPDX-License-Identifier: MIT */
#include "cheep_update.h"

#include <string.h>

#include "cheep_crc32.h"

#define PIECE 128u
#define HTTPS "https://"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

cheep_status cheep_update_read(const char *text, uint32_t n, cheep_update_order *order)
{
    uint32_t i = 0;
    uint64_t bytes = 0;
    memset(order, 0, sizeof *order);
    for (; i < n && i < 10u && text[i] >= '0' && text[i] <= '9'; i++) {
        bytes = bytes * 10u + (uint64_t)(text[i] - '0');
    }
    if (bytes == 0u || bytes > UINT32_MAX || i + 10u >= n || text[i] != ' ' || text[i + 9u] != ' ') {
        return CHEEP_ERROR_ARGUMENT;
    }
    for (uint32_t j = i + 1u; j < i + 9u; j++) {
        int digit = hex_value(text[j]);
        if (digit < 0) {
            return CHEEP_ERROR_ARGUMENT;
        }
        order->crc32 = order->crc32 << 4 | (uint32_t)digit;
    }
    i += 10u;
    if (n - i >= CHEEP_UPDATE_URL_BYTES || n - i <= sizeof HTTPS - 1u || memcmp(text + i, HTTPS, sizeof HTTPS - 1u) != 0) {
        return CHEEP_ERROR_ARGUMENT;
    }
    for (uint32_t j = i; j < n; j++) {
        if (text[j] <= ' ' || text[j] > '~') {
            return CHEEP_ERROR_ARGUMENT;
        }
    }
    memcpy(order->url, text + i, n - i);
    order->bytes = (uint32_t)bytes;
    return CHEEP_OK;
}

cheep_status cheep_update_begin(cheep_update *u, const cheep_places *places, const cheep_update_order *order)
{
    memset(u, 0, sizeof *u);
    if (order->bytes == 0u || order->bytes > places->bytes) {
        return CHEEP_ERROR_MEMORY;
    }
    if (places->on_trial(places->context)) {
        return CHEEP_ERROR_MISMATCH;
    }
    u->places = places;
    u->announced = order->bytes;
    u->crc32 = order->crc32;
    cheep_status status = places->begin(places->context);
    u->receiving = status == CHEEP_OK;
    return status;
}

cheep_status cheep_update_write(cheep_update *u, const void *data, uint32_t n)
{
    if (!u->receiving) {
        return CHEEP_ERROR_ARGUMENT;
    }
    cheep_status status = CHEEP_ERROR_CORRUPT;
    if (n <= u->announced - u->received) {
        status = u->places->write(u->places->context, u->received, data, n);
    }
    u->receiving = status == CHEEP_OK;
    u->crc = cheep_crc32(u->crc, data, n);
    u->received += n;
    return status;
}

/* The CRC-32 of what lies in the flash. */
static cheep_status read_back(const cheep_update *u, uint32_t *crc)
{
    uint8_t piece[PIECE];
    *crc = 0;
    for (uint32_t at = 0; at < u->announced; at += PIECE) {
        uint32_t n = u->announced - at < PIECE ? u->announced - at : PIECE;
        cheep_status status = u->places->read(u->places->context, at, piece, n);
        if (status != CHEEP_OK) {
            return status;
        }
        *crc = cheep_crc32(*crc, piece, n);
    }
    return CHEEP_OK;
}

cheep_status cheep_update_finish(cheep_update *u)
{
    uint32_t crc = 0;
    if (!u->receiving) {
        return CHEEP_ERROR_ARGUMENT;
    }
    u->receiving = false;
    if (u->received != u->announced || u->crc != u->crc32) {
        return CHEEP_ERROR_CORRUPT;
    }
    cheep_status status = read_back(u, &crc);
    if (status == CHEEP_OK && crc != u->crc32) {
        status = CHEEP_ERROR_CORRUPT;
    }
    return status == CHEEP_OK ? u->places->activate(u->places->context) : status;
}

/* A failure goes back also where the application was not on trial: a power cut in the record of the trial may have made
 * it look confirmed. Each of two bad ones is left once, then the board refuses. */
void cheep_update_boot(const cheep_places *places, bool passed)
{
    if (!passed) {
        if (places->can_go_back(places->context)) {
            places->go_back(places->context);
        }
    } else if (places->on_trial(places->context)) {
        (void)places->confirm(places->context);
    }
}
