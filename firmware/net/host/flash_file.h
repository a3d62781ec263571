/* SPDX-License-Identifier: MIT */
/* Flash in a file, which stays when the program ends or the power fails: each write is synced. */
#ifndef FLASH_FILE_H
#define FLASH_FILE_H

#include <stdio.h>

#include "cheep_queue.h"

typedef struct {
    FILE *file;
    cheep_flash flash;
} flash_file;

/* Open (or make, erased) a file of sectors * sector_bytes. CHEEP_ERROR_IO: it cannot be opened. Made readable to all that
 * the process's umask allows. */
cheep_status flash_file_open(flash_file *f, const char *path, uint32_t sector_bytes, uint32_t sectors);
void flash_file_close(flash_file *f);

#endif
