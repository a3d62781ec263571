/* SPDX-License-Identifier: MIT */
/* How the files of this folder belong together: a detector of one model, its network compiled to C. First in every file. */
#ifndef CHEEP_BUILD_H
#define CHEEP_BUILD_H

#define CHEEP_BACKEND_COMPILED
#define CHEEP_CLASSES_OF_MODEL

/* The bits of a feature depend on it: a fused multiply-add rounds once where training rounded twice. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#endif
