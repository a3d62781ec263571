/* SPDX-License-Identifier: MIT */
#include "cheep_lines.h"

#include "cheep_crc32.h"

void cheep_line_key(cheep_text *t, const char *name)
{
    cheep_text_char(t, t->length > 0u ? ',' : '{');
    cheep_text_json_string(t, name);
    cheep_text_char(t, ':');
}

void cheep_line_open(cheep_text *t, char *line, size_t capacity, const char *type)
{
    cheep_text_init(t, line, capacity);
    cheep_line_key(t, "type");
    cheep_text_json_string(t, type);
}

#define TAIL_BYTES 21u /* ,"crc":"0x01234567"} and the newline */

/* Ends the line with the CRC-32 of every byte before its own comma: a serial line garbles digits into other digits. */
size_t cheep_line_close(cheep_text *t)
{
    if (t->length + TAIL_BYTES >= t->capacity) { /* a line that does not fit is cut: it never runs on */
        t->length = t->capacity > TAIL_BYTES + 1u ? t->capacity - TAIL_BYTES - 1u : 0u;
    }
    const uint32_t crc = cheep_crc32(0, t->data, t->length);
    cheep_text_string(t, ",\"crc\":\"");
    cheep_text_hex32(t, crc);
    cheep_text_string(t, "\"}\n");
    return t->length;
}

/* Samples as seconds with milliseconds, rounded down. */
static void seconds(cheep_text *t, const char *name, const cheep_app_spec *spec, uint64_t samples)
{
    uint64_t rate = spec->frontend->sample_rate_hz;
    uint64_t ms = samples / rate * 1000u + samples % rate * 1000u / rate;
    cheep_line_key(t, name);
    cheep_text_fixed(t, (int64_t)ms, 3);
}

static void number(cheep_text *t, const char *name, uint64_t value)
{
    cheep_line_key(t, name);
    cheep_text_unsigned(t, value, 1);
}

size_t cheep_line_boot(char *line, size_t capacity, const cheep_app_spec *spec, const char *board,
                       size_t labels, size_t app_bytes, size_t model_bytes)
{
    cheep_text t;
    cheep_line_open(&t, line, capacity, "boot");
    cheep_line_key(&t, "board");
    cheep_text_json_string(&t, board);
    cheep_line_key(&t, "cheep");
    cheep_text_json_string(&t, spec->version);
    cheep_line_key(&t, "model");
    cheep_text_json_string(&t, spec->model_id);
    cheep_line_key(&t, "features");
    cheep_text_char(&t, '"');
    cheep_text_hex32(&t, spec->feature_hash);
    cheep_text_char(&t, '"');
    number(&t, "sample_rate_hz", spec->frontend->sample_rate_hz);
    number(&t, "labels", labels);
    number(&t, "app_bytes", app_bytes);
    number(&t, "model_bytes", model_bytes);
    return cheep_line_close(&t);
}

size_t cheep_line_error(char *line, size_t capacity, const char *stage, const char *reason)
{
    cheep_text t;
    cheep_line_open(&t, line, capacity, "error");
    cheep_line_key(&t, "stage");
    cheep_text_json_string(&t, stage);
    cheep_line_key(&t, "reason");
    cheep_text_json_string(&t, reason);
    return cheep_line_close(&t);
}

size_t cheep_line_event(char *line, size_t capacity, const cheep_app_spec *spec, const cheep_app_event *event)
{
    cheep_text t;
    cheep_line_open(&t, line, capacity, "event");
    cheep_line_key(&t, "state");
    cheep_text_json_string(&t, event->ended ? "end" : "start");
    cheep_line_key(&t, "label");
    cheep_text_json_string(&t, event->label);
    seconds(&t, "start_s", spec, event->start_sample);
    seconds(&t, "end_s", spec, event->end_sample);
    cheep_line_key(&t, "score");
    cheep_text_fixed(&t, event->score_e6, 6);
    if (event->has_logit) {
        cheep_line_key(&t, "logit");
        cheep_text_fixed(&t, event->logit_e3, 3);
    }
    return cheep_line_close(&t);
}

size_t cheep_line_stats(char *line, size_t capacity, const cheep_app_spec *spec, const cheep_app_stats *stats,
                        size_t model_bytes, size_t stack_bytes)
{
    cheep_text t;
    cheep_line_open(&t, line, capacity, "stats");
    seconds(&t, "t_s", spec, stats->sample);
    number(&t, "windows", stats->windows);
    number(&t, "windows_now", stats->windows_now);
    cheep_line_key(&t, "frontend_ms");
    cheep_text_fixed(&t, stats->frontend_us, 3);
    cheep_line_key(&t, "model_ms");
    cheep_text_fixed(&t, stats->model_us, 3);
    cheep_line_key(&t, "detector_ms");
    cheep_text_fixed(&t, stats->detector_us, 3);
    number(&t, "waiting", stats->worst_waiting);
    number(&t, "overruns", stats->overruns);
    number(&t, "lost_samples", stats->lost_samples);
    number(&t, "skipped", stats->skipped);
    if (spec->gate != NULL) {
        number(&t, "idle", stats->idle);
    }
    if (spec->verify != NULL) {
        number(&t, "verified", stats->verified);
    }
    if (stats->card != NULL) {
        number(&t, "lost_rows", stats->card->lost_rows);
        number(&t, "damaged_clips", stats->card->damaged_clips);
    }
    cheep_line_key(&t, "level_db");
    cheep_text_fixed(&t, stats->input.level_e1, 1);
    cheep_line_key(&t, "dc");
    cheep_text_signed(&t, stats->input.dc);
    cheep_line_key(&t, "clipped");
    cheep_text_fixed(&t, stats->input.clipped_e4, 4);
    cheep_line_key(&t, "zeros");
    cheep_text_fixed(&t, stats->input.zeros_e4, 4);
    number(&t, "model_bytes", model_bytes);
    number(&t, "stack_bytes", stack_bytes);
    return cheep_line_close(&t);
}

size_t cheep_line_microphone(char *line, size_t capacity, const cheep_app *app, cheep_microphone state)
{
    const char *name = "heard";
    const char *reason = "";
    if (state == CHEEP_MICROPHONE_SILENT) {
        name = "silent";
        reason = "nothing but zeros: look at data wire, slot (left or right) and power";
    } else if (state == CHEEP_MICROPHONE_FAILING) {
        name = "failing";
        reason = "the driver gives no samples: tried again and again";
    }
    cheep_text t;
    cheep_line_open(&t, line, capacity, "microphone");
    cheep_line_key(&t, "state");
    cheep_text_json_string(&t, name);
    seconds(&t, "t_s", app->spec, app->samples);
    cheep_line_key(&t, "reason");
    cheep_text_json_string(&t, reason);
    return cheep_line_close(&t);
}

size_t cheep_line_slow(char *line, size_t capacity, const cheep_app *app, const cheep_app_slow *slow)
{
    cheep_text t;
    cheep_line_open(&t, line, capacity, "slow");
    seconds(&t, "t_s", app->spec, app->samples);
    number(&t, "every", slow->every);
    cheep_line_key(&t, "window_ms");
    cheep_text_fixed(&t, slow->window_us, 3);
    cheep_line_key(&t, "stride_ms");
    cheep_text_fixed(&t, slow->stride_us, 3);
    return cheep_line_close(&t);
}
