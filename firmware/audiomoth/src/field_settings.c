/* SPDX-License-Identifier: MIT */
#include "field_settings.h"

#include <string.h>

const char *const field_gain_names[5] = {"low", "low-medium", "medium", "medium-high", "high"};

void field_settings_default(field_settings *settings)
{
    memset(settings, 0, sizeof *settings);
    settings->gain = 2;
    settings->led = true;
    settings->low_battery_mv = 3300;
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
        if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
            problem(p, name, value, "must be on or off");
        } else {
            settings->led = strcmp(value, "on") == 0;
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
        problem(p, name, NULL, "no such setting (gain, schedule, led, clip_seconds, low_battery_millivolts, threshold.LABEL)");
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

/* A threshold midway to the next lower sum: as a probability where four decimals tell it, else as a logit. */
static void write_level(cheep_text *t, const cheep_detector_spec *model, int32_t on_sum)
{
    const uint16_t twice = (uint16_t)(2u * model->smoothing);
    if (on_sum == INT32_MAX) {
        cheep_text_string(t, "off");
        return;
    }
    if (on_sum > INT32_MAX / 4 || on_sum < -(INT32_MAX / 4)) {
        cheep_text_string(t, on_sum > 0 ? "1" : "0");
        return;
    }
    const uint32_t e6 = cheep_scores_sum_e6(&model->scores, 2 * on_sum - 1, twice);
    if (model->scores.kind != CHEEP_SCORES_PROBABILITY && (e6 > 990000u || e6 < 10000u)) {
        cheep_text_string(t, "logit ");
        cheep_text_fixed(t, cheep_scores_value_e3(&model->scores, 2 * on_sum - 1, twice), 3);
        cheep_text_string(t, " # ");
    }
    cheep_text_fixed(t, e6, 6);
}

void field_settings_write(const char *const *labels, const cheep_detector_spec *model, field_note write, void *context)
{
    static const char *const lines[] = {
        "# Cheep on AudioMoth. Lines are `name = value`; what follows # is a comment.",
        "# Delete this file to get it back with its defaults. Times are UTC.",
        "",
        "# low, low-medium, medium, medium-high or high",
        "gain = medium",
        "",
        "# When to listen with the switch at CUSTOM: always, or up to 8 periods,",
        "# e.g. 04:30-08:00, 19:00-22:00 (a period may pass midnight). DEFAULT always listens.",
        "schedule = always",
        "",
        "# Blink green on a detection, red on trouble: on or off",
        "led = on",
        "",
        "# Seconds of sound to keep around each detection as WAV: 0 (none) to 10",
        "clip_seconds = 0",
        "",
        "# Stop for an hour when the battery falls below this (0: never)",
        "low_battery_millivolts = 3300",
        "",
        "# From which score a label counts: a probability from 0 to 1 (0.9990 and 0.9995 differ;",
        "# six decimals at most), `logit` and a number (logit 6.907 is 0.999), or off.",
        "# Without a line: the model's own, which is shown here.",
    };
    char text[FIELD_LINE_BYTES];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        write(context, lines[i]);
    }
    for (uint16_t i = 0; i < model->n_classes; i++) {
        cheep_text t;
        cheep_text_init(&t, text, sizeof text);
        cheep_text_string(&t, "# threshold.");
        cheep_text_string(&t, labels[i]);
        cheep_text_string(&t, " = ");
        write_level(&t, model, model->threshold[i].on_sum);
        write(context, text);
    }
}

cheep_class_threshold field_threshold(const cheep_class_threshold *own, field_level level, uint16_t smoothing,
                                      const cheep_score_scale *scores, double hysteresis)
{
    double p = (double)level.value / 1e6;
    double rest = (double)(1000000 - level.value) / 1e6;
    if (level.form == FIELD_MODEL) {
        return *own;
    }
    if (level.form == FIELD_OFF) {
        return (cheep_class_threshold){INT32_MAX, INT32_MAX};
    }
    if (level.form == FIELD_LOGIT) {
        cheep_scores_parts((float)level.value / 1000.0f, &p, &rest);
    }
    return (cheep_class_threshold){
        cheep_scores_on_sum(scores, p, rest, smoothing),
        cheep_scores_off_sum(scores, p, rest, hysteresis, smoothing),
    };
}

static bool in_period(const field_period *period, uint32_t minute)
{
    if (period->start_min < period->stop_min) {
        return minute >= period->start_min && minute < period->stop_min;
    }
    return minute >= period->start_min || minute < period->stop_min;
}

static bool active(const field_settings *settings, uint32_t minute)
{
    for (uint8_t i = 0; i < settings->n_periods; i++) {
        if (in_period(&settings->periods[i], minute)) {
            return true;
        }
    }
    return settings->n_periods == 0u;
}

bool field_schedule(const field_settings *settings, uint32_t utc, uint32_t *seconds_left)
{
    uint32_t minute = utc / 60u % 1440u;
    bool now = active(settings, minute);
    *seconds_left = UINT32_MAX;
    for (uint32_t ahead = 1; ahead <= 1440u; ahead++) {
        if (active(settings, (minute + ahead) % 1440u) != now) {
            *seconds_left = ahead * 60u - utc % 60u;
            break;
        }
    }
    return now;
}
