/* SPDX-License-Identifier: MIT */
/* Models from the card: the board's flash and file system behind cheep_slots.h. */
#if defined(CHEEP_CARD_MODELS)
#include "model_in_use.h"

#include <string.h>

#include "audiomoth.h"
#include "em_msc.h"

#include "card.h"
#include "cheep_card.h"
#include "hal.h"

_Static_assert(CHEEP_CARD_PAGE_BYTES == FLASH_PAGE_SIZE, "pages are not those of this chip");

extern const uint8_t __cheep_card_models[]; /* audiomoth.ld: the linker knows of slots and window */

const cheep_image_entry *model_in_use = &cheep_image_built_in;

static cheep_app *trial;
static cheep_ring *trial_ring;
static bool open; /* MODEL.BIN */

static bool erase(void *context, uint32_t address)
{
    (void)context;
    MSC_Init();
    const MSC_Status_TypeDef status = MSC_ErasePage((uint32_t *)(uintptr_t)address);
    MSC_Deinit();
    return status == mscReturnOk;
}

static bool write_words(void *context, uint32_t address, const uint32_t *words, size_t n)
{
    (void)context;
    MSC_Init();
    const MSC_Status_TypeDef status = MSC_WriteWord((uint32_t *)(uintptr_t)address, words, 4u * (uint32_t)n);
    MSC_Deinit();
    return status == mscReturnOk;
}

static char *file_name(void)
{
    static char name[] = CHEEP_CARD_FILE; /* the library's calls take char * */
    return name;
}

static void close_file(void)
{
    if (open) {
        (void)AudioMoth_closeFile();
        open = false;
    }
}

static bool exists(void *context)
{
    (void)context;
    return AudioMoth_doesFileExist(file_name());
}

static bool read_file(void *context, uint32_t offset, void *data, size_t n)
{
    (void)context;
    memset(data, 0, n);
    open = open || AudioMoth_openFileToRead(file_name());
    return open && AudioMoth_seekInFile(offset) && AudioMoth_readFile(data, (uint32_t)n);
}

static void log_line(void *context, const char *text)
{
    uint32_t utc = 0;
    (void)context;
    close_file(); /* the library has one file at a time */
    AudioMoth_getTime(&utc, NULL);
    card_log(utc, text);
}

static void alive(void *context)
{
    (void)context;
    cheep_hal_alive();
}

static void use(const cheep_image_entry *entry)
{
    cheep_card_use(entry);
    model_in_use = entry;
}

static bool try_entry(void *context, const cheep_image_entry *entry, const char **reason)
{
    const cheep_app_handlers handlers = {0};
    (void)context;
    use(entry);
    const bool good = cheep_app_boot(trial, entry->spec, entry->memory, entry->memory_bytes, trial_ring, &handlers) ==
                      CHEEP_OK;
    *reason = trial->failure;
    return good;
}

void model_choose(cheep_app *app, cheep_ring *ring)
{
    const cheep_slots_flash flash = CHEEP_CARD_FLASH(erase, write_words);
    const cheep_slots_host host = {
        .read = read_file,
        .exists = exists,
        .try_entry = try_entry,
        .log = log_line,
        .alive = alive,
    };
    trial = app;
    trial_ring = ring;
    __asm volatile("" ::"r"(__cheep_card_models)); /* linked without it, the window would lie over other variables */
    const cheep_image_entry *entry = cheep_card_start(&flash, &host);
    close_file();
    use(entry);
}

bool model_fall_back(void)
{
    const bool other = model_in_use != &cheep_image_built_in;
    use(&cheep_image_built_in);
    return other;
}
#endif
