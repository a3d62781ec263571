/* SPDX-License-Identifier: MIT */
#include "score_log.h"

#include "audiomoth.h"

#include "card.h"
#include "cheep_generated.h" /* the rate at which the microphone is read */
#include "field_scores.h"
#include "hal_audiomoth.h"

static field_scores scores_log;
static char file[FIELD_NAME_BYTES];

static bool write_block(void *context, const uint8_t block[FIELD_BLOCK_BYTES])
{
    (void)context;
    return card_block(file, block, FIELD_BLOCK_BYTES);
}

static uint32_t model_number(const char *model_id)
{
    uint32_t value = 0;
    for (const char *c = model_id; *c != '\0'; c++) {
        value = value << 4 | (uint32_t)(*c <= '9' ? *c - '0' : *c - 'a' + 10);
    }
    return value;
}

void score_log_begin(const cheep_app_spec *spec, const field_session *session, uint32_t begun_ms)
{
    field_scores_about about = {
        .model = model_number(spec->model_id),
        .utc = session->begun_utc,
        .utc_ms = begun_ms,
        .sample_rate_hz = CHEEP_MEL_SAMPLE_RATE_HZ,
        .stride_samples = (uint32_t)spec->stride_frames * spec->frontend->hop_samples,
        .battery_mv = session->battery_mv,
        .temperature_mc = session->temperature_mc,
        .labels = (uint8_t)spec->detector->n_classes,
    };
    hal_identity(&about.id_high, &about.id_low);
    field_name_scores(file, session->begun_utc);
    field_scores_init(&scores_log, &about, write_block, NULL);
}

void score_log_window(void *context, const cheep_app *app, uint64_t sample, const int8_t *scores)
{
    (void)context;
    (void)app;
    field_scores_add(&scores_log, sample, scores);
}

void score_log_end(void)
{
    field_scores_finish(&scores_log);
    if (scores_log.lost > 0u) {
        uint32_t utc = 0;
        AudioMoth_getTime(&utc, NULL);
        card_log(utc, "blocks of the score log were lost: the card took none");
    }
}
