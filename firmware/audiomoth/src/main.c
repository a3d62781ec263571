/* SPDX-License-Identifier: MIT */
/* Cheep on AudioMoth: listens, writes a row for every detection, sleeps when it is not its time.
 *
 * Each start (power, switch, watchdog, the end of an hour or of a pause) runs main from the top: read the
 * switch, read the settings, check the model, listen for at most an hour, write the summary, sleep.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "audiomoth.h"

#include "card.h"
#include "cheep_app.h"
#include "cheep_generated.h"
#include "cheep_lines.h"
#include "cheep_model.h"
#include "field_records.h"
#include "field_settings.h"
#include "field_time.h"
#include "hal_audiomoth.h"
#include "model_in_use.h"
#include "score_log.h"
#if defined(CHEEP_HDC)
#include "hdc_examples.h"
#endif

#define HOUR_S 3600u
#define RETRY_S 60u
#define POLL_SAMPLES 2000u
#define RATE ((uint32_t)CHEEP_MEL_SAMPLE_RATE_HZ)
/* A clip lies whole in the ring when it is written, and some sound waits behind it. */
#define MOST_CLIP_S (RING_SAMPLES / RATE - 1u)
#define RING_SAMPLES (AM_EXTERNAL_SRAM_SIZE_IN_BYTES / sizeof(int16_t))

static struct {
    cheep_app app;
    cheep_ring ring;
#if !defined(CHEEP_CARD_MODELS)
    _Alignas(8) uint8_t memory[CHEEP_APP_MEMORY_BYTES];
#endif
    field_settings settings;
    cheep_class_threshold thresholds[MOST_CLASSES];
    cheep_detector_spec detector;
    cheep_app_spec spec;
    field_session session;
    uint16_t counts[MOST_CLASSES];
    uint32_t begun_utc, begun_ms;
    bool has_clips;
    struct {
        bool waiting;
        uint64_t end_sample;
        uint64_t lost;       /* of the ring when it began: a clip over a gap would be dated wrong */
        uint32_t samples, at_sample;
        uint32_t utc;
        uint32_t class_index;
        uint32_t score_e6;
        char name[FIELD_NAME_BYTES];
    } clip;
} moth;

static void blink_red(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        AudioMoth_setRedLED(true);
        AudioMoth_delay(100);
        AudioMoth_setRedLED(false);
        AudioMoth_delay(200);
    }
}

static void sleep_s(uint32_t seconds)
{
    AudioMoth_setBothLED(false);
    AudioMoth_powerDownAndWake(seconds, true);
}

static void utc_of(uint64_t sample, uint32_t *utc, uint32_t *ms)
{
    uint64_t since_ms = sample * 1000u / RATE + moth.begun_ms;
    *utc = moth.begun_utc + (uint32_t)(since_ms / 1000u);
    *ms = (uint32_t)(since_ms % 1000u);
}

/* Events */

static void plan_clip(const cheep_app *app, const cheep_app_event *event)
{
    uint32_t ms = 0;
    uint64_t lead = moth.settings.clip_lead_s * RATE;
    uint64_t start = event->start_sample > lead ? event->start_sample - lead : 0u;
    if (!moth.has_clips || moth.clip.waiting) {
        return;
    }
    utc_of(start, &moth.clip.utc, &ms);
    field_name_clip(moth.clip.name, moth.clip.utc, 0);
    for (unsigned copy = 1; copy < 9u && AudioMoth_doesFileExist(moth.clip.name); copy++) {
        field_name_clip(moth.clip.name, moth.clip.utc, copy);
    }
    moth.clip.samples = moth.settings.clip_s * RATE;
    moth.clip.at_sample = (uint32_t)(event->start_sample - start);
    moth.clip.end_sample = start + moth.clip.samples;
    moth.clip.lost = app->stats.lost_samples;
    moth.clip.class_index = event->class_index;
    moth.clip.score_e6 = event->score_e6;
    moth.clip.waiting = true;
}

static void write_clip(const cheep_app *app)
{
    field_wav wav = {
        .utc = moth.clip.utc,
        .sample_rate_hz = RATE,
        .samples = moth.clip.samples,
        .gain = field_gain_names[moth.settings.gain],
        .battery_mv = moth.session.battery_mv,
        .temperature_mc = moth.session.temperature_mc,
        .label = app->spec->labels[moth.clip.class_index],
        .score_e6 = moth.clip.score_e6,
        .at_sample = moth.clip.at_sample,
    };
    moth.clip.waiting = false;
    hal_identity(&wav.id_high, &wav.id_low);
    uint32_t back = (uint32_t)(app->samples - moth.clip.end_sample);
    if (app->stats.lost_samples != moth.clip.lost || !card_clip(moth.clip.name, &wav, &moth.ring, back)) {
        uint32_t utc = 0;
        AudioMoth_getTime(&utc, NULL);
        card_log(utc, "a clip could not be kept (samples lost, or the card took none)");
    }
}

static void on_event(void *context, const cheep_app *app, const cheep_app_event *event)
{
    (void)context;
    if (!event->ended) {
        AudioMoth_setGreenLED(moth.settings.led);
        plan_clip(app, event);
        return;
    }
    char name[FIELD_NAME_BYTES];
    char row[FIELD_ROW_BYTES];
    field_detection detection = {
        .label = event->label,
        .score_e6 = event->score_e6,
        .duration_ms = (uint32_t)((event->end_sample - event->start_sample) * 1000u / RATE),
        .temperature_mc = moth.session.temperature_mc,
        .battery_mv = moth.session.battery_mv,
        .clip = moth.clip.end_sample > event->start_sample ? moth.clip.name : "",
    };
    AudioMoth_setGreenLED(false);
    utc_of(event->start_sample, &detection.utc, &detection.utc_ms);
    field_name_rows(name, detection.utc);
    card_row(name, FIELD_ROW_HEADER, row, field_row(row, &detection));
    moth.counts[event->class_index]++;
}

static void log_now(const char *line, size_t n)
{
    char text[CHEEP_LINE_BYTES / 2];
    uint32_t utc = 0;
    n = n < sizeof text ? n : sizeof text;
    memcpy(text, line, n);
    text[n - 1u] = '\0'; /* the log brings its own end of line */
    AudioMoth_getTime(&utc, NULL);
    card_log(utc, text);
}

static void on_microphone(void *context, const cheep_app *app, cheep_microphone state)
{
    char line[CHEEP_LINE_BYTES / 2];
    (void)context;
    log_now(line, cheep_line_microphone(line, sizeof line, app, state));
}

static void on_slow(void *context, const cheep_app *app, const cheep_app_slow *slow)
{
    char line[CHEEP_LINE_BYTES / 2];
    (void)context;
    log_now(line, cheep_line_slow(line, sizeof line, app, slow));
}

/* One session */

static void apply_thresholds(void)
{
    const cheep_detector_spec *model = MODEL_SPEC->detector;
    for (uint16_t i = 0; i < MODEL_CLASSES; i++) {
        moth.thresholds[i] = field_threshold(&model->threshold[i], moth.settings.threshold[i], model->smoothing,
                                             &model->scores, MODEL_HYSTERESIS);
    }
    moth.detector = *model;
    moth.detector.threshold = moth.thresholds;
    moth.spec = *MODEL_SPEC;
    moth.spec.detector = &moth.detector;
    if (!moth.settings.gate) {
        moth.spec.gate = NULL;
    }
}

/* At higher rates the ring holds fewer seconds. */
static void limit_clips(uint32_t utc)
{
    char text[CHEEP_LINE_BYTES / 4];
    cheep_text t;
    field_settings *settings = &moth.settings;
    if (settings->clip_s <= MOST_CLIP_S) {
        return;
    }
    cheep_text_init(&t, text, sizeof text);
    cheep_text_string(&t, "clip_seconds=");
    cheep_text_unsigned(&t, settings->clip_s, 1);
    cheep_text_string(&t, ": the memory holds fewer at this model's rate; seconds that are kept: ");
    cheep_text_unsigned(&t, MOST_CLIP_S, 1);
    card_log(utc, text);
    settings->clip_s = (uint8_t)MOST_CLIP_S;
    if (settings->clip_lead_s >= MOST_CLIP_S) {
        settings->clip_lead_s = (uint8_t)(MOST_CLIP_S - 1u);
    }
}

static bool boot(void)
{
    cheep_app_handlers handlers = {.context = NULL, .event = on_event, .stats = NULL, .scores = NULL,
                                   .microphone = on_microphone, .slow = on_slow};
    uint32_t utc = 0;
#if defined(CHEEP_HDC)
    handlers.scores = hdc_examples_window; /* the model gives an embedding, which makes no event of its own */
#endif
    AudioMoth_getTime(&utc, NULL);
    if (moth.settings.score_log && handlers.scores == NULL) {
        handlers.scores = score_log_window;
    } else if (moth.settings.score_log) {
        card_log(utc, "score_log: not kept with a hyperdimensional head");
        moth.settings.score_log = false;
    }
    if (!AudioMoth_enableExternalSRAM()) {
        card_log(utc, "this hardware has no external memory for the samples");
        return false;
    }
    (void)cheep_ring_init(&moth.ring, (int16_t *)AM_EXTERNAL_SRAM_START_ADDRESS, RING_SAMPLES);
    limit_clips(utc);
    moth.has_clips = moth.settings.clip_s > 0u;
    apply_thresholds();
    cheep_status status = cheep_app_boot(&moth.app, &moth.spec, MODEL_MEMORY, MODEL_MEMORY_BYTES, &moth.ring, &handlers);
#if defined(CHEEP_HDC)
    if (status == CHEEP_OK && hdc_examples_learn(&moth.app)) {
        (void)cheep_ring_init(&moth.ring, (int16_t *)AM_EXTERNAL_SRAM_START_ADDRESS, RING_SAMPLES);
        status = cheep_app_boot(&moth.app, &moth.spec, MODEL_MEMORY, MODEL_MEMORY_BYTES, &moth.ring, &handlers);
    }
#endif
    if (status != CHEEP_OK) {
        char line[CHEEP_LINE_BYTES / 2];
        log_now(line, cheep_line_error(line, sizeof line, cheep_stage_name(moth.app.failed_stage), moth.app.failure));
    }
    return status == CHEEP_OK;
}

static bool battery_low(void)
{
    moth.session.battery_mv = hal_battery_mv();
    return moth.settings.low_battery_mv != 0u && moth.session.battery_mv != 0u &&
           moth.session.battery_mv < moth.settings.low_battery_mv;
}

static void listen(uint32_t seconds)
{
    uint64_t end_sample = (uint64_t)seconds * RATE;
    AudioMoth_getTime(&moth.begun_utc, &moth.begun_ms);
    moth.session.begun_utc = moth.begun_utc;
    if (moth.settings.score_log) {
        score_log_begin(&moth.spec, &moth.session, moth.begun_ms);
    }
    hal_microphone_start(&moth.ring, moth.settings.gain);
    while (moth.app.samples < end_sample && !hal_switch_moved() && moth.app.failed_stage == CHEEP_STAGE_NONE) {
        AudioMoth_feedWatchdog();
        if (cheep_app_poll(&moth.app, POLL_SAMPLES) == 0u) {
            AudioMoth_sleep(); /* until the next transfer */
        }
        if (moth.clip.waiting && moth.app.samples >= moth.clip.end_sample) {
            write_clip(&moth.app);
        }
    }
    hal_microphone_stop();
    cheep_app_finish(&moth.app);
    if (moth.settings.score_log) {
        score_log_end();
    }
    moth.session.listened_s = (uint32_t)(moth.app.samples / RATE);
    moth.session.overruns = moth.ring.overruns;
    moth.session.lost_rows = card_lost_rows();
}

static void write_summary(void)
{
    char name[FIELD_NAME_BYTES];
    char header[CHEEP_LINE_BYTES];
    char row[FIELD_ROW_BYTES];
    uint32_t utc = 0;
    AudioMoth_getTime(&utc, NULL);
    field_name_summary(name, moth.session.begun_utc);
    (void)field_summary_header(header, sizeof header, MODEL_SPEC->labels, MODEL_CLASSES);
    size_t n = field_summary_row(row, sizeof row, &moth.session, utc, moth.counts, MODEL_CLASSES);
    card_row(name, header, row, n);
}

/* Seconds to listen now (0: not now, then *pause is how long to sleep). */
static uint32_t time_to_listen(AM_switchPosition_t position, uint32_t *pause)
{
    uint32_t utc = 0;
    uint32_t left = 0;
    *pause = HOUR_S;
    if (position != AM_SWITCH_CUSTOM) {
        return HOUR_S;
    }
    AudioMoth_getTime(&utc, NULL);
    if (!AudioMoth_hasTimeBeenSet()) {
        blink_red(2); /* CUSTOM needs the time: set it over USB */
        *pause = 2;
        return 0;
    }
    bool now = field_schedule(&moth.settings, utc, &left);
    if (left < HOUR_S) {
        *pause = left;
    }
    return now ? *pause : 0u;
}

int main(void)
{
    hal_start();
    AudioMoth_initialise();
    AM_switchPosition_t position = AudioMoth_getSwitchPosition();
    if (position == AM_SWITCH_USB) {
        AudioMoth_handleUSB();
        sleep_s(1);
    }
    uint32_t utc = 0;
    AudioMoth_getTime(&utc, NULL);
    if (!card_start()) {
        blink_red(3); /* no card, or not FAT */
        sleep_s(RETRY_S);
    }
#if defined(CHEEP_CARD_MODELS)
    model_choose(&moth.app, &moth.ring);
#endif
    card_settings(&moth.settings, MODEL_SPEC->labels, MODEL_SPEC->detector);
    if (AudioMoth_hasWatchdogResetOccurred()) {
        card_log(utc, "the watchdog had to start the device anew");
    }
    uint32_t pause = HOUR_S;
    uint32_t seconds = time_to_listen(position, &pause);
    moth.session.temperature_mc = hal_temperature_mc();
    if (battery_low()) {
        card_log(utc, "the battery is low: sleeping for an hour");
        blink_red(10);
        sleep_s(HOUR_S);
    }
    if (seconds > 0u) {
        bool good = boot();
#if defined(CHEEP_CARD_MODELS)
        if (!good && model_fall_back()) {
            card_settings(&moth.settings, MODEL_SPEC->labels, MODEL_SPEC->detector);
            good = boot();
        }
#endif
        if (good) {
            listen(seconds);
            write_summary();
        } else {
            blink_red(20);
            sleep_s(RETRY_S);
        }
        pause = 1;
    }
    card_stop();
    sleep_s(pause);
}
