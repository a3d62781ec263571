/* SPDX-License-Identifier: MIT */
/* Result codes of the Cheep core. */
#ifndef CHEEP_STATUS_H
#define CHEEP_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CHEEP_OK = 0,
    CHEEP_ERROR_ARGUMENT = 1,   /* a setting or size is outside its range */
    CHEEP_ERROR_MEMORY = 2,     /* the caller's memory (arena, buffer) is too small */
    CHEEP_ERROR_MODEL = 3,      /* the model cannot be read or an operator is missing */
    CHEEP_ERROR_MISMATCH = 4,   /* model, features or golden results disagree */
    CHEEP_ERROR_IO = 5,         /* hardware or storage failed */
    CHEEP_ERROR_CORRUPT = 6     /* stored data fails its checksum */
} cheep_status;

#ifdef __cplusplus
}
#endif
#endif
