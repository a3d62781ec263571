/* SPDX-License-Identifier: MIT */
/* Emulated cores (QEMU): files and text on the host through semihosting, the stack's high-water mark, and on the
 * Cortex-M4F (mps2-an386) an exact instruction counter. */
#ifndef CHEEP_EMULATOR_H
#define CHEEP_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

/* On the Cortex-M4F, instructions executed since the start, modulo 2^32 * 5 / 8; needs -icount shift=6. Take differences
 * with emulator_elapsed: a difference is exact to one instruction. */
uint32_t emulator_ticks(void);
uint32_t emulator_elapsed(uint32_t since_ticks);

/* Bytes of stack touched since the start (the stack is painted before main). */
uint32_t emulator_stack_peak_bytes(void);
/* Bytes of stack in use now. */
uint32_t emulator_stack_depth_bytes(void);
/* Paint the free stack again: the next peak is that of what runs from here. */
void emulator_stack_paint(void);

/* The command line given with the program, "" if none. */
const char *emulator_arguments(char *buffer, size_t size);

/* Files on the host. A handle below 0 is a failure. write: truncates. */
int emulator_open_read(const char *path);
int emulator_open_write(const char *path);
size_t emulator_read(int handle, void *data, size_t bytes);
void emulator_write(int handle, const void *data, size_t bytes);
void emulator_close(int handle);

/* Text on the host's terminal. report prints "name=value\n". */
void emulator_print(const char *text);
void emulator_report(const char *name, uint32_t value);

void emulator_exit(int status) __attribute__((noreturn));

#endif
