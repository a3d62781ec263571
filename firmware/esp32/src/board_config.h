/* SPDX-License-Identifier: MIT */
/* The one place for pins, microphone, gain and LED. Each can be set by a build flag (-D NAME=value). */
#ifndef BOARD_CONFIG_H
#define BOARD_CONFIG_H

#include "sdkconfig.h"

/* Which microphone: 0 = I2S, 24 bits in 32-bit slots (INMP441, ICS-43434, SPH0645), 1 = PDM (SPM1423, MP34DT01) */
#ifndef CHEEP_MIC_PDM
#define CHEEP_MIC_PDM 0
#endif

/* GPIO numbers. The RISC-V chips have others to spare: 12 to 17 of a C3, 24 to 30 of a C6 hold its flash. */
#if defined(CONFIG_IDF_TARGET_ARCH_RISCV)
#define CHEEP_PINS(classic, riscv) riscv
#else
#define CHEEP_PINS(classic, riscv) classic
#endif

/* I2S: SCK (bit clock), WS (word select), SD (data). L/R of the microphone to GND: left slot. */
#ifndef CHEEP_PIN_I2S_SCK
#define CHEEP_PIN_I2S_SCK CHEEP_PINS(14, 4)
#endif
#ifndef CHEEP_PIN_I2S_WS
#define CHEEP_PIN_I2S_WS CHEEP_PINS(15, 5)
#endif
#ifndef CHEEP_PIN_I2S_SD
#define CHEEP_PIN_I2S_SD CHEEP_PINS(13, 6)
#endif
#ifndef CHEEP_MIC_RIGHT_SLOT
#define CHEEP_MIC_RIGHT_SLOT 0 /* 1: L/R to 3V3 */
#endif

/* PDM: clock and data */
#ifndef CHEEP_PIN_PDM_CLK
#define CHEEP_PIN_PDM_CLK CHEEP_PINS(14, 4)
#endif
#ifndef CHEEP_PIN_PDM_DATA
#define CHEEP_PIN_PDM_DATA CHEEP_PINS(13, 6)
#endif

/* Each bit is 6 dB. 94 dB SPL is -26 dBFS at an INMP441: 3 bits leave 8 dB for a bird at one metre. */
#ifndef CHEEP_MIC_GAIN_BITS
#define CHEEP_MIC_GAIN_BITS 3
#endif

/* Lit while an event lasts; -1: none. */
#ifndef CHEEP_PIN_LED
#define CHEEP_PIN_LED CHEEP_PINS(2, -1)
#endif
#ifndef CHEEP_LED_ON_LEVEL
#define CHEEP_LED_ON_LEVEL 1
#endif

/* An SD card on SPI (CHEEP_SD): pins (all four or none; other chips have no default), and the sound to keep of each detection: from before it, and in all (0: none). The
 * ring must hold what comes before, the second or so by which a detection is late, and 0.25 s. */
#if defined(CONFIG_IDF_TARGET_ESP32S3) && !defined(CHEEP_PIN_SD_CS)
#define CHEEP_PIN_SD_SCK 12
#define CHEEP_PIN_SD_MOSI 11
#define CHEEP_PIN_SD_MISO 10
#define CHEEP_PIN_SD_CS 9
#elif defined(CONFIG_IDF_TARGET_ESP32) && !defined(CHEEP_PIN_SD_CS)
#define CHEEP_PIN_SD_SCK 18
#define CHEEP_PIN_SD_MOSI 23
#define CHEEP_PIN_SD_MISO 19
#define CHEEP_PIN_SD_CS 5
#endif
#ifndef CHEEP_SD_LEAD_MS
#define CHEEP_SD_LEAD_MS 500u
#endif
#ifndef CHEEP_SD_CLIP_S
#define CHEEP_SD_CLIP_S 5u
#endif

/* The ring between microphone and network: a power of two; 16384 samples are 2 s at 8 kHz. */
#ifndef CHEEP_RING_SAMPLES
#define CHEEP_RING_SAMPLES 16384
#endif

#endif
