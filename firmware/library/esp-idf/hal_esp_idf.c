/* SPDX-License-Identifier: MIT */
/* hal.h for ESP-IDF. Weak: an application with a watchdog of its own replaces them. */
#include "cheep_build.h"

#include "esp_timer.h"
#include "hal.h"

__attribute__((weak)) uint32_t cheep_hal_clock_us(void)
{
    return (uint32_t)esp_timer_get_time();
}

__attribute__((weak)) uint32_t cheep_hal_stack_bytes(void)
{
    return 0;
}

__attribute__((weak)) void cheep_hal_alive(void)
{
}
