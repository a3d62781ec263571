/* SPDX-License-Identifier: MIT */
/* Between cheep_boot.c and cheep_app.c. */
#ifndef CHEEP_BOOT_H
#define CHEEP_BOOT_H

#include "cheep_app.h"

#define CHEEP_REPORT_SECONDS 60u

/* A whole window takes app->window_us: leave out as many as must be. False: it cannot be done, or is done already. */
bool cheep_app_run_fewer(cheep_app *app);

/* Run a whole window in a network that is fed with columns (app->by_columns). */
cheep_status cheep_app_run_window(const cheep_app *app, const int8_t *window, int8_t *scores);

#endif
