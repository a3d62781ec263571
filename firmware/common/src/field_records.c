/* SPDX-License-Identifier: MIT */
#include "field_records.h"

#include <string.h>

#include "field_time.h"

void field_name_rows(char name[FIELD_NAME_BYTES], uint32_t utc)
{
    cheep_text t;
    cheep_text_init(&t, name, FIELD_NAME_BYTES);
    field_text_day(&t, utc);
    cheep_text_string(&t, ".CSV");
}

void field_name_summary(char name[FIELD_NAME_BYTES], uint32_t utc)
{
    cheep_text t;
    cheep_text_init(&t, name, FIELD_NAME_BYTES);
    field_text_day(&t, utc);
    cheep_text_string(&t, "_SUMMARY.CSV");
}

void field_name_clip(char name[FIELD_NAME_BYTES], uint32_t utc, unsigned copy)
{
    cheep_text t;
    cheep_text_init(&t, name, FIELD_NAME_BYTES);
    field_text_stamp(&t, utc);
    if (copy > 0u) {
        cheep_text_char(&t, '_');
        cheep_text_unsigned(&t, copy, 1);
    }
    cheep_text_string(&t, ".WAV");
}

static void csv_string(cheep_text *t, const char *s)
{
    if (strpbrk(s, ",\"\r\n") == NULL) {
        cheep_text_string(t, s);
        return;
    }
    cheep_text_char(t, '"');
    for (; *s != '\0'; s++) {
        if (*s == '"') {
            cheep_text_char(t, '"');
        }
        cheep_text_char(t, *s);
    }
    cheep_text_char(t, '"');
}

/* Thousandths as units with `digits` digits, rounded half away from zero. */
static void rounded(cheep_text *t, int32_t milli, unsigned digits)
{
    int32_t unit = digits == 1u ? 100 : digits == 2u ? 10 : 1;
    int32_t half = milli < 0 ? -(unit / 2) : unit / 2;
    cheep_text_fixed(t, (milli + half) / unit, digits);
}

static void end_row(cheep_text *t)
{
    if (t->cut) {
        t->length -= 1u; /* the newline matters more than the last character */
    }
    cheep_text_char(t, '\n');
}

static void weather(cheep_text *t, int32_t temperature_mc, uint32_t battery_mv)
{
    if (temperature_mc != FIELD_NO_TEMPERATURE) {
        rounded(t, temperature_mc, 1);
    }
    cheep_text_char(t, ',');
    if (battery_mv != 0u) {
        rounded(t, (int32_t)battery_mv, 2);
    }
}

size_t field_row(char row[FIELD_ROW_BYTES], const field_detection *detection)
{
    cheep_text t;
    cheep_text_init(&t, row, FIELD_ROW_BYTES);
    field_text_iso(&t, detection->utc, detection->utc_ms);
    cheep_text_char(&t, ',');
    csv_string(&t, detection->label);
    cheep_text_char(&t, ',');
    cheep_text_fixed(&t, detection->score_e6, 6);
    cheep_text_char(&t, ',');
    rounded(&t, (int32_t)detection->duration_ms, 2);
    cheep_text_char(&t, ',');
    weather(&t, detection->temperature_mc, detection->battery_mv);
    cheep_text_char(&t, ',');
    cheep_text_string(&t, detection->clip);
    end_row(&t);
    return t.length;
}

static uint8_t *chunk(uint8_t *at, const char *id, uint32_t size)
{
    memcpy(at, id, 4);
    for (unsigned i = 0; i < 4u; i++) {
        at[4u + i] = (uint8_t)(size >> (8u * i));
    }
    return at + 8;
}

static uint8_t *little(uint8_t *at, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        *at++ = (uint8_t)(value >> (8u * i));
    }
    return at;
}

static void hex8(cheep_text *t, uint32_t value)
{
    for (int shift = 28; shift >= 0; shift -= 4) {
        cheep_text_char(t, "0123456789ABCDEF"[(value >> shift) & 15u]);
    }
}

static void artist(cheep_text *t, const field_wav *wav)
{
    cheep_text_string(t, "AudioMoth ");
    hex8(t, wav->id_high);
    hex8(t, wav->id_low);
}

/* The words that AudioMoth users' programs read, then ours. */
static void comment(cheep_text *t, const field_wav *wav)
{
    cheep_text_string(t, "Recorded at ");
    field_text_audiomoth(t, wav->utc);
    cheep_text_string(t, " (UTC) by ");
    artist(t, wav);
    cheep_text_string(t, " at ");
    cheep_text_string(t, wav->gain);
    cheep_text_string(t, " gain");
    if (wav->battery_mv != 0u) {
        cheep_text_string(t, " while battery was ");
        rounded(t, (int32_t)wav->battery_mv, 1);
        cheep_text_char(t, 'V');
    }
    if (wav->temperature_mc != FIELD_NO_TEMPERATURE) {
        cheep_text_string(t, wav->battery_mv != 0u ? " and temperature was " : " while temperature was ");
        rounded(t, wav->temperature_mc, 1);
        cheep_text_char(t, 'C');
    }
    cheep_text_string(t, ". Cheep heard ");
    cheep_text_string(t, wav->label);
    cheep_text_string(t, " with score ");
    cheep_text_fixed(t, wav->score_e6, 6);
    cheep_text_string(t, " at sample ");
    cheep_text_unsigned(t, wav->at_sample, 1);
    cheep_text_char(t, '.');
}

void field_wav_header(uint8_t header[FIELD_WAV_HEADER_BYTES], const field_wav *wav)
{
    uint32_t bytes = 2u * wav->samples;
    cheep_text t;
    uint8_t *at = header;
    memset(header, 0, FIELD_WAV_HEADER_BYTES);
    at = chunk(at, "RIFF", FIELD_WAV_HEADER_BYTES - 8u + bytes);
    memcpy(at, "WAVE", 4);
    at = chunk(at + 4, "fmt ", 16);
    at = little(at, 1, 2); /* PCM */
    at = little(at, 1, 2); /* mono */
    at = little(at, wav->sample_rate_hz, 4);
    at = little(at, 2u * wav->sample_rate_hz, 4);
    at = little(at, 2, 2);
    at = little(at, 16, 2);
    at = chunk(at, "LIST", 4u + 8u + 384u + 8u + 32u);
    memcpy(at, "INFO", 4);
    at = chunk(at + 4, "ICMT", 384);
    cheep_text_init(&t, (char *)at, 384);
    comment(&t, wav);
    at = chunk(at + 384, "IART", 32);
    cheep_text_init(&t, (char *)at, 32);
    artist(&t, wav);
    (void)chunk(at + 32, "data", bytes);
}

void field_store_add(field_store *store, const char *row, size_t n)
{
    if (n > store->capacity - store->length) {
        store->dropped++;
        return;
    }
    memcpy(store->data + store->length, row, n);
    store->length += (uint32_t)n;
}

void field_store_clear(field_store *store)
{
    store->length = 0;
}

size_t field_summary_header(char *row, size_t capacity, const char *const *labels, uint16_t n_labels)
{
    cheep_text t;
    cheep_text_init(&t, row, capacity);
    cheep_text_string(&t, "from_utc,to_utc,listened_s,overruns,lost_rows,temperature_c,battery_v");
    for (uint16_t i = 0; i < n_labels; i++) {
        cheep_text_char(&t, ',');
        csv_string(&t, labels[i]);
    }
    end_row(&t);
    return t.length;
}

size_t field_summary_row(char *row, size_t capacity, const field_session *session, uint32_t utc,
                         const uint16_t *counts, uint16_t n_labels)
{
    cheep_text t;
    cheep_text_init(&t, row, capacity);
    field_text_iso(&t, session->begun_utc, 0);
    cheep_text_char(&t, ',');
    field_text_iso(&t, utc, 0);
    cheep_text_char(&t, ',');
    cheep_text_unsigned(&t, session->listened_s, 1);
    cheep_text_char(&t, ',');
    cheep_text_unsigned(&t, session->overruns, 1);
    cheep_text_char(&t, ',');
    cheep_text_unsigned(&t, session->lost_rows, 1);
    cheep_text_char(&t, ',');
    weather(&t, session->temperature_mc, session->battery_mv);
    for (uint16_t i = 0; i < n_labels; i++) {
        cheep_text_char(&t, ',');
        cheep_text_unsigned(&t, counts[i], 1);
    }
    end_row(&t);
    return t.length;
}
