/* SPDX-License-Identifier: MIT */
#include "field_time.h"

field_date field_date_of(uint32_t utc)
{
    field_date date;
    uint32_t days = utc / 86400u;
    uint32_t second = utc % 86400u;
    /* Days since 1 March 0000 in the proleptic Gregorian calendar: the leap day comes last in its year. */
    uint32_t n = days + 719468u;
    uint32_t era = n / 146097u;
    uint32_t day_of_era = n - era * 146097u;
    uint32_t year_of_era = (day_of_era - day_of_era / 1460u + day_of_era / 36524u - day_of_era / 146096u) / 365u;
    uint32_t day_of_year = day_of_era - (365u * year_of_era + year_of_era / 4u - year_of_era / 100u);
    uint32_t month = (5u * day_of_year + 2u) / 153u;
    date.day = (uint8_t)(day_of_year - (153u * month + 2u) / 5u + 1u);
    date.month = (uint8_t)(month < 10u ? month + 3u : month - 9u);
    date.year = (uint16_t)(year_of_era + era * 400u + (date.month <= 2u ? 1u : 0u));
    date.hour = (uint8_t)(second / 3600u);
    date.minute = (uint8_t)(second / 60u % 60u);
    date.second = (uint8_t)(second % 60u);
    return date;
}

bool field_day_of(uint32_t year, uint32_t month, uint32_t day, uint32_t *days)
{
    if (year < 1970u || year > 2105u || month < 1u || month > 12u || day < 1u || day > 31u) {
        return false;
    }
    const uint32_t of_era = month > 2u ? year : year - 1u; /* years that begin on 1 March, as above */
    const uint32_t day_of_year = (153u * (month > 2u ? month - 3u : month + 9u) + 2u) / 5u + day - 1u;
    *days = 365u * of_era + of_era / 4u - of_era / 100u + of_era / 400u + day_of_year - 719468u;
    const field_date back = field_date_of(86400u * *days);
    return back.year == year && back.month == month && back.day == day; /* no 30 February */
}

/* Three numbers of two digits (the third may have four), one after another. */
static void three(cheep_text *t, unsigned a, unsigned b, unsigned c, const char *between, unsigned digits)
{
    cheep_text_unsigned(t, a, 2);
    cheep_text_string(t, between);
    cheep_text_unsigned(t, b, 2);
    cheep_text_string(t, between);
    cheep_text_unsigned(t, c, digits);
}

void field_text_day(cheep_text *t, uint32_t utc)
{
    const field_date d = field_date_of(utc);
    cheep_text_unsigned(t, d.year, 4);
    cheep_text_unsigned(t, d.month, 2);
    cheep_text_unsigned(t, d.day, 2);
}

void field_text_stamp(cheep_text *t, uint32_t utc)
{
    const field_date d = field_date_of(utc);
    field_text_day(t, utc);
    cheep_text_char(t, '_');
    three(t, d.hour, d.minute, d.second, "", 2);
}

void field_text_audiomoth(cheep_text *t, uint32_t utc)
{
    const field_date d = field_date_of(utc);
    three(t, d.hour, d.minute, d.second, ":", 2);
    cheep_text_char(t, ' ');
    three(t, d.day, d.month, d.year, "/", 4);
}

void field_text_iso(cheep_text *t, uint32_t utc, uint32_t ms)
{
    const field_date d = field_date_of(utc);
    cheep_text_unsigned(t, d.year, 4);
    cheep_text_char(t, '-');
    cheep_text_unsigned(t, d.month, 2);
    cheep_text_char(t, '-');
    cheep_text_unsigned(t, d.day, 2);
    cheep_text_char(t, 'T');
    three(t, d.hour, d.minute, d.second, ":", 2);
    cheep_text_char(t, '.');
    cheep_text_unsigned(t, ms, 3);
    cheep_text_char(t, 'Z');
}
