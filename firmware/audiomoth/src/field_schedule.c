/* SPDX-License-Identifier: MIT */
#include "field_settings.h"

static bool takes_day(const field_settings *settings, uint32_t day)
{
    return day >= settings->first_day && (day - settings->first_day) % settings->every_days == 0u;
}

static bool in_period(const field_settings *settings, const field_period *period, uint32_t day, uint32_t minute)
{
    if (period->start_min < period->stop_min) {
        return minute >= period->start_min && minute < period->stop_min && takes_day(settings, day);
    }
    if (minute >= period->start_min) {
        return takes_day(settings, day);
    }
    return minute < period->stop_min && day > 0u && takes_day(settings, day - 1u); /* it began the day before */
}

static bool active(const field_settings *settings, uint32_t minutes)
{
    for (uint8_t i = 0; i < settings->n_periods; i++) {
        if (in_period(settings, &settings->periods[i], minutes / 1440u, minutes % 1440u)) {
            return true;
        }
    }
    return settings->n_periods == 0u && takes_day(settings, minutes / 1440u);
}

bool field_schedule(const field_settings *settings, uint32_t utc, uint32_t *seconds_left)
{
    const bool alike = settings->every_days == 1u && settings->first_day == 0u;
    uint32_t minute = utc / 60u;
    bool now = active(settings, minute);
    *seconds_left = alike ? UINT32_MAX : 86400u;
    for (uint32_t ahead = 1; ahead <= 1440u; ahead++) {
        if (active(settings, minute + ahead) != now) {
            *seconds_left = ahead * 60u - utc % 60u;
            break;
        }
    }
    return now;
}
