/* SPDX-License-Identifier: MIT */
/* The score log of a session on the card (field_scores.h has its blocks). */
#ifndef SCORE_LOG_H
#define SCORE_LOG_H

#include "cheep_app.h"
#include "field_records.h"

void score_log_begin(const cheep_app_spec *spec, const field_session *session, uint32_t begun_ms);

/* A handler of the application (cheep_app_handlers.scores). */
void score_log_window(void *context, const cheep_app *app, uint64_t sample, const int8_t *scores);

void score_log_end(void);

#endif
