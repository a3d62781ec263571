/* SPDX-License-Identifier: MIT */
/* An application that comes over the network: into the place that does not run, whole and as announced before it is
 * started, on trial until its self-check with the golden windows has passed; else the one before comes back.
 * The two places and who starts which are the board's (ESP-IDF: esp_ota_*, its bootloader). */
#ifndef CHEEP_UPDATE_H
#define CHEEP_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cheep_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_UPDATE_URL_BYTES 257u

typedef struct {
    void *context;
    uint32_t bytes;                                       /* room in the place that does not run */
    bool (*on_trial)(void *context);                      /* the running application has not been confirmed */
    bool (*can_go_back)(void *context);                   /* the other place holds an application that may be started */
    cheep_status (*begin)(void *context);                 /* make the other place ready; what it held is gone */
    cheep_status (*write)(void *context, uint32_t offset, const void *data, uint32_t n);
    cheep_status (*read)(void *context, uint32_t offset, void *data, uint32_t n);
    cheep_status (*activate)(void *context);              /* check the image; from the next start on, it runs on trial */
    cheep_status (*confirm)(void *context);               /* the running application stays */
    void (*go_back)(void *context);                       /* the running one is bad: restart in the other */
} cheep_places;

typedef struct {
    const cheep_places *places;
    uint32_t announced, crc32;  /* of the image */
    uint32_t received, crc;
    bool receiving;
} cheep_update;

/* What asks for an update: "BYTES CRC32 URL" (decimal, eight hexadecimal digits, https://...). */
typedef struct {
    uint32_t bytes, crc32;
    char url[CHEEP_UPDATE_URL_BYTES];
} cheep_update_order;

/* CHEEP_ERROR_ARGUMENT: it is none; only https is taken. */
cheep_status cheep_update_read(const char *text, uint32_t n, cheep_update_order *order);

/* CHEEP_ERROR_MEMORY: too large; CHEEP_ERROR_MISMATCH: the running application is on trial, the other its only way back. */
cheep_status cheep_update_begin(cheep_update *u, const cheep_places *places, const cheep_update_order *order);
/* The next bytes. Any error ends the update: the running application stays. */
cheep_status cheep_update_write(cheep_update *u, const void *data, uint32_t n);
/* All bytes have come: CHEEP_OK, restart now; CHEEP_ERROR_CORRUPT: not the announced image. 256 bytes of stack. */
cheep_status cheep_update_finish(cheep_update *u);

/* At boot, when the self-check has said yes or no. Returns when it may listen, or when it has to refuse. */
void cheep_update_boot(const cheep_places *places, bool passed);

#ifdef __cplusplus
}
#endif
#endif
