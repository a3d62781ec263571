/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L
#include "flash_file.h"

#include <stdbool.h>
#include <string.h>

#if defined(_WIN32)
#include <io.h>
#define sync_file(file) _commit(_fileno(file))
#else
#include <unistd.h>
#define sync_file(file) fsync(fileno(file))
#endif

#define PIECE 256u

static bool at(FILE *file, uint32_t offset)
{
    return fseek(file, (long)offset, SEEK_SET) == 0;
}

static cheep_status done(FILE *file, bool good)
{
    return good && fflush(file) == 0 && sync_file(file) == 0 ? CHEEP_OK : CHEEP_ERROR_IO;
}

static bool fill(FILE *file, uint32_t offset, uint32_t n)
{
    uint8_t ones[PIECE];
    memset(ones, 0xFF, sizeof ones);
    bool good = at(file, offset);
    for (uint32_t i = 0; good && i < n; i += PIECE) {
        size_t piece = n - i < PIECE ? n - i : PIECE;
        good = fwrite(ones, 1, piece, file) == piece;
    }
    return good;
}

static cheep_status erase(void *context, uint32_t sector)
{
    flash_file *f = context;
    return done(f->file, fill(f->file, sector * f->flash.sector_bytes, f->flash.sector_bytes));
}

static cheep_status read_bytes(void *context, uint32_t offset, void *data, uint32_t n)
{
    flash_file *f = context;
    return at(f->file, offset) && fread(data, 1, n, f->file) == n ? CHEEP_OK : CHEEP_ERROR_IO;
}

/* As flash does it: bits are cleared, never set. */
static cheep_status write_bytes(void *context, uint32_t offset, const void *data, uint32_t n)
{
    flash_file *f = context;
    uint8_t bytes[PIECE];
    for (uint32_t i = 0; i < n; i += PIECE) {
        uint32_t piece = n - i < PIECE ? n - i : PIECE;
        if (read_bytes(context, offset + i, bytes, piece) != CHEEP_OK) {
            return CHEEP_ERROR_IO;
        }
        for (uint32_t j = 0; j < piece; j++) {
            bytes[j] &= ((const uint8_t *)data)[i + j];
        }
        if (!at(f->file, offset + i) || fwrite(bytes, 1, piece, f->file) != piece) {
            return CHEEP_ERROR_IO;
        }
    }
    return done(f->file, true);
}

cheep_status flash_file_open(flash_file *f, const char *path, uint32_t sector_bytes, uint32_t sectors)
{
    memset(f, 0, sizeof *f);
    f->flash = (cheep_flash){f, sector_bytes, sectors, erase, write_bytes, read_bytes};
    f->file = fopen(path, "r+b");
    f->file = f->file != NULL ? f->file : fopen(path, "w+b");
    if (f->file == NULL) {
        return CHEEP_ERROR_IO;
    }
    /* A file that is not yet whole (made just now, or its making was cut short) is filled from its end on. */
    long size = fseek(f->file, 0, SEEK_END) == 0 ? ftell(f->file) : -1;
    const uint32_t whole = sector_bytes * sectors;
    cheep_status status = CHEEP_OK;
    if (size < 0 || (unsigned long)size < whole) {
        status = done(f->file, size >= 0 && fill(f->file, (uint32_t)size, whole - (uint32_t)size));
    }
    if (status != CHEEP_OK) {
        flash_file_close(f);
    }
    return status;
}

void flash_file_close(flash_file *f)
{
    if (f->file != NULL) {
        fclose(f->file);
        f->file = NULL;
    }
}
