/* SPDX-License-Identifier: MIT */
/* SETTINGS.TXT: `name = value` lines, `#` begins a comment. A wrong line is refused with a note (its
 * number, the value, the rule) and leaves the default of that setting; the others count. UTF-8 with or without a byte order
 * mark, or UTF-16 with one, as Windows' editors write it; lines end with LF or CRLF. */
#ifndef FIELD_SETTINGS_H
#define FIELD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_detector.h"
#include "cheep_text.h"

#define FIELD_MAX_PERIODS 8
#define FIELD_MAX_CLIP_S 10
#define FIELD_MAX_LEAD_S 8
#define FIELD_MAX_DAYS 31
#define FIELD_LINE_BYTES 96

typedef struct {
    uint16_t start_min, stop_min; /* minutes of the UTC day; start > stop passes midnight */
} field_period;

typedef enum {
    FIELD_MODEL = 0,   /* the model's own threshold */
    FIELD_OFF,         /* this label never makes an event */
    FIELD_PROBABILITY, /* in millionths */
    FIELD_LOGIT        /* in thousandths: near 1, where a probability has too few digits */
} field_form;

typedef struct {
    field_form form;
    int32_t value;
} field_level;

typedef struct {
    uint8_t gain;                /* 0 low .. 4 high, as AM_gainSetting_t */
    bool led;
    uint8_t clip_s;              /* WAV around a detection: 0 none, else 1..FIELD_MAX_CLIP_S */
    uint8_t n_periods;           /* 0: always */
    field_period periods[FIELD_MAX_PERIODS];
    uint16_t low_battery_mv;      /* 0: never stop */
    bool score_log;               /* a byte for every window and label (field_scores.h) */
    bool gate;                    /* the model's gate, where it has one; off: the network runs on every window */
    uint8_t clip_lead_s;          /* of the clip, before the event: 0..FIELD_MAX_LEAD_S */
    uint8_t every_days;           /* 1: listen every day; 2..FIELD_MAX_DAYS: one day in so many */
    uint32_t first_day;           /* days since 1970, the first on which to listen; 0: not said */
    field_level threshold[CHEEP_MAX_CLASSES];
} field_settings;

extern const char *const field_gain_names[5];

/* One problem, one line of text without its newline. */
typedef void (*field_note)(void *context, const char *text);

/* Bytes of a file -> bytes of UTF-8. */
typedef struct {
    uint8_t form;                 /* 0: the first byte is to come, 1: the second, 2: bytes, 3: UTF-16, 4: its bytes swapped */
    uint8_t before;
    bool odd;                     /* `before` is half of a unit */
    uint16_t high;                /* first half of a surrogate pair, or 0 */
} field_encoding;

/* A byte of a file -> the bytes of text that it completes: at most 4 in out, their number returned. Start with zeros. */
unsigned field_decode(field_encoding *e, uint8_t byte, char out[4]);
/* The file is at its end: what was still held back. */
unsigned field_decode_end(field_encoding *e, char out[4]);

typedef struct {
    field_settings *settings;
    const char *const *labels;
    uint16_t n_labels;
    field_note note;
    void *context;
    uint16_t line;
    uint16_t length;
    uint16_t problems;
    uint16_t seen;                /* settings that have had their line */
    bool too_long;
    bool has_zeros, zeros_said;
    field_encoding encoding;
    char text[FIELD_LINE_BYTES];
} field_parser;

void field_settings_default(field_settings *settings);

/* Defaults into *settings, then feed the file in pieces of any length, then finish. */
void field_parser_init(field_parser *p, field_settings *settings, const char *const *labels, uint16_t n_labels,
                       field_note note, void *context);
void field_parser_feed(field_parser *p, const char *data, size_t n);
/* Returns the number of problems. */
uint16_t field_parser_finish(field_parser *p);

/* The commented file that is written where there is none, line by line through write (no newline in text). It shows the
 * model's own thresholds. */
void field_settings_write(const char *const *labels, const cheep_detector_spec *model, field_note write, void *context);

/* A class's threshold as sums, by the rule of cheep_scores.h; `own` is the model's. */
cheep_class_threshold field_threshold(const cheep_class_threshold *own, field_level level, uint16_t smoothing,
                                      const cheep_score_scale *scores, double hysteresis);

/* Is it time to listen? A period that passes midnight belongs to the day on which it begins. *seconds_left: until that
 * changes (UINT32_MAX: never; of days that are left out, it looks a day ahead, and 86400 may mean that it stays). */
bool field_schedule(const field_settings *settings, uint32_t utc, uint32_t *seconds_left);

#endif
