/* SPDX-License-Identifier: MIT */
#include "field_settings.h"

enum { FIRST = 0, SECOND, BYTES, UTF16, SWAPPED };

static unsigned utf8(uint32_t point, char out[4])
{
    unsigned n = point < 0x80u ? 1u : point < 0x800u ? 2u : point < 0x10000u ? 3u : 4u;
    static const uint8_t mark[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (unsigned i = n - 1u; i > 0u; i--) {
        out[i] = (char)(0x80u | (point & 0x3Fu));
        point >>= 6;
    }
    out[0] = (char)(mark[n] | point);
    return n;
}

static unsigned unit(field_encoding *e, uint16_t value, char out[4])
{
    const uint16_t high = e->high;
    e->high = 0;
    if (value >= 0xD800u && value < 0xDC00u) {
        e->high = value;
        return high != 0u ? utf8(0xFFFDu, out) : 0u; /* half of a pair is no character */
    }
    if (value >= 0xDC00u && value < 0xE000u) {
        return utf8(high != 0u ? 0x10000u + (((uint32_t)high - 0xD800u) << 10) + (value - 0xDC00u) : 0xFFFDu, out);
    }
    return utf8(value, out); /* a half before it is lost: what stands there is refused anyway */
}

unsigned field_decode(field_encoding *e, uint8_t byte, char out[4])
{
    switch (e->form) {
    case FIRST:
        e->before = byte;
        e->form = SECOND;
        return 0;
    case SECOND:
        if ((e->before == 0xFFu && byte == 0xFEu) || (e->before == 0xFEu && byte == 0xFFu)) {
            e->form = byte == 0xFEu ? UTF16 : SWAPPED;
            return 0;
        }
        e->form = BYTES;
        out[0] = (char)e->before;
        out[1] = (char)byte;
        return 2;
    case BYTES:
        out[0] = (char)byte;
        return 1;
    default:
        e->odd = !e->odd;
        if (e->odd) {
            e->before = byte;
            return 0;
        }
        return unit(e, (uint16_t)(e->form == UTF16 ? byte << 8 | e->before : e->before << 8 | byte), out);
    }
}

unsigned field_decode_end(field_encoding *e, char out[4])
{
    const bool one = e->form == SECOND;
    out[0] = (char)e->before;
    e->form = BYTES;
    return one ? 1u : 0u;
}
