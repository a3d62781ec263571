/* SPDX-License-Identifier: MIT */
/* Start-up, semihosting and counters of the emulated cores: Cortex-M and RISC-V, without an operating system. */
#include "emulator.h"

#include <string.h>

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
    EXIT_BY_APPLICATION = 0x20026,
    OPEN_RB = 1,
    OPEN_WB = 5
};

#define STACK_PAINT 0xa5a5a5a5u

extern uint32_t emulator_data_source[], emulator_data_start[], emulator_data_end[];
extern uint32_t emulator_bss_start[], emulator_bss_end[], emulator_stack_top[];

int main(void);
void emulator_reset(void);

static int semihosting(int operation, const void *argument)
{
#if defined(__riscv)
    register int r0 __asm__("a0") = operation;
    register const void *r1 __asm__("a1") = argument;

    __asm__ volatile(".balign 16\n\t.option push\n\t.option norvc\n\t"
                     "slli x0, x0, 0x1f\n\tebreak\n\tsrai x0, x0, 7\n\t.option pop"
                     : "+r"(r0)
                     : "r"(r1)
                     : "memory");
#else
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
#endif
    return r0;
}

#define WORD_AT(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* CMSDK timer 0: 25 MHz, counts down; with -icount shift=6 one instruction is 1.6 ticks. Only the mps2 machine of the
 * Cortex-M4F is asked for counts: elsewhere the clock stands still. */
#if defined(EMULATOR_TIMER)
#define TIMER_CONTROL WORD_AT(EMULATOR_TIMER)
#define TIMER_VALUE WORD_AT(EMULATOR_TIMER + 4u)
#define TIMER_RELOAD WORD_AT(EMULATOR_TIMER + 8u)
#endif

uint32_t emulator_ticks(void)
{
#if defined(EMULATOR_TIMER)
    return 0xffffffffu - TIMER_VALUE;
#else
    return 0;
#endif
}

uint32_t emulator_elapsed(uint32_t since_ticks)
{
    return (uint32_t)((uint64_t)(emulator_ticks() - since_ticks) * 5u / 8u);
}

__attribute__((noinline)) void emulator_stack_paint(void)
{
    uint32_t *top = (uint32_t *)__builtin_frame_address(0) - 16;

    for (uint32_t *at = emulator_bss_end; at < top; at++) {
        *at = STACK_PAINT;
    }
}

uint32_t emulator_stack_peak_bytes(void)
{
    const uint32_t *at = emulator_bss_end;

    while (at < emulator_stack_top && *at == STACK_PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)emulator_stack_top - (uintptr_t)at);
}

uint32_t emulator_stack_depth_bytes(void)
{
    return (uint32_t)((uintptr_t)emulator_stack_top - (uintptr_t)__builtin_frame_address(0));
}

const char *emulator_arguments(char *buffer, size_t size)
{
    const struct {
        char *buffer;
        size_t size;
    } block = {buffer, size};

    if (semihosting(SYS_GET_CMDLINE, &block) != 0) {
        return "";
    }
    const char *first_space = strchr(buffer, ' '); /* the program's own name comes first */
    return first_space == NULL ? "" : first_space + 1;
}

static int open_file(const char *path, int mode)
{
    const struct {
        const char *path;
        int mode;
        size_t length;
    } block = {path, mode, strlen(path)};

    return semihosting(SYS_OPEN, &block);
}

int emulator_open_read(const char *path)
{
    return open_file(path, OPEN_RB);
}

int emulator_open_write(const char *path)
{
    return open_file(path, OPEN_WB);
}

size_t emulator_read(int handle, void *data, size_t bytes)
{
    const struct {
        int handle;
        void *data;
        size_t bytes;
    } block = {handle, data, bytes};

    return bytes - (size_t)semihosting(SYS_READ, &block);
}

void emulator_write(int handle, const void *data, size_t bytes)
{
    const struct {
        int handle;
        const void *data;
        size_t bytes;
    } block = {handle, data, bytes};

    if (semihosting(SYS_WRITE, &block) != 0) {
        emulator_print("write failed\n");
        emulator_exit(1);
    }
}

void emulator_close(int handle)
{
    semihosting(SYS_CLOSE, &handle);
}

void emulator_print(const char *text)
{
    semihosting(SYS_WRITE0, text);
}

void emulator_report(const char *name, uint32_t value)
{
    char digits[12];
    char *at = digits + sizeof digits;

    *--at = '\0';
    *--at = '\n';
    do {
        *--at = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    emulator_print(name);
    emulator_print("=");
    emulator_print(at);
}

void emulator_exit(int status)
{
    const int block[2] = {EXIT_BY_APPLICATION, status};

    semihosting(SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

__attribute__((noreturn)) static void fault(void)
{
    emulator_print("fault\n");
    emulator_exit(3);
}

__attribute__((noreturn, used)) static void start(void)
{
    uint32_t *from = emulator_data_source;
    for (uint32_t *to = emulator_data_start; to < emulator_data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *at = emulator_bss_start; at < emulator_bss_end; at++) {
        *at = 0;
    }
    emulator_stack_paint();
#if defined(EMULATOR_TIMER)
    TIMER_RELOAD = 0xffffffffu;
    TIMER_VALUE = 0xffffffffu;
    TIMER_CONTROL = 1u;
#endif
    emulator_exit(main());
}

#if defined(__riscv)

/* In machine mode: stack, traps, floating point where there is some. */
__attribute__((naked, section(".vectors"))) void emulator_reset(void)
{
    __asm__ volatile("la sp, emulator_stack_top\n\tla t0, emulator_trap\n\tcsrw mtvec, t0\n\t"
                     "li t0, 0x2000\n\tcsrs mstatus, t0\n\tj start");
}

void emulator_trap(void);
__attribute__((aligned(4))) void emulator_trap(void)
{
    fault();
}

#else

void emulator_reset(void)
{
#if defined(__ARM_FP)
    WORD_AT(0xe000ed88u) |= 0xfu << 20; /* CPACR: the FPU */
    __asm__ volatile("dsb\n\tisb");
#endif
    start();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    emulator_stack_top, (const void *)emulator_reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault,         (const void *)fault,
};

#endif
