/* SPDX-License-Identifier: MIT */
/* What a board says: one JSON object per line, the same characters on every board (docs/firmware.md
 * has the schema). The last member is "crc", the CRC-32 of every byte before its comma, so that a
 * reader on a bad serial line uses intact lines only. Each function writes one line with its newline
 * into line[capacity] and returns its length; 512 bytes are enough for labels of up to 64 bytes. */
#ifndef CHEEP_LINES_H
#define CHEEP_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "cheep_app.h"
#include "cheep_text.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_LINE_BYTES 512

/* {"type":"boot",...}: model, features, memory. labels: their number (of a hyperdimensional head, its classes; the
 * detector's are the values of the embedding then); app_bytes: sizeof(cheep_app) + CHEEP_APP_MEMORY_BYTES;
 * model_bytes: cheep_model_memory_bytes(). */
size_t cheep_line_boot(char *line, size_t capacity, const cheep_app_spec *spec, const char *board,
                       size_t labels, size_t app_bytes, size_t model_bytes);

/* {"type":"error","stage":...,"reason":...} */
size_t cheep_line_error(char *line, size_t capacity, const char *stage, const char *reason);

/* {"type":"event","state":"start"|"end",...} */
size_t cheep_line_event(char *line, size_t capacity, const cheep_app_spec *spec, const cheep_app_event *event);

/* {"type":"stats",...} */
size_t cheep_line_stats(char *line, size_t capacity, const cheep_app_spec *spec, const cheep_app_stats *stats,
                        size_t model_bytes, size_t stack_bytes);

/* {"type":"microphone","state":"heard"|"silent"|"failing",...} */
size_t cheep_line_microphone(char *line, size_t capacity, const cheep_app *app, cheep_microphone state);

/* {"type":"slow","every":...} */
size_t cheep_line_slow(char *line, size_t capacity, const cheep_app *app, const cheep_app_slow *slow);

/* The parts of a line, for those of other modules: open, then a key and its value as often as wanted, then close,
 * which adds "crc" and the newline and returns the length. What does not fit is cut. */
void cheep_line_open(cheep_text *t, char *line, size_t capacity, const char *type);
void cheep_line_key(cheep_text *t, const char *name);
size_t cheep_line_close(cheep_text *t);

#ifdef __cplusplus
}
#endif
#endif
