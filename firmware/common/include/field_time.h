/* SPDX-License-Identifier: MIT */
/* UTC as seconds since 1970 <-> calendar, and the texts that file names and rows use. */
#ifndef FIELD_TIME_H
#define FIELD_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "cheep_text.h"

typedef struct {
    uint16_t year;
    uint8_t month, day, hour, minute, second;
} field_date;

field_date field_date_of(uint32_t utc);

/* Days since 1970 of a date; false: no such date, or before 1970. */
bool field_day_of(uint32_t year, uint32_t month, uint32_t day, uint32_t *days);

void field_text_day(cheep_text *t, uint32_t utc);    /* 20260520 */
void field_text_stamp(cheep_text *t, uint32_t utc);  /* 20260520_053012 */
void field_text_audiomoth(cheep_text *t, uint32_t utc); /* 05:30:12 20/05/2026 */
void field_text_iso(cheep_text *t, uint32_t utc, uint32_t ms); /* 2026-05-20T05:30:12.250Z */

#endif
