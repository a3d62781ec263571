/* SPDX-License-Identifier: MIT */
/* hal.h for ESP-IDF. */
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "hal.h"

uint32_t cheep_hal_clock_us(void)
{
    return (uint32_t)esp_timer_get_time();
}

/* While the application boots the task watchdog does not watch it (main.c). */
void cheep_hal_alive(void)
{
}

/* Of the calling task, which is the one that runs the application. */
uint32_t cheep_hal_stack_bytes(void)
{
    return CONFIG_ESP_MAIN_TASK_STACK_SIZE - (uint32_t)uxTaskGetStackHighWaterMark(NULL);
}
