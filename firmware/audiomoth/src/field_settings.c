/* SPDX-License-Identifier: MIT */
#include "field_settings.h"

#include <string.h>

#include "field_values.h"

const char *const field_gain_names[5] = {"low", "low-medium", "medium", "medium-high", "high"};

void field_settings_default(field_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    settings->gain = 2;
    settings->led = true;
    settings->low_battery_mv = 3300;
    settings->every_days = 1;
    settings->gate = true;
    settings->clip_lead_s = 1;
}

void field_parser_init(field_parser *p, field_settings *settings, const char *const *labels, uint16_t n_labels,
                       field_note note, void *context)
{
    memset(p, 0, sizeof *p);
    p->settings = settings;
    p->labels = labels;
    p->n_labels = n_labels;
    p->note = note;
    p->context = context;
    field_settings_default(settings);
}

static void problem(field_parser *p, const char *name, const char *value, const char *rule)
{
    char text[224];
    cheep_text t;
    cheep_text_init(&t, text, sizeof text);
    cheep_text_string(&t, "SETTINGS.TXT line ");
    cheep_text_unsigned(&t, p->line, 1);
    cheep_text_string(&t, ": ");
    cheep_text_string(&t, name);
    if (value != NULL) {
        cheep_text_char(&t, '=');
        cheep_text_string(&t, value);
    }
    cheep_text_string(&t, ": ");
    cheep_text_string(&t, rule);
    p->problems++;
    p->note(p->context, text);
}

#define TWICE "is set a second time: the line before it counts"

/* Cut spaces off both ends, in place. */
static char *trim(char *s)
{
    size_t n = strlen(s);
    while (n > 0u && field_is_space(s[n - 1u])) {
        s[--n] = '\0';
    }
    while (field_is_space(*s)) {
        s++;
    }
    return s;
}

/* "on" or "off". */
static void take_switch(field_parser *p, const char *name, const char *value, bool *out)
{
    if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
        problem(p, name, value, "must be on or off");
    } else {
        *out = strcmp(value, "on") == 0;
    }
}

static void take_threshold(field_parser *p, const char *name, const char *value)
{
    const char *label = name + strlen("threshold.");
    field_level threshold;
    for (uint16_t i = 0; i < p->n_labels; i++) {
        if (strcmp(label, p->labels[i]) != 0) {
            continue;
        }
        if (p->settings->threshold[i].form != FIELD_MODEL) {
            problem(p, name, value, TWICE);
        } else if (!field_parse_level(value, &threshold)) {
            problem(p, name, value, "must be 0 to 1 (6 decimals at most), logit and -100 to 100 (3 decimals), or off");
        } else {
            p->settings->threshold[i] = threshold;
        }
        return;
    }
    for (const char *c = label; *c != '\0'; c++) {
        if ((uint8_t)*c >= 0x80u) {
            problem(p, name, NULL, "the model has no such label (letters beyond a-z: save the file as UTF-8)");
            return;
        }
    }
    problem(p, name, NULL, "the model has no such label");
}

static void take_gain(field_parser *p, const char *name, const char *value)
{
    for (uint8_t i = 0; i < 5u; i++) {
        if (strcmp(value, field_gain_names[i]) == 0) {
            p->settings->gain = i;
            return;
        }
    }
    problem(p, name, value, "must be low, low-medium, medium, medium-high or high");
}

enum { GAIN = 0, SCHEDULE, DAYS, LED, CLIP, LEAD, SCORE_LOG, GATE, BATTERY, SETTINGS };
static const char *const setting_names[SETTINGS] = {
    "gain", "schedule", "days", "led", "clip_seconds", "clip_lead_seconds", "score_log", "gate", "low_battery_millivolts",
};

static void take_setting(field_parser *p, const char *name, const char *value)
{
    field_settings *settings = p->settings;
    uint32_t whole = 0;
    unsigned which = 0;
    const char *rest = field_parse_number(value, &whole);
    const bool is_number = rest != NULL && *rest == '\0';
    while (which < SETTINGS && strcmp(name, setting_names[which]) != 0) {
        which++;
    }
    if (which < SETTINGS && (p->seen >> which & 1u) != 0u) {
        problem(p, name, value, TWICE);
        return;
    }
    const uint16_t problems = p->problems;
    switch (which) {
    case GAIN:
        take_gain(p, name, value);
        break;
    case SCHEDULE:
        if (!field_parse_schedule(value, settings)) {
            problem(p, name, value, "must be always, or up to 8 periods in UTC like 04:30-08:00, 19:00-22:00");
        }
        break;
    case DAYS:
        if (!field_parse_days(value, settings)) {
            problem(p, name, value, "must be all, every 2 (to 31), or every 2 from 2026-05-20");
        }
        break;
    case LED:
        take_switch(p, name, value, &settings->led);
        break;
    case SCORE_LOG:
        take_switch(p, name, value, &settings->score_log);
        break;
    case GATE:
        take_switch(p, name, value, &settings->gate);
        break;
    case CLIP:
        if (!is_number || whole > FIELD_MAX_CLIP_S) {
            problem(p, name, value, "must be 0 (no clips) to 10");
        } else {
            settings->clip_s = (uint8_t)whole;
        }
        break;
    case LEAD:
        if (!is_number || whole > FIELD_MAX_LEAD_S) {
            problem(p, name, value, "must be 0 to 8");
        } else {
            settings->clip_lead_s = (uint8_t)whole;
        }
        break;
    case BATTERY:
        if (!is_number || (whole != 0u && (whole < 2500u || whole > 5000u))) {
            problem(p, name, value, "must be 0 (never stop) or 2500 to 5000");
        } else {
            settings->low_battery_mv = (uint16_t)whole;
        }
        break;
    default:
        if (strncmp(name, "threshold.", strlen("threshold.")) == 0) {
            take_threshold(p, name, value);
            break;
        }
        problem(p, name, NULL, "no such setting (gain, schedule, days, led, clip_seconds, clip_lead_seconds, score_log, gate, "
                               "low_battery_millivolts, threshold.LABEL)");
    }
    if (p->problems == problems) {
        p->seen = (uint16_t)(p->seen | 1u << which);
    }
}

static void take_line(field_parser *p)
{
    char *line = p->text;
    p->text[p->length] = '\0';
    if (p->line == 1u && strncmp(line, "\xEF\xBB\xBF", 3) == 0) {
        line += 3; /* a byte order mark, as some editors write */
    }
    char *comment = strchr(line, '#');
    if (comment != NULL) {
        *comment = '\0';
    } else if (p->too_long) {
        problem(p, "line", NULL, "too long (at most 95 characters)");
        return;
    }
    line = trim(line);
    if (*line == '\0') {
        return;
    }
    char *equals = strchr(line, '=');
    if (equals == NULL) {
        problem(p, line, NULL, "not `name = value`");
        return;
    }
    *equals = '\0';
    take_setting(p, trim(line), trim(equals + 1));
}

static void take_byte(field_parser *p, char byte)
{
    if (byte == '\0') { /* behind the end of the file: the reader fills its blocks with zeros */
        p->has_zeros = true;
        return;
    }
    if (p->has_zeros && !p->zeros_said) {
        p->zeros_said = true;
        p->line++;
        problem(p, "file", NULL, "holds bytes of zero: damaged, or saved as UTF-16 without a mark; save it as UTF-8");
        p->line--;
    }
    if (byte == '\n') {
        p->line++;
        take_line(p);
        p->length = 0;
        p->too_long = false;
    } else if (p->length + 1u < FIELD_LINE_BYTES) {
        p->text[p->length++] = byte;
    } else {
        p->too_long = true;
    }
}

void field_parser_feed(field_parser *p, const char *data, size_t n)
{
    char text[4];
    for (size_t i = 0; i < n; i++) {
        const unsigned made = field_decode(&p->encoding, (uint8_t)data[i], text);
        for (unsigned k = 0; k < made; k++) {
            take_byte(p, text[k]);
        }
    }
}

uint16_t field_parser_finish(field_parser *p)
{
    char text[4];
    for (unsigned made = field_decode_end(&p->encoding, text), k = 0; k < made; k++) {
        take_byte(p, text[k]);
    }
    p->has_zeros = false; /* those at the end are the reader's */
    if (p->length > 0u) {
        take_byte(p, '\n');
    }
    if (p->settings->clip_s > 0u && p->settings->clip_lead_s >= p->settings->clip_s) { /* the event would not be in it */
        if ((p->seen >> LEAD & 1u) != 0u) {
            problem(p, "clip_lead_seconds", NULL, "must be less than clip_seconds");
        }
        p->settings->clip_lead_s = p->settings->clip_s > 1u ? 1u : 0u;
    }
    return p->problems;
}
