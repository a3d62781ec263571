/* SPDX-License-Identifier: MIT */
#include "Cheep.h"

#include "cheep_lines.h"
#include "cheep_model.h"
#include "hal.h"

extern "C" uint32_t cheep_hal_clock_us(void) { return static_cast<uint32_t>(micros()); }
extern "C" uint32_t cheep_hal_stack_bytes(void) { return 0; }
extern "C" void cheep_hal_alive(void) { yield(); }

bool CheepDetector::begin(Print &lines, const char *board) {
  char line[CHEEP_LINE_BYTES];
  cheep_app_handlers handlers = {};
  handlers.context = this;
  handlers.event = event;
  handlers.stats = stats;
  handlers.microphone = microphone;
  handlers.slow = slow;
  out_ = &lines;
  (void)cheep_ring_init(&ring_, samples_, CHEEP_RING_SAMPLES);
  ready_ = cheep_app_boot(&app_, &cheep_generated_app, memory_, sizeof memory_, &ring_, &handlers) == CHEEP_OK;
  if (ready_) {
    write(line, cheep_line_boot(line, sizeof line, &cheep_generated_app, board, CHEEP_MODEL_CLASSES,
                                sizeof app_ + sizeof memory_, cheep_model_memory_bytes()));
  } else {
    write(line, cheep_line_error(line, sizeof line, cheep_stage_name(app_.failed_stage), app_.failure));
  }
  return ready_;
}

size_t CheepDetector::push(const int16_t *pcm, size_t n) { return cheep_ring_push(&ring_, pcm, n); }

size_t CheepDetector::poll() {
  return ready_ && app_.failed_stage == CHEEP_STAGE_NONE ? cheep_app_poll(&app_, 4 * CHEEP_MEL_HOP_SAMPLES) : 0;
}

void CheepDetector::write(const char *line, size_t n) { out_->write(reinterpret_cast<const uint8_t *>(line), n); }

void CheepDetector::event(void *context, const cheep_app *app, const cheep_app_event *event) {
  CheepDetector *self = static_cast<CheepDetector *>(context);
  char line[CHEEP_LINE_BYTES];
  if (self->lines_on_) self->write(line, cheep_line_event(line, sizeof line, app->spec, event));
  if (self->handler_ != nullptr) self->handler_(*event);
}

void CheepDetector::stats(void *context, const cheep_app *app, const cheep_app_stats *stats) {
  char line[CHEEP_LINE_BYTES];
  static_cast<CheepDetector *>(context)->write(
      line, cheep_line_stats(line, sizeof line, app->spec, stats, cheep_model_memory_bytes(), 0));
}

void CheepDetector::microphone(void *context, const cheep_app *app, cheep_microphone state) {
  char line[CHEEP_LINE_BYTES];
  static_cast<CheepDetector *>(context)->write(line, cheep_line_microphone(line, sizeof line, app, state));
}

void CheepDetector::slow(void *context, const cheep_app *app, const cheep_app_slow *slow) {
  char line[CHEEP_LINE_BYTES];
  static_cast<CheepDetector *>(context)->write(line, cheep_line_slow(line, sizeof line, app, slow));
}
