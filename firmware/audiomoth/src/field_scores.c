/* SPDX-License-Identifier: MIT */
#include "field_scores.h"

#include <string.h>

#include "cheep_crc32.h"
#include "field_time.h"

static void put(uint8_t *at, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8u * i));
    }
}

static int32_t tenths(int32_t milli)
{
    return milli == FIELD_NO_TEMPERATURE ? INT16_MIN : (milli + (milli < 0 ? -50 : 50)) / 100;
}

void field_scores_init(field_scores *log, const field_scores_about *about, field_scores_write write, void *context)
{
    memset(log, 0, sizeof *log);
    log->about = *about;
    log->write = write;
    log->context = context;
    log->room = (uint16_t)((FIELD_BLOCK_CRC - FIELD_BLOCK_SCORES) / about->labels);
}

static void write_block(field_scores *log)
{
    const field_scores_about *about = &log->about;
    uint8_t *block = log->block;
    const size_t used = FIELD_BLOCK_SCORES + (size_t)log->windows * about->labels;
    if (log->windows == 0u) {
        return;
    }
    memcpy(block, "CHSL", 4);
    block[4] = FIELD_SCORES_VERSION;
    block[5] = about->labels;
    put(block + 6, log->windows, 2);
    put(block + 8, about->model, 4);
    put(block + 12, about->utc, 4);
    put(block + 16, about->utc_ms, 2);
    put(block + 18, about->battery_mv < 65535u ? about->battery_mv : 65535u, 2);
    put(block + 20, log->first, 4);
    put(block + 24, about->stride_samples, 4);
    put(block + 28, about->sample_rate_hz, 4);
    put(block + 32, about->id_high, 4);
    put(block + 36, about->id_low, 4);
    put(block + 40, (uint32_t)tenths(about->temperature_mc), 2);
    put(block + 42, 0, 2);
    memset(block + used, 0, FIELD_BLOCK_CRC - used);
    put(block + FIELD_BLOCK_CRC, cheep_crc32(0, block, FIELD_BLOCK_CRC), 4);
    if (!log->write(log->context, block)) {
        log->lost++;
    }
    log->windows = 0;
}

void field_scores_add(field_scores *log, uint64_t sample, const int8_t *scores)
{
    const uint32_t at = (uint32_t)sample; /* a session is shorter than 2^32 samples */
    if (log->windows == log->room || at - log->first != log->windows * log->about.stride_samples) {
        write_block(log);
    }
    if (log->windows == 0u) {
        log->first = at;
    }
    memcpy(log->block + FIELD_BLOCK_SCORES + (size_t)log->windows * log->about.labels, scores, log->about.labels);
    log->windows++;
}

void field_scores_finish(field_scores *log)
{
    write_block(log);
}

void field_name_scores(char name[FIELD_NAME_BYTES], uint32_t utc)
{
    cheep_text t;
    cheep_text_init(&t, name, FIELD_NAME_BYTES);
    field_text_day(&t, utc);
    cheep_text_string(&t, ".CHS");
}
