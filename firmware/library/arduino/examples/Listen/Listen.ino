/* SPDX-License-Identifier: MIT */
/* A PDM microphone through the board's own PDM library (Nano 33 BLE Sense, Nano RP2040 Connect, Portenta with its shield).
 * The library gives 16 kHz; two samples become one for a detector of 8 kHz. */
#include <Cheep.h>
#include <PDM.h>

static CheepDetector cheep;
static cheep_decimator decimator;
static cheep_dc dc;
static const uint32_t factor = CheepDetector::sampleRate() == 8000 ? 2 : 1;

static void onSamples() {
  static int16_t pcm[512];
  size_t n = static_cast<size_t>(PDM.read(pcm, PDM.available())) / sizeof pcm[0];
  cheep_dc_remove(&dc, pcm, n);
  n = cheep_decimate(&decimator, pcm, n, pcm);
  cheep.push(pcm, n);
}

static void onEvent(const cheep_app_event &event) { digitalWrite(LED_BUILTIN, event.ended ? LOW : HIGH); }

void setup() {
  Serial.begin(115200);
  pinMode(LED_BUILTIN, OUTPUT);
  cheep_decimate_init(&decimator, factor);
  cheep.onEvent(onEvent);
  if (cheep.begin(Serial)) {
    PDM.onReceive(onSamples);
    if (!PDM.begin(1, static_cast<int>(factor * CheepDetector::sampleRate()))) {
      Serial.println("the PDM library refuses this sample rate: train a model of 8000 or 16000 Hz");
    }
  }
}

void loop() { cheep.poll(); }
