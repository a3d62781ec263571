/* SPDX-License-Identifier: MIT */
/* The hyperdimensional head that this firmware was built with: generated/cheep_hdc_projection.h and
 * generated/cheep_hdc_prototypes.h in one constant. Headers that disagree do not compile.
 *
 * A board places the tables by defining CHEEP_HDC_PLACE_MATRIX, CHEEP_HDC_PLACE_PROTOTYPES and CHEEP_HDC_PLACE_STATE
 * (attributes such as DRAM_ATTR); by default the tables are constants in flash. */
#ifndef CHEEP_HDC_GENERATED_H
#define CHEEP_HDC_GENERATED_H

#include "cheep_hdc.h"

#include <generated/cheep_hdc_projection.h>
#include <generated/cheep_hdc_prototypes.h>

#ifndef CHEEP_HDC_PLACE_MATRIX
#define CHEEP_HDC_PLACE_MATRIX
#endif
#ifndef CHEEP_HDC_PLACE_PROTOTYPES
#define CHEEP_HDC_PLACE_PROTOTYPES
#endif
#ifndef CHEEP_HDC_PLACE_STATE
#define CHEEP_HDC_PLACE_STATE
#endif

#ifdef __cplusplus
extern "C" {
#define CHEEP_HDC_ASSERT static_assert
#else
#define CHEEP_HDC_ASSERT _Static_assert
#endif

CHEEP_HDC_ASSERT(CHEEP_HDC_PROJECTION_ID == CHEEP_HDC_PROTOTYPES_ID,
                 "cheep_hdc_projection.h and cheep_hdc_prototypes.h are of different heads: run cheep hdc export");
CHEEP_HDC_ASSERT(CHEEP_HDC_CLASSES + CHEEP_HDC_SLOTS <= CHEEP_HDC_MAX_CLASSES, "too many classes: lower --slots");

extern const cheep_hdc_spec cheep_hdc_generated;
extern const char *const cheep_hdc_labels[CHEEP_HDC_CLASSES];

#ifdef __cplusplus
}
#endif
#endif
