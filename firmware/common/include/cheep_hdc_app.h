/* SPDX-License-Identifier: MIT */
/* A detector whose classes are those of a hyperdimensional head: what stands between the application (cheep_app.h) and
 * the head (cheep_hdc.h). The model that the application runs is the extractor, its "scores" are the embedding; set
 * handlers.scores to a function that calls cheep_hdc_app_window. Board-independent; no mutable globals, no heap.
 *
 * Reports and answers are JSON lines, which end with "crc" as all lines do (cheep_lines.h, left out here):
 *   {"type":"hdc_event","class":"knock","score":0.7312,"sample":81600}    another class is nearest, twice running
 *   {"type":"hdc_learned","class":"knock","windows":10,"saved":true}
 *   {"type":"hdc_classes","fixed":10,"learned":[{"class":"knock","windows":10}],"free":3}
 *   {"type":"hdc_error","why":"..."}
 * Commands (one line each, from a serial console): learn NAME [WINDOWS], forget NAME, classes. */
#ifndef CHEEP_HDC_APP_H
#define CHEEP_HDC_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cheep_hdc.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CHEEP_HDC_APP_WINDOWS 10u /* learned by one press of a button, or by `learn NAME` */
#define CHEEP_HDC_APP_PASSES 10u  /* of rehearsal after learning (cheep_hdc_rehearse) */

typedef struct {
    void *context;
    void (*line)(void *context, const char *json); /* without a line end */
    const cheep_hdc_storage *storage;              /* NULL: learned classes are lost with the power */
} cheep_hdc_app_io;

typedef struct {
    cheep_hdc hdc;
    const char *const *labels; /* of the fixed classes */
    cheep_hdc_app_io io;
    uint16_t learning;         /* class that examples go to, or CHEEP_HDC_UNKNOWN */
    uint16_t left;             /* windows still to learn */
    uint16_t taken;            /* windows learned since the command */
    uint16_t last;             /* class of the last window */
    uint16_t reported;         /* class of the last event */
    uint16_t pressed;          /* classes named by the button so far */
} cheep_hdc_app;

/* Prepare the head and load what was learned. A damaged or foreign record is reported as a line and no error: the
 * fixed classes work. memory: see cheep_hdc_memory_bytes. */
cheep_status cheep_hdc_app_boot(cheep_hdc_app *app, const cheep_hdc_spec *spec, const char *const *labels,
                                uint16_t n_slots, void *memory, size_t memory_bytes, const cheep_hdc_app_io *io);

/* One window's embedding; sample: where the window starts. While learning, it is an example, else it is classified. */
void cheep_hdc_app_window(cheep_hdc_app *app, const int8_t *embedding, uint64_t sample);

/* Take the next `windows` windows as examples of a class, which is made if it is new (a name of letters, digits, '_'
 * and '-'); a fixed class is adopted with the weight of 10 examples. Rehearsed and saved when they are taken. */
cheep_status cheep_hdc_app_learn(cheep_hdc_app *app, const char *name, uint16_t windows);

/* End the learning now (a card's example files have all been played) and save. */
void cheep_hdc_app_learned(cheep_hdc_app *app);

/* A button: learn the next windows as a new class "new1", "new2", ... */
void cheep_hdc_app_button(cheep_hdc_app *app);

/* Write an hdc_error line, also before cheep_hdc_app_boot. */
void cheep_hdc_app_error(const cheep_hdc_app_io *io, const char *why);

/* One command line. */
void cheep_hdc_app_command(cheep_hdc_app *app, const char *line);

#ifdef __cplusplus
}
#endif
#endif
