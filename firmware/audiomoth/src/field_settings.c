/* SPDX-License-Identifier: MIT */
#include "field_settings.h"

#include <string.h>

#include "field_time.h"

const char *const field_gain_names[5] = {"low", "low-medium", "medium", "medium-high", "high"};

void field_settings_default(field_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    settings->gain = 2;
    settings->led = true;
    settings->low_battery_mv = 3300;
    settings->every_days = 1;
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

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cut spaces off both ends, in place. */
static char *trim(char *s)
{
    size_t n = strlen(s);
    while (n > 0u && is_space(s[n - 1u])) {
        s[--n] = '\0';
    }
    while (is_space(*s)) {
        s++;
    }
    return s;
}

/* An unsigned number of at most 6 digits; NULL where there is none. */
static const char *number(const char *s, uint32_t *value)
{
    unsigned digits = 0;
    *value = 0;
    for (; *s >= '0' && *s <= '9' && digits < 6u; s++, digits++) {
        *value = *value * 10u + (uint32_t)(*s - '0');
    }
    return digits == 0u ? NULL : s;
}

static const char *spaces(const char *s)
{
    while (is_space(*s)) {
        s++;
    }
    return s;
}

/* Like "0.85", "1", ".5", with at most `places` decimals: in units of 10^-places. */
static bool decimal(const char *s, unsigned places, uint32_t *value)
{
    uint32_t whole = 0;
    uint32_t part = 0;
    uint32_t unit = 1;
    if (*s == '.' && (s[1] < '0' || s[1] > '9')) {
        return false;
    }
    if (*s != '.') {
        s = number(s, &whole);
        if (s == NULL || whole > 1000u) {
            return false;
        }
    }
    if (*s == '.') {
        s++;
    }
    for (unsigned i = 0; i < places; i++) {
        part = 10u * part + (*s >= '0' && *s <= '9' ? (uint32_t)(*s++ - '0') : 0u);
        unit *= 10u;
    }
    *value = whole * unit + part;
    return *s == '\0';
}

/* "0.999" (six decimals at most), "logit 6.907" (three at most), or "off". */
static bool level(const char *s, field_level *out)
{
    uint32_t value = 0;
    if (strcmp(s, "off") == 0) {
        *out = (field_level){FIELD_OFF, 0};
        return true;
    }
    if (strncmp(s, "logit", 5) == 0 && is_space(s[5])) {
        s = spaces(s + 5);
        const bool negative = *s == '-';
        if (!decimal(s + (negative ? 1 : 0), 3, &value) || value > 100000u) {
            return false;
        }
        *out = (field_level){FIELD_LOGIT, negative ? -(int32_t)value : (int32_t)value};
        return true;
    }
    if (!decimal(s, 6, &value) || value > 1000000u) {
        return false;
    }
    *out = (field_level){FIELD_PROBABILITY, (int32_t)value};
    return true;
}

static const char *clock_time(const char *s, uint16_t *minutes)
{
    uint32_t hour = 0;
    uint32_t minute = 0;
    s = number(s, &hour);
    if (s == NULL || *s != ':') {
        return NULL;
    }
    s = number(s + 1, &minute);
    if (s == NULL || minute > 59u || hour * 60u + minute > 1440u) {
        return NULL;
    }
    *minutes = (uint16_t)(hour * 60u + minute);
    return s;
}

static bool schedule(const char *s, field_settings *settings)
{
    uint8_t n = 0;
    field_period periods[FIELD_MAX_PERIODS];
    if (strcmp(s, "always") == 0) {
        settings->n_periods = 0;
        return true;
    }
    for (;;) {
        if (n == FIELD_MAX_PERIODS) {
            return false;
        }
        s = clock_time(spaces(s), &periods[n].start_min);
        if (s == NULL || *(s = spaces(s)) != '-') {
            return false;
        }
        s = clock_time(spaces(s + 1), &periods[n].stop_min);
        if (s == NULL || periods[n].start_min >= 1440u || periods[n].start_min == periods[n].stop_min) {
            return false;
        }
        n++;
        s = spaces(s);
        if (*s == '\0') {
            break;
        }
        if (*s++ != ',') {
            return false;
        }
    }
    memcpy(settings->periods, periods, n * sizeof periods[0]);
    settings->n_periods = n;
    return true;
}

/* "2026-05-20" and no more, as days since 1970. */
static bool date(const char *s, uint32_t *day)
{
    uint32_t year = 0;
    uint32_t month = 0;
    uint32_t of_month = 0;
    s = number(s, &year);
    s = s != NULL && *s == '-' ? number(s + 1, &month) : NULL;
    s = s != NULL && *s == '-' ? number(s + 1, &of_month) : NULL;
    return s != NULL && *s == '\0' && field_day_of(year, month, of_month, day);
}

/* "all", "every 3" or "every 3 from 2026-05-20". */
static bool days(const char *s, field_settings *settings)
{
    uint32_t every = 1;
    uint32_t first = 0;
    if (strcmp(s, "all") != 0) {
        if (strncmp(s, "every", 5) != 0 || !is_space(s[5])) {
            return false;
        }
        s = number(spaces(s + 5), &every);
        if (s == NULL || every < 1u || every > FIELD_MAX_DAYS) {
            return false;
        }
        if (*s != '\0' && (!is_space(*s) || strncmp(s = spaces(s), "from", 4) != 0 || !is_space(s[4]) ||
                           !date(spaces(s + 4), &first))) {
            return false;
        }
    }
    settings->every_days = (uint8_t)every;
    settings->first_day = first;
    return true;
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
        if (strcmp(label, p->labels[i]) == 0) {
            if (!level(value, &threshold)) {
                problem(p, name, value, "must be 0 to 1 (6 decimals at most), logit and -100 to 100 (3 decimals), or off");
                return;
            }
            p->settings->threshold[i] = threshold;
            return;
        }
    }
    problem(p, name, NULL, "the model has no such label");
}

static void take_setting(field_parser *p, const char *name, const char *value)
{
    field_settings *settings = p->settings;
    uint32_t whole = 0;
    const char *rest = number(value, &whole);
    bool is_number = rest != NULL && *rest == '\0';
    if (strncmp(name, "threshold.", strlen("threshold.")) == 0) {
        take_threshold(p, name, value);
    } else if (strcmp(name, "gain") == 0) {
        for (uint8_t i = 0; i < 5u; i++) {
            if (strcmp(value, field_gain_names[i]) == 0) {
                settings->gain = i;
                return;
            }
        }
        problem(p, name, value, "must be low, low-medium, medium, medium-high or high");
    } else if (strcmp(name, "schedule") == 0) {
        if (!schedule(value, settings)) {
            problem(p, name, value, "must be always, or up to 8 periods in UTC like 04:30-08:00, 19:00-22:00");
        }
    } else if (strcmp(name, "led") == 0) {
        take_switch(p, name, value, &settings->led);
    } else if (strcmp(name, "score_log") == 0) {
        take_switch(p, name, value, &settings->score_log);
    } else if (strcmp(name, "days") == 0) {
        if (!days(value, settings)) {
            problem(p, name, value, "must be all, every 2 (to 31), or every 2 from 2026-05-20");
        }
    } else if (strcmp(name, "clip_seconds") == 0) {
        if (!is_number || whole > FIELD_MAX_CLIP_S) {
            problem(p, name, value, "must be 0 (no clips) to 10");
        } else {
            settings->clip_s = (uint8_t)whole;
        }
    } else if (strcmp(name, "low_battery_millivolts") == 0) {
        if (!is_number || (whole != 0u && (whole < 2500u || whole > 5000u))) {
            problem(p, name, value, "must be 0 (never stop) or 2500 to 5000");
        } else {
            settings->low_battery_mv = (uint16_t)whole;
        }
    } else {
        problem(p, name, NULL, "no such setting (gain, schedule, days, led, clip_seconds, score_log, low_battery_millivolts, "
                               "threshold.LABEL)");
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

void field_parser_feed(field_parser *p, const char *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (data[i] == '\n') {
            p->line++;
            take_line(p);
            p->length = 0;
            p->too_long = false;
        } else if (p->length + 1u < FIELD_LINE_BYTES) {
            p->text[p->length++] = data[i] == '\0' ? ' ' : data[i];
        } else {
            p->too_long = true;
        }
    }
}

uint16_t field_parser_finish(field_parser *p)
{
    if (p->length > 0u) {
        field_parser_feed(p, "\n", 1);
    }
    return p->problems;
}
