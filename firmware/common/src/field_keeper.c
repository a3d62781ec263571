/* SPDX-License-Identifier: MIT */
#include "field_keeper.h"

#include <string.h>

#define PIECE 256u
#define PAUSE_S 60u

/* May the card be asked for anything now? */
static bool usable(const field_keeper *k, const cheep_app *app)
{
    return !k->failing || app->samples >= k->again;
}

static bool put(field_keeper *k, const cheep_app *app, const char *name, const void *data, size_t n)
{
    if (!usable(k, app)) {
        return false;
    }
    k->failing = !k->files.append(k->files.context, name, data, n);
    if (k->failing) {
        k->again = app->samples + (uint64_t)PAUSE_S * k->rate_hz;
    }
    return !k->failing;
}

static void time_of(const field_keeper *k, uint64_t sample, uint32_t *utc, uint32_t *ms)
{
    const uint64_t since_ms = sample * 1000u / k->rate_hz + k->utc_ms;
    *utc = k->utc + (uint32_t)(since_ms / 1000u);
    *ms = (uint32_t)(since_ms % 1000u);
}

static void begin_clip(field_keeper *k, const cheep_app *app, const cheep_app_event *event)
{
    uint8_t header[FIELD_WAV_HEADER_BYTES];
    uint32_t ms = 0;
    field_wav wav = {
        .sample_rate_hz = k->rate_hz,
        .samples = k->clip_samples,
        .id_high = k->id_high,
        .id_low = k->id_low,
        .gain = "medium",
        .temperature_mc = FIELD_NO_TEMPERATURE,
        .label = event->label,
        .score_e6 = event->score_e6,
    };
    if (!usable(k, app)) {
        k->damaged_clips++;
        k->clip.name[0] = '\0';
        return;
    }
    const uint64_t start = event->start_sample > k->lead_samples ? event->start_sample - k->lead_samples : 0u;
    wav.at_sample = (uint32_t)(event->start_sample - start);
    time_of(k, start, &wav.utc, &ms);
    field_name_clip(k->clip.name, wav.utc, 0);
    for (unsigned copy = 1; copy < 9u && k->files.exists(k->files.context, k->clip.name); copy++) {
        field_name_clip(k->clip.name, wav.utc, copy);
    }
    field_wav_header(header, &wav);
    if (!put(k, app, k->clip.name, header, sizeof header)) {
        k->damaged_clips++;
        k->clip.name[0] = '\0';
        return;
    }
    k->clip.open = true;
    k->clip.next = start;
    k->clip.left = k->clip_samples;
    k->clip.lost = app->stats.lost_samples;
}

static void end_row(field_keeper *k, const cheep_app *app, const cheep_app_event *event)
{
    char name[FIELD_NAME_BYTES];
    char row[FIELD_ROW_BYTES];
    field_detection detection = {
        .label = event->label,
        .score_e6 = event->score_e6,
        .duration_ms = (uint32_t)((event->end_sample - event->start_sample) * 1000u / k->rate_hz),
        .temperature_mc = FIELD_NO_TEMPERATURE,
        .clip = k->clip.next > event->start_sample ? k->clip.name : "",
    };
    time_of(k, event->start_sample, &detection.utc, &detection.utc_ms);
    field_name_rows(name, detection.utc);
    const size_t n = field_row(row, &detection);
    const bool there = usable(k, app) && (k->files.exists(k->files.context, name) ||
                                          put(k, app, name, FIELD_ROW_HEADER, strlen(FIELD_ROW_HEADER)));
    if (!there || !put(k, app, name, row, n)) {
        k->lost_rows++;
    }
}

void field_keeper_event(field_keeper *k, const cheep_app *app, const cheep_app_event *event)
{
    if (event->ended) {
        end_row(k, app, event);
    } else if (k->clip_samples > 0u && !k->clip.open) {
        begin_clip(k, app, event);
    }
}

void field_keeper_poll(field_keeper *k, const cheep_app *app)
{
    int16_t pcm[PIECE];
    while (k->clip.open && k->clip.next < app->samples) {
        const bool whole = app->stats.lost_samples == k->clip.lost;
        uint64_t waiting = app->samples - k->clip.next;
        uint32_t n = waiting < PIECE ? (uint32_t)waiting : PIECE;
        n = n < k->clip.left ? n : k->clip.left;
        memset(pcm, 0, sizeof pcm);
        const size_t got = whole ? cheep_ring_history(k->ring, (uint32_t)(waiting - n), pcm, n) : 0u;
        if (got < n) { /* the newest are there: they belong at the end */
            memmove(pcm + (n - got), pcm, got * sizeof pcm[0]);
            memset(pcm, 0, (n - got) * sizeof pcm[0]);
        }
        const bool good = put(k, app, k->clip.name, pcm, n * sizeof pcm[0]);
        k->clip.next += n;
        k->clip.left -= n;
        if (!good || k->clip.left == 0u) {
            k->clip.open = false;
        }
        if ((got < n || !good) && k->clip.lost != UINT64_MAX) {
            k->damaged_clips++;
            k->clip.lost = UINT64_MAX; /* counted once; zeros from here */
        }
    }
}
