/* SPDX-License-Identifier: MIT */
#include "restart_esp32.h"

#include <stdint.h>
#include <stdio.h>

#include "esp_attr.h"
#include "esp_system.h"

#define MARK 0x63686565u /* the memory below has been written; it holds anything after power has been off */
#define MOST 3u          /* faults in a row */

static RTC_NOINIT_ATTR struct {
    uint32_t mark, faults;
} kept;

static const char *fault_of(esp_reset_reason_t reason)
{
    switch (reason) {
    case ESP_RST_BROWNOUT: return "the supply fell too low (brown-out): a stronger one, a shorter cable";
    case ESP_RST_PANIC: return "a fault in the program (its text stands before the restart)";
    case ESP_RST_TASK_WDT: return "the main loop hung (watchdog)";
    case ESP_RST_INT_WDT:
    case ESP_RST_WDT: return "the chip hung (watchdog)";
    default: return NULL;
    }
}

bool restart_is_calm(void)
{
    const char *fault = fault_of(esp_reset_reason());
    const uint32_t before = kept.mark == MARK ? kept.faults : 0u;
    kept.mark = MARK;
    kept.faults = fault == NULL ? 0u : before + 1u;
    if (fault == NULL) {
        return true;
    }
    printf("restart: %s\n", fault);
    if (kept.faults < MOST) {
        return true;
    }
    printf("restart: %u in a row: this time without network and card; they are tried again at the next start\n",
           (unsigned)kept.faults);
    kept.faults = 0;
    return false;
}

void restart_settled(void)
{
    kept.faults = 0;
}
