/* SPDX-License-Identifier: MIT */
/* PCEN over many windows of mel energies at once, for training on a host. Not used on devices. */
#ifndef CHEEP_PCEN_WINDOWS_H
#define CHEEP_PCEN_WINDOWS_H

#include "cheep_frontend.h"

/* mel[windows][columns][n_mels], in place: energies in, PCEN units out. Every window starts anew. fe must be
 * initialized with CHEEP_COMPRESSION_PCEN; it is reset. */
void cheep_pcen_windows(cheep_frontend *fe, float *mel, size_t windows, size_t columns);

#endif
