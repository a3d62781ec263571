/* SPDX-License-Identifier: MIT */
#include "field_settings.h"

#include <string.h>

/* A threshold midway to the next lower sum: as a probability where four decimals tell it, else as a logit. */
static void write_level(cheep_text *t, const cheep_detector_spec *model, int32_t on_sum)
{
    const uint16_t twice = (uint16_t)(2u * model->smoothing);
    if (on_sum == INT32_MAX) {
        cheep_text_string(t, "off");
        return;
    }
    if (on_sum > INT32_MAX / 4 || on_sum < -(INT32_MAX / 4)) {
        cheep_text_string(t, on_sum > 0 ? "1" : "0");
        return;
    }
    const uint32_t e6 = cheep_scores_sum_e6(&model->scores, 2 * on_sum - 1, twice);
    if (model->scores.kind != CHEEP_SCORES_PROBABILITY && (e6 > 990000u || e6 < 10000u)) {
        cheep_text_string(t, "logit ");
        cheep_text_fixed(t, cheep_scores_value_e3(&model->scores, 2 * on_sum - 1, twice), 3);
        cheep_text_string(t, " # ");
    }
    cheep_text_fixed(t, e6, 6);
}

void field_settings_write(const char *const *labels, const cheep_detector_spec *model, field_note write, void *context)
{
    static const char *const lines[] = {
        "# Cheep on AudioMoth. Lines are `name = value`; what follows # is a comment.",
        "# Delete this file to get it back with its defaults. Times are UTC.",
        "",
        "# low, low-medium, medium, medium-high or high",
        "gain = medium",
        "",
        "# When to listen with the switch at CUSTOM: always, or up to 8 periods,",
        "# e.g. 04:30-08:00, 19:00-22:00 (a period may pass midnight). DEFAULT always listens.",
        "schedule = always",
        "",
        "# On which days, with the switch at CUSTOM: all, every 3 (one day in three), or",
        "# every 3 from 2026-05-20. A period belongs to the day on which it begins.",
        "days = all",
        "",
        "# Blink green on a detection, red on trouble: on or off",
        "led = on",
        "",
        "# Seconds of sound to keep around each detection as WAV: 0 (none) to 10",
        "clip_seconds = 0",
        "",
        "# So many of them before the detection: 0 to 8 (4, where `cheep season prove` is to judge a",
        "# model with PCEN)",
        "clip_lead_seconds = 1",
        "",
        "# Keep the scores of every window, a byte a label (28 KB an hour with 4 labels): on or off",
        "score_log = off",
        "",
        "# Let the network rest as the model's gate says, if it has one: on or off",
        "gate = on",
        "",
        "# Stop for an hour when the battery falls below this (0: never)",
        "low_battery_millivolts = 3300",
        "",
        "# From which score a label counts: a probability from 0 to 1 (0.9990 and 0.9995 differ;",
        "# six decimals at most), `logit` and a number (logit 6.907 is 0.999), or off.",
        "# Without a line: the model's own, which is shown here.",
    };
    char text[FIELD_LINE_BYTES];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        write(context, lines[i]);
    }
    for (uint16_t i = 0; i < model->n_classes; i++) {
        cheep_text t;
        cheep_text_init(&t, text, sizeof text);
        cheep_text_string(&t, "# threshold.");
        cheep_text_string(&t, labels[i]);
        cheep_text_string(&t, " = ");
        write_level(&t, model, model->threshold[i].on_sum);
        write(context, text);
    }
}

cheep_class_threshold field_threshold(const cheep_class_threshold *own, field_level level, uint16_t smoothing,
                                      const cheep_score_scale *scores, double hysteresis)
{
    double p = (double)level.value / 1e6;
    double rest = (double)(1000000 - level.value) / 1e6;
    if (level.form == FIELD_MODEL) {
        return *own;
    }
    if (level.form == FIELD_OFF) {
        return (cheep_class_threshold){INT32_MAX, INT32_MAX};
    }
    if (level.form == FIELD_LOGIT) {
        cheep_scores_parts((float)level.value / 1000.0f, &p, &rest);
    }
    return (cheep_class_threshold){
        cheep_scores_on_sum(scores, p, rest, smoothing),
        cheep_scores_off_sum(scores, p, rest, hysteresis, smoothing),
    };
}
