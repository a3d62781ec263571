/* SPDX-License-Identifier: MIT */
/* What the card gets: rows, file names, the WAV header with AudioMoth's comment, and a store for rows
 * that could not be written yet. */
#ifndef FIELD_RECORDS_H
#define FIELD_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_text.h"

#define FIELD_NAME_BYTES 32
#define FIELD_ROW_BYTES 192
#define FIELD_WAV_HEADER_BYTES 488

#define FIELD_ROW_HEADER "utc,label,score,duration_s,temperature_c,battery_v,clip\n"
#define FIELD_NO_TEMPERATURE (-100000)

typedef struct {
    uint32_t utc;              /* of its start */
    uint32_t utc_ms;
    const char *label;
    uint32_t score_e6;
    uint32_t duration_ms;
    int32_t temperature_mc;    /* millidegrees, or FIELD_NO_TEMPERATURE */
    uint32_t battery_mv;        /* 0: unknown */
    const char *clip;          /* file name, or "" */
} field_detection;

/* "20260520.CSV", "20260520_SUMMARY.CSV", "20260520_053012.WAV" (copy > 0: "20260520_053012_1.WAV") */
void field_name_rows(char name[FIELD_NAME_BYTES], uint32_t utc);
void field_name_summary(char name[FIELD_NAME_BYTES], uint32_t utc);
void field_name_clip(char name[FIELD_NAME_BYTES], uint32_t utc, unsigned copy);

/* One row with its newline; returns its length. Labels with commas or quotes are quoted. */
size_t field_row(char row[FIELD_ROW_BYTES], const field_detection *detection);

typedef struct {
    uint32_t utc;
    uint32_t sample_rate_hz;
    uint32_t samples;
    uint32_t id_high, id_low;  /* the device's unique number */
    const char *gain;
    uint32_t battery_mv;
    int32_t temperature_mc;
    const char *label;
    uint32_t score_e6;
    uint32_t at_sample;        /* of the clip: where the event begins */
} field_wav;

/* RIFF header with AudioMoth's comment and artist: header[FIELD_WAV_HEADER_BYTES], then the samples follow. */
void field_wav_header(uint8_t header[FIELD_WAV_HEADER_BYTES], const field_wav *wav);

/* Rows that wait for the card. Whole lines; when one does not fit, it is dropped and counted. */
typedef struct {
    char *data;
    uint32_t capacity;
    uint32_t length;
    uint32_t dropped;
} field_store;

void field_store_add(field_store *store, const char *row, size_t n);
void field_store_clear(field_store *store);

/* Totals of a session for the day's summary. */
typedef struct {
    uint32_t begun_utc;
    uint32_t listened_s;
    uint32_t overruns;
    uint32_t lost_rows;
    uint32_t battery_mv;
    int32_t temperature_mc;
} field_session;

size_t field_summary_header(char *row, size_t capacity, const char *const *labels, uint16_t n_labels);
size_t field_summary_row(char *row, size_t capacity, const field_session *session, uint32_t utc,
                         const uint16_t *counts, uint16_t n_labels);

#endif
