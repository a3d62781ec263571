/* SPDX-License-Identifier: MIT */
/* The card through the vendor's library: each write opens, writes and closes, so a power loss costs at
 * most what is being written; what cannot be written waits in a store and is counted when it overflows. */
#ifndef CARD_H
#define CARD_H

#include <stdbool.h>
#include <stdint.h>

#include "cheep_ring.h"
#include "field_records.h"
#include "field_settings.h"

/* Power the card and mount it; false: missing, or not FAT. */
bool card_start(void);
void card_stop(void);

/* SETTINGS.TXT -> settings; writes the default file where there is none. Problems go to the log. */
void card_settings(field_settings *settings, const char *const *labels, const cheep_detector_spec *model);

/* A line into CHEEP.LOG, with the time. */
void card_log(uint32_t utc, const char *text);

/* Append a row to a day's file (with its header where the file is new), and what waited before it. */
void card_row(const char *name, const char *header, const char *row, size_t n);

/* Samples out of the ring's past into a WAV: the newest lies `back` samples before the next to consume. */
bool card_clip(const char *name, const field_wav *wav, const cheep_ring *ring, uint32_t back);

/* Append a block of bytes to a file; false: the card took none. */
bool card_block(const char *name, const void *data, size_t n);

/* Rows lost since the start because the card took none. */
uint32_t card_lost_rows(void);

#endif
