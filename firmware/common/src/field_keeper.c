/* SPDX-License-Identifier: MIT */
#include "field_keeper.h"

#include <string.h>

#define PIECE 256u
#define PAUSE_S 60u
#define NAMES 9u /* of clips that begin in the same second: a board without a clock counts from 1970 at each start */

/* May the card be asked for anything now? */
static bool usable(const field_keeper *k, const cheep_app *app)
{
    return !k->failing || app->samples >= k->again;
}

static bool open_file(field_keeper *k, const cheep_app *app, const char *name)
{
    return usable(k, app) && k->files.open(k->files.context, name);
}

/* Nothing of what did not fit stays: half a row would spoil the next. */
static bool close_file(field_keeper *k, const cheep_app *app, bool opened, bool good)
{
    if (!usable(k, app)) {
        return false;
    }
    k->failing = !opened || !k->files.close(k->files.context, good) || !good;
    if (k->failing) {
        k->again = app->samples + (uint64_t)PAUSE_S * k->rate_hz;
    }
    return !k->failing;
}

static bool put(field_keeper *k, const cheep_app *app, const char *name, const void *data, size_t n)
{
    const bool opened = open_file(k, app, name);
    return close_file(k, app, opened, opened && k->files.write(k->files.context, data, n));
}

static void time_of(const field_keeper *k, uint64_t sample, uint32_t *utc, uint32_t *ms)
{
    const uint64_t since_ms = sample * 1000u / k->rate_hz + k->utc_ms;
    *utc = k->utc + (uint32_t)(since_ms / 1000u);
    *ms = (uint32_t)(since_ms % 1000u);
}

/* How far the microphone is ahead: the ring's past is that much shorter. */
static uint32_t ahead(const field_keeper *k, const cheep_app *app, uint32_t before)
{
    const uint32_t now = cheep_ring_waiting(k->ring);
    const uint32_t most = now > app->stats.worst_waiting ? now : app->stats.worst_waiting;
    return most > before ? most : before;
}

/* Find a name that is free; false: there is none, and none is taken: a clip behind another's end would be heard by nobody. */
static bool name_clip(field_keeper *k, uint32_t utc)
{
    for (unsigned copy = 0; copy < NAMES; copy++) {
        field_name_clip(k->clip.name, utc, copy);
        if (!k->files.exists(k->files.context, k->clip.name)) {
            return true;
        }
    }
    return false;
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
    uint64_t start = event->start_sample > k->lead_samples ? event->start_sample - k->lead_samples : 0u;
    if (start < app->origin) { /* what was heard before a gap lies elsewhere in time: no pre-roll reaches over it */
        start = app->origin;
    }
    wav.at_sample = event->start_sample > start ? (uint32_t)(event->start_sample - start) : 0u;
    time_of(k, start, &wav.utc, &ms);
    field_wav_header(header, &wav);
    if (!usable(k, app) || !name_clip(k, wav.utc) || !put(k, app, k->clip.name, header, sizeof header)) {
        k->losses.damaged_clips++;
        k->clip.name[0] = '\0';
        return;
    }
    k->clip.open = true;
    k->clip.next = start;
    k->clip.seen = app->samples;
    k->clip.left = k->clip_samples;
    k->clip.lost = app->stats.lost_samples;
    k->clip.ahead = ahead(k, app, 0);
    k->clip.damaged = false;
}

static void end_row(field_keeper *k, const cheep_app *app, const cheep_app_event *event)
{
    const uint64_t clip_end = k->clip.next + (k->clip.open ? k->clip.left : 0u);
    char name[FIELD_NAME_BYTES];
    char row[FIELD_ROW_BYTES];
    field_detection detection = {
        .label = event->label,
        .score_e6 = event->score_e6,
        .duration_ms = (uint32_t)((event->end_sample - event->start_sample) * 1000u / k->rate_hz),
        .temperature_mc = FIELD_NO_TEMPERATURE,
        .clip = clip_end > event->start_sample ? k->clip.name : "",
    };
    time_of(k, event->start_sample, &detection.utc, &detection.utc_ms);
    field_name_rows(name, detection.utc);
    const size_t n = field_row(row, &detection);
    const bool there = usable(k, app) && (k->files.exists(k->files.context, name) ||
                                          put(k, app, name, FIELD_ROW_HEADER, strlen(FIELD_ROW_HEADER)));
    if (!there || !put(k, app, name, row, n)) {
        k->losses.lost_rows++;
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

/* Write the next samples of the clip, at most n and PIECE; return how many, 0 where the card takes nothing. What the ring has
 * not (any more), and all behind a gap, is zeros: *complete is false then. */
static uint32_t write_piece(field_keeper *k, const cheep_app *app, uint32_t n, bool *complete)
{
    int16_t pcm[PIECE] = {0};
    const uint64_t gap = k->clip.lost == UINT64_MAX ? UINT64_MAX : app->stats.lost_samples - k->clip.lost;
    const uint64_t end = gap == 0u ? app->samples : k->clip.seen; /* heard without a gap up to here */
    size_t got = 0;
    n = n < PIECE ? n : PIECE;
    if (gap != UINT64_MAX && k->clip.next < end) {
        n = n < end - k->clip.next ? n : (uint32_t)(end - k->clip.next);
        got = cheep_ring_history(k->ring, (uint32_t)(app->samples - gap - k->clip.next) - n, pcm, n);
    }
    if (got > 0u && got < n) { /* the newest are there: they belong at the end */
        memmove(pcm + (n - got), pcm, got * sizeof pcm[0]);
        memset(pcm, 0, (n - got) * sizeof pcm[0]);
    }
    *complete = *complete && got == n;
    return k->files.write(k->files.context, pcm, n * sizeof pcm[0]) ? n : 0u;
}

/* How many samples may be left in the ring: it must hold them still when the next window has been scored. */
static uint32_t may_wait(const field_keeper *k)
{
    const uint32_t room = k->ring->capacity > k->clip.ahead ? (k->ring->capacity - k->clip.ahead) / 2u : 0u;
    return room < k->ring->capacity / 4u ? room : k->ring->capacity / 4u;
}

void field_keeper_poll(field_keeper *k, const cheep_app *app)
{
    if (!k->clip.open || app->samples <= k->clip.next) {
        return;
    }
    const uint64_t waiting = app->samples - k->clip.next;
    uint32_t all = waiting < k->clip.left ? (uint32_t)waiting : k->clip.left;
    const bool new_gap = k->clip.lost != UINT64_MAX && k->clip.lost != app->stats.lost_samples;
    k->clip.ahead = ahead(k, app, k->clip.ahead);
    if (!new_gap && all < k->clip.left && all < may_wait(k)) {
        k->clip.seen = app->samples;
        return;
    }
    const bool opened = open_file(k, app, k->clip.name);
    bool good = opened, complete = true;
    while (good && all > 0u) {
        const uint32_t n = write_piece(k, app, all, &complete);
        good = n > 0u;
        all -= n;
        k->clip.next += n;
        k->clip.left -= n;
    }
    good = close_file(k, app, opened, good);
    k->clip.open = good && k->clip.left > 0u;
    k->clip.seen = app->samples;
    if (new_gap) {
        k->clip.lost = UINT64_MAX; /* zeros from here */
    }
    if ((!complete || !good) && !k->clip.damaged) {
        k->losses.damaged_clips++;
        k->clip.damaged = true; /* counted once */
    }
}
