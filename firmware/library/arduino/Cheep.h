/* SPDX-License-Identifier: MIT */
/* A detector of Cheep as an Arduino library: samples in, lines of JSON out (or a function of your own for each event).
 *
 *     #include <Cheep.h>
 *     static CheepDetector cheep;
 *     void setup() { Serial.begin(115200); cheep.begin(Serial); }   // checks itself first
 *     void loop() { cheep.poll(); }
 *     // where samples come, an interrupt or a callback, at CheepDetector::sampleRate() a second:
 *     //     cheep.push(pcm, n);
 *
 * One CheepDetector per sketch: the network's memory is one. */
#ifndef CHEEP_H
#define CHEEP_H

#include <Arduino.h>

#include "cheep_build.h"

#include "cheep_app.h"
#include "cheep_generated.h"

#ifndef CHEEP_RING_SAMPLES
#define CHEEP_RING_SAMPLES 4096 /* a power of two: what may wait while the network works */
#endif

class CheepDetector {
 public:
  typedef void (*EventHandler)(const cheep_app_event &event);

  /* Samples a second that push wants. */
  static uint32_t sampleRate() { return CHEEP_MEL_SAMPLE_RATE_HZ; }

  /* Check front end, network and detector against the machine that made this library; false: an error line on `lines`
   * says what differs, and nothing will be heard. `board` is what the boot line calls this board. */
  bool begin(Print &lines, const char *board = "arduino");

  /* n samples, mono. All are taken, or (counted as lost) none; may be called in an interrupt. */
  size_t push(const int16_t *pcm, size_t n);

  /* Work on what has come, at most a few windows. Returns the samples worked on; 0: sleep if you like. */
  size_t poll();

  /* Called with each event besides its line; nullptr: only lines. */
  void onEvent(EventHandler handler) { handler_ = handler; }

  /* Lines of events are written, or not. */
  void setLines(bool on) { lines_on_ = on; }

  const cheep_app &app() const { return app_; }

 private:
  static void event(void *context, const cheep_app *app, const cheep_app_event *event);
  static void stats(void *context, const cheep_app *app, const cheep_app_stats *stats);
  static void microphone(void *context, const cheep_app *app, cheep_microphone state);
  static void slow(void *context, const cheep_app *app, const cheep_app_slow *slow);
  void write(const char *line, size_t n);

  cheep_app app_;
  cheep_ring ring_;
  int16_t samples_[CHEEP_RING_SAMPLES];
  alignas(8) uint8_t memory_[CHEEP_APP_MEMORY_BYTES];
  Print *out_ = nullptr;
  EventHandler handler_ = nullptr;
  bool lines_on_ = true;
  bool ready_ = false;
};

#endif
