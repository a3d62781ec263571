/* SPDX-License-Identifier: MIT */
#include "field_values.h"

#include <string.h>

#include "field_time.h"

bool field_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* An unsigned number of at most 6 digits; NULL where there is none. */
const char *field_parse_number(const char *s, uint32_t *value)
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
    while (field_is_space(*s)) {
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
        s = field_parse_number(s, &whole);
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
bool field_parse_level(const char *s, field_level *out)
{
    uint32_t value = 0;
    if (strcmp(s, "off") == 0) {
        *out = (field_level){FIELD_OFF, 0};
        return true;
    }
    if (strncmp(s, "logit", 5) == 0 && field_is_space(s[5])) {
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
    s = field_parse_number(s, &hour);
    if (s == NULL || *s != ':') {
        return NULL;
    }
    s = field_parse_number(s + 1, &minute);
    if (s == NULL || minute > 59u || hour * 60u + minute > 1440u) {
        return NULL;
    }
    *minutes = (uint16_t)(hour * 60u + minute);
    return s;
}

bool field_parse_schedule(const char *s, field_settings *settings)
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
    s = field_parse_number(s, &year);
    s = s != NULL && *s == '-' ? field_parse_number(s + 1, &month) : NULL;
    s = s != NULL && *s == '-' ? field_parse_number(s + 1, &of_month) : NULL;
    return s != NULL && *s == '\0' && field_day_of(year, month, of_month, day);
}

/* "all", "every 3" or "every 3 from 2026-05-20". */
bool field_parse_days(const char *s, field_settings *settings)
{
    uint32_t every = 1;
    uint32_t first = 0;
    if (strcmp(s, "all") != 0) {
        if (strncmp(s, "every", 5) != 0 || !field_is_space(s[5])) {
            return false;
        }
        s = field_parse_number(spaces(s + 5), &every);
        if (s == NULL || every < 1u || every > FIELD_MAX_DAYS) {
            return false;
        }
        if (*s != '\0' && (!field_is_space(*s) || strncmp(s = spaces(s), "from", 4) != 0 || !field_is_space(s[4]) ||
                           !date(spaces(s + 4), &first))) {
            return false;
        }
    }
    settings->every_days = (uint8_t)every;
    settings->first_day = first;
    return true;
}
