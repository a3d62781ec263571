/* SPDX-License-Identifier: MIT */
/* Values of SETTINGS.TXT, from text that ends with a zero. What is no value leaves *out or *settings as they are. */
#ifndef FIELD_VALUES_H
#define FIELD_VALUES_H

#include "field_settings.h"

bool field_is_space(char c);

/* An unsigned number of at most 6 digits: what stands behind it; NULL where there is none. */
const char *field_parse_number(const char *s, uint32_t *value);

/* "0.999" (six decimals at most), "logit 6.907" (three at most), or "off". */
bool field_parse_level(const char *s, field_level *out);

/* "always", or "04:30-08:00, 19:00-22:00". */
bool field_parse_schedule(const char *s, field_settings *settings);

/* "all", "every 3" or "every 3 from 2026-05-20". */
bool field_parse_days(const char *s, field_settings *settings);

#endif
