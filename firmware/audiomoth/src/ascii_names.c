/* SPDX-License-Identifier: MIT */
/* In place of FatFs' ffunicode.c, whose Japanese code page takes 59 KB of flash: names of ASCII. Files of other names on
 * the card are not found, and nothing else is lost. */
#if defined(CHEEP_ASCII_NAMES)
#include "ff.h"

WCHAR ff_oem2uni(WCHAR oem, WORD cp)
{
    (void)cp;
    return oem < 0x80u ? oem : 0u;
}

WCHAR ff_uni2oem(DWORD uni, WORD cp)
{
    (void)cp;
    return uni < 0x80u ? (WCHAR)uni : 0u;
}

DWORD ff_wtoupper(DWORD uni)
{
    return uni >= 'a' && uni <= 'z' ? uni - 0x20u : uni;
}
#endif
