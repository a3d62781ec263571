/* SPDX-License-Identifier: MIT */
/* Constants from the generated headers; empty in a firmware without a hyperdimensional head. */
#if defined(CHEEP_HDC)

#include "cheep_hdc_generated.h"

static const int16_t center[CHEEP_HDC_DIMS] = CHEEP_HDC_CENTER;
static const int16_t gain[CHEEP_HDC_DIMS] = CHEEP_HDC_GAIN;
#if CHEEP_HDC_MATRIX_WORDS > 0
#define CHEEP_HDC_MATRIX_TABLE matrix
CHEEP_HDC_PLACE_MATRIX static const uint32_t matrix[CHEEP_HDC_MATRIX_WORDS] = CHEEP_HDC_MATRIX;
#else
#define CHEEP_HDC_MATRIX_TABLE NULL
#endif
CHEEP_HDC_PLACE_PROTOTYPES static const uint32_t prototypes[] = CHEEP_HDC_PROTOTYPES;
#if CHEEP_HDC_REMINDERS_PER_CLASS > 0
#define CHEEP_HDC_REMINDERS_TABLE reminders
static const int8_t reminders[CHEEP_HDC_CLASSES * CHEEP_HDC_REMINDERS_PER_CLASS * CHEEP_HDC_DIMS] = CHEEP_HDC_REMINDERS;
#else
#define CHEEP_HDC_REMINDERS_TABLE NULL
#endif

const cheep_hdc_spec cheep_hdc_generated = {
    .id = CHEEP_HDC_PROJECTION_ID,
    .n_dims = CHEEP_HDC_DIMS,
    .hyper = CHEEP_HDC_HYPER,
    .projection = CHEEP_HDC_PROJECTION,
    .form = CHEEP_HDC_FORM,
    .similarity = CHEEP_HDC_SIMILARITY,
    .shift = CHEEP_HDC_SHIFT,
    .gain_shift = CHEEP_HDC_GAIN_SHIFT,
    .seed = CHEEP_HDC_SEED,
    .center = center,
    .gain = gain,
    .matrix = CHEEP_HDC_MATRIX_TABLE,
    .n_classes = CHEEP_HDC_CLASSES,
    .prototypes = prototypes,
    .reject = CHEEP_HDC_REJECT,
    .reminders = CHEEP_HDC_REMINDERS_TABLE,
    .n_reminders = CHEEP_HDC_REMINDERS_PER_CLASS,
};

const char *const cheep_hdc_labels[CHEEP_HDC_CLASSES] = CHEEP_HDC_LABELS;

#else
typedef int cheep_hdc_is_not_used;
#endif
