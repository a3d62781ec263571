/* SPDX-License-Identifier: MIT */
#include "cheep_text.h"

void cheep_text_init(cheep_text *t, char *data, size_t capacity)
{
    t->data = data;
    t->capacity = capacity;
    t->length = 0;
    t->cut = false;
    data[0] = '\0';
}

void cheep_text_char(cheep_text *t, char c)
{
    if (t->length + 1u >= t->capacity) {
        t->cut = true;
        return;
    }
    t->data[t->length++] = c;
    t->data[t->length] = '\0';
}

void cheep_text_string(cheep_text *t, const char *s)
{
    while (*s != '\0') {
        cheep_text_char(t, *s++);
    }
}

void cheep_text_unsigned(cheep_text *t, uint64_t value, unsigned width)
{
    char digits[20];
    unsigned n = 0;
    do {
        digits[n++] = (char)('0' + (int)(value % 10u));
        value /= 10u;
    } while (value != 0u);
    for (; width > n; width--) {
        cheep_text_char(t, '0');
    }
    while (n > 0u) {
        cheep_text_char(t, digits[--n]);
    }
}

void cheep_text_signed(cheep_text *t, int64_t value)
{
    if (value < 0) {
        cheep_text_char(t, '-');
    }
    cheep_text_unsigned(t, value < 0 ? 0u - (uint64_t)value : (uint64_t)value, 1);
}

static char hex_digit(uint32_t nibble)
{
    return (char)(nibble < 10u ? '0' + (int)nibble : 'a' + (int)nibble - 10);
}

void cheep_text_hex32(cheep_text *t, uint32_t value)
{
    cheep_text_string(t, "0x");
    for (int shift = 28; shift >= 0; shift -= 4) {
        cheep_text_char(t, hex_digit((value >> shift) & 15u));
    }
}

void cheep_text_fixed(cheep_text *t, int64_t value, unsigned digits)
{
    uint64_t magnitude = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
    uint64_t unit = 1;
    for (unsigned i = 0; i < digits; i++) {
        unit *= 10u;
    }
    if (value < 0) {
        cheep_text_char(t, '-');
    }
    cheep_text_unsigned(t, magnitude / unit, 1);
    if (digits > 0u) {
        cheep_text_char(t, '.');
        cheep_text_unsigned(t, magnitude % unit, digits);
    }
}

void cheep_text_json_string(cheep_text *t, const char *s)
{
    cheep_text_char(t, '"');
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c < 0x20u) {
            cheep_text_string(t, "\\u00");
            cheep_text_char(t, hex_digit((uint32_t)c >> 4));
            cheep_text_char(t, hex_digit((uint32_t)c & 15u));
            continue;
        }
        if (c == '"' || c == '\\') {
            cheep_text_char(t, '\\');
        }
        cheep_text_char(t, *s);
    }
    cheep_text_char(t, '"');
}
