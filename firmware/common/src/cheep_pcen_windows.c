/* SPDX-License-Identifier: MIT */
/* PCEN over many windows of mel energies at once, for training on a host. Not used on devices. */
#include "cheep_compress.h"
#include "cheep_pcen_windows.h"

void cheep_pcen_windows(cheep_frontend *fe, float *mel, size_t windows, size_t columns)
{
    const size_t n_mels = fe->spec->n_mels;

    for (size_t w = 0; w < windows; w++) {
        cheep_frontend_reset(fe);
        for (size_t c = 0; c < columns; c++) {
            cheep_pcen_column(fe, mel);
            fe->columns++;
            mel += n_mels;
        }
    }
    cheep_frontend_reset(fe);
}
