/* SPDX-License-Identifier: MIT */
/* The model that this firmware was built with: what the files in generated/ say, in one constant.
 *
 * The files are found as <generated/...>, so a build can put another model's folder first in its
 * include path. Headers that disagree with each other do not compile. */
#ifndef CHEEP_GENERATED_H
#define CHEEP_GENERATED_H

#include "cheep_app.h"

#if defined(__has_include)
#if !__has_include(<generated/model.h>)
#error "no model yet: run `cheep model-convert`, which writes firmware/common/src/generated/model.h"
#endif
#if !__has_include(<generated/mel_filter_bank.h>)
#error "no filter bank yet: run `cheep mel-filter-bank`, which writes generated/mel_filter_bank.h"
#endif
#if defined(CHEEP_BACKEND_COMPILED) && !__has_include(<generated/model_compiled.h>) && !__has_include(<model_compiled.h>)
#error "the network is not compiled yet: run `cheep compile`, which writes generated/model_compiled.c"
#endif
#endif

#include <generated/detector_settings.h>
#include <generated/mel_filter_bank.h>
#include <generated/model.h>

#ifdef CHEEP_DETECTOR_VERIFY_ID
#if defined(CHEEP_BACKEND_TFLM)
#error "this detector has a second network (detector.verify): use an environment with the networks compiled (cheep compile)"
#endif
#include <generated/verify.h>
#include <generated/verify_filter_bank.h>
#endif

/* Headers that an older Cheep has made: its models had their activation inside. */
#ifndef CHEEP_DETECTOR_SCORES
#define CHEEP_DETECTOR_SCORES CHEEP_SCORES_PROBABILITY
#endif
#ifndef CHEEP_DETECTOR_HYSTERESIS
#define CHEEP_DETECTOR_HYSTERESIS 0.1
#endif

#ifdef __cplusplus
extern "C" {
#define CHEEP_ASSERT static_assert
#else
#define CHEEP_ASSERT _Static_assert
#endif

CHEEP_ASSERT(CHEEP_MEL_FEATURE_HASH == CHEEP_MODEL_FEATURE_HASH,
             "mel_filter_bank.h and model.h come from different feature settings: run cheep mel-filter-bank");
CHEEP_ASSERT(CHEEP_DETECTOR_MODEL_ID == CHEEP_MODEL_ID,
             "detector_settings.h and model.h are of different models: run cheep model-convert");
CHEEP_ASSERT(CHEEP_MEL_BANDS == CHEEP_MODEL_MELS,
             "mel_filter_bank.h and model.h have different numbers of bands: run cheep mel-filter-bank");
CHEEP_ASSERT(CHEEP_DETECTOR_CLASSES == CHEEP_MODEL_CLASSES,
             "detector_settings.h and model.h have different classes: run cheep model-convert");
CHEEP_ASSERT(CHEEP_MODEL_CLASSES <= CHEEP_MAX_CLASSES, "more classes than CHEEP_MAX_CLASSES");

#define CHEEP_ALIGN8(bytes) (((bytes) + 7u) & ~7u)

#ifdef CHEEP_DETECTOR_GATE_ON_SUM
#define CHEEP_APP_GATE_BYTES CHEEP_ALIGN8(CHEEP_GATE_BYTES(CHEEP_MODEL_MELS, CHEEP_MODEL_FRAMES))
#else
#define CHEEP_APP_GATE_BYTES 0u
#endif

#ifdef CHEEP_DETECTOR_VERIFY_ID
CHEEP_ASSERT(CHEEP_VERIFY_MODEL_ID == CHEEP_DETECTOR_VERIFY_ID && CHEEP_VERIFY_FOR_MODEL_ID == CHEEP_MODEL_ID,
             "verify.h is of other networks than detector_settings.h: run cheep model-convert");
CHEEP_ASSERT(CHEEP_VERIFY_MEL_FEATURE_HASH == CHEEP_VERIFY_FEATURE_HASH,
             "verify_filter_bank.h and verify.h come from different feature settings: run cheep model-convert");
#define CHEEP_APP_VERIFY_BYTES                                                                             \
    (CHEEP_ALIGN8((CHEEP_VERIFY_WINDOW_SAMPLES(CHEEP_VERIFY_MEL_FRAME_SAMPLES, CHEEP_VERIFY_MEL_HOP_SAMPLES, \
                                               CHEEP_VERIFY_FRAMES) +                                      \
                   CHEEP_VERIFY_BEHIND_SAMPLES) *                                                          \
                  sizeof(int16_t)) +                                                                       \
     CHEEP_ALIGN8(CHEEP_VERIFY_MEL_BANDS * sizeof(float)) +                                                \
     CHEEP_ALIGN8(CHEEP_VERIFY_FRAMES * CHEEP_VERIFY_MEL_BANDS))
#else
#define CHEEP_APP_VERIFY_BYTES 0u
#endif

/* What cheep_app_memory_bytes(&cheep_generated_app) returns, at compile time. */
#define CHEEP_APP_MEMORY_BYTES                                                                             \
    (CHEEP_ALIGN8(CHEEP_MEL_FRONTEND_BYTES) + CHEEP_ALIGN8(CHEEP_MODEL_CLASSES * sizeof(cheep_event)) +    \
     CHEEP_ALIGN8(CHEEP_MODEL_MELS * sizeof(float)) + CHEEP_ALIGN8(CHEEP_MODEL_MELS) +                     \
     CHEEP_ALIGN8(CHEEP_MODEL_FRAMES * CHEEP_MODEL_MELS) + CHEEP_APP_GATE_BYTES + CHEEP_APP_VERIFY_BYTES)

extern const cheep_app_spec cheep_generated_app;
#ifdef CHEEP_DETECTOR_VERIFY_ID
extern const cheep_verify_spec cheep_generated_verify;
#endif

#ifdef __cplusplus
}
#endif
#endif
