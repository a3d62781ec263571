/* SPDX-License-Identifier: MIT */
/* No microphone: the detector checks itself, then hears a tone that comes and goes. Any board with a serial line. */
#include <Cheep.h>

static CheepDetector cheep;

void setup() {
  Serial.begin(115200);
  cheep.begin(Serial);
}

void loop() {
  static uint32_t t = 0;
  int16_t pcm[64];
  for (int16_t &sample : pcm) {
    const bool on = t / CheepDetector::sampleRate() % 4 < 2;
    sample = static_cast<int16_t>((on && t % 8 < 4 ? 2000 : 0) + static_cast<int>(random(-50, 50)));
    t++;
  }
  cheep.push(pcm, 64);
  while (cheep.poll() > 0) {
  }
}
