/* SPDX-License-Identifier: MIT */
/* Start-up of a Cortex-M without vendor code: vectors, memory, floating point. Memory as in ../emulator/emulator.ld, with
 * the board's addresses. A board defines interrupt_N for those it uses. */
#include <stdint.h>
#include <string.h>

#include "hal.h"

extern uint32_t emulator_data_source[], emulator_data_start[], emulator_data_end[];
extern uint32_t emulator_bss_start[], emulator_bss_end[], emulator_stack_top[];

#define PAINT 0xC4EEC4EEu
#define WEAK __attribute__((weak, alias("unexpected")))

int main(void);
void emulator_reset(void);

/* Nobody handles it: stay here until the watchdog starts the board anew. */
static void unexpected(void)
{
    for (;;) {
    }
}

#define EACH(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) \
    X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31) X(32) X(33) X(34) X(35) X(36) X(37) X(38) X(39) \
    X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47)
#define DECLARE(n) WEAK void interrupt_##n(void);
#define PLACE(n) [16 + n] = {.handler = interrupt_##n},
EACH(DECLARE)

void emulator_reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR */
    __asm volatile("dsb\n\tisb");
#endif
    memcpy(emulator_data_start, emulator_data_source,
           (size_t)((uintptr_t)emulator_data_end - (uintptr_t)emulator_data_start));
    memset(emulator_bss_start, 0, (size_t)((uintptr_t)emulator_bss_end - (uintptr_t)emulator_bss_start));
    const volatile uint32_t *end = (const uint32_t *)__builtin_frame_address(0) - 64;
    for (volatile uint32_t *word = emulator_bss_end; word < end; word++) {
        *word = PAINT;
    }
    (void)main();
    unexpected();
}

uint32_t cheep_hal_stack_bytes(void)
{
    const uint32_t *word = emulator_bss_end;
    while (word < emulator_stack_top && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)emulator_stack_top - (uintptr_t)word);
}

typedef union {
    void (*handler)(void);
    void *address;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[64] = {
    [0] = {.address = emulator_stack_top},
    [1] = {.handler = emulator_reset},
    [2] = {.handler = unexpected},
    [3] = {.handler = unexpected},
    [4] = {.handler = unexpected},
    [5] = {.handler = unexpected},
    [6] = {.handler = unexpected},
    [11] = {.handler = unexpected},
    [12] = {.handler = unexpected},
    [14] = {.handler = unexpected},
    [15] = {.handler = unexpected},
    EACH(PLACE)};
