/* SPDX-License-Identifier: MIT */
#include "cheep_hdc_app.h"

#include <string.h>

#include "cheep_lines.h"

#define LINE_BYTES 384u
#define ADOPT_WEIGHT 10u

/* A line under construction. */
typedef struct {
    cheep_text text;
    char data[LINE_BYTES];
} line;

static void open_line(line *to, const char *type)
{
    cheep_line_open(&to->text, to->data, sizeof to->data, type);
}

static void put_string(line *to, const char *name, const char *value)
{
    cheep_line_key(&to->text, name);
    cheep_text_json_string(&to->text, value);
}

static void put_number(line *to, const char *name, uint64_t value)
{
    cheep_line_key(&to->text, name);
    cheep_text_unsigned(&to->text, value, 1);
}

static void say(const cheep_hdc_app_io *io, line *out)
{
    const size_t n = cheep_line_close(&out->text);
    if (io->line != NULL) {
        out->data[n - 1u] = '\0'; /* the line end is the board's */
        io->line(io->context, out->data);
    }
}

void cheep_hdc_app_error(const cheep_hdc_app_io *io, const char *why)
{
    line out;
    open_line(&out, "hdc_error");
    put_string(&out, "why", why);
    say(io, &out);
}

static void say_error(const cheep_hdc_app *app, const char *why)
{
    cheep_hdc_app_error(&app->io, why);
}

static const char *name_of(const cheep_hdc_app *app, uint16_t class_index)
{
    uint16_t fixed = app->hdc.spec->n_classes;
    if (class_index == CHEEP_HDC_UNKNOWN) {
        return "unknown";
    }
    if (class_index < fixed) {
        return app->labels[class_index];
    }
    const cheep_hdc_slot *slot = &app->hdc.slot[class_index - fixed];
    return slot->overrides != CHEEP_HDC_UNKNOWN ? app->labels[slot->overrides] : slot->name;
}

/* Class of a name: a learned one (also one that replaces a fixed class), a fixed one, or CHEEP_HDC_UNKNOWN. */
static uint16_t find(const cheep_hdc_app *app, const char *name)
{
    uint16_t fixed = app->hdc.spec->n_classes;
    for (uint16_t i = 0; i < app->hdc.n_slots; i++) {
        if (app->hdc.slot[i].used && strcmp(name_of(app, (uint16_t)(fixed + i)), name) == 0) {
            return (uint16_t)(fixed + i);
        }
    }
    for (uint16_t c = 0; c < fixed; c++) {
        if (strcmp(app->labels[c], name) == 0) {
            return c;
        }
    }
    return CHEEP_HDC_UNKNOWN;
}

static bool save(const cheep_hdc_app *app)
{
    if (app->io.storage == NULL) {
        return false;
    }
    if (cheep_hdc_save(&app->hdc, app->io.storage) != CHEEP_OK) {
        say_error(app, "cannot save what was learned; it is lost with the power");
        return false;
    }
    return true;
}

cheep_status cheep_hdc_app_boot(cheep_hdc_app *app, const cheep_hdc_spec *spec, const char *const *labels,
                                uint16_t n_slots, void *memory, size_t memory_bytes, const cheep_hdc_app_io *io)
{
    memset(app, 0, sizeof *app);
    app->labels = labels;
    app->io = *io;
    app->learning = app->last = app->reported = CHEEP_HDC_UNKNOWN;
    cheep_status status = cheep_hdc_init(&app->hdc, spec, n_slots, memory, memory_bytes);
    if (status != CHEEP_OK || io->storage == NULL) {
        return status;
    }
    switch (cheep_hdc_load(&app->hdc, io->storage)) {
    case CHEEP_OK: break;
    case CHEEP_ERROR_MISMATCH: say_error(app, "what was learned belongs to another model; learn it again"); break;
    case CHEEP_ERROR_CORRUPT: say_error(app, "what was learned is damaged; learn it again"); break;
    default: say_error(app, "the storage cannot be read"); break;
    }
    return CHEEP_OK;
}

void cheep_hdc_app_learned(cheep_hdc_app *app)
{
    if (app->learning == CHEEP_HDC_UNKNOWN) {
        return;
    }
    (void)cheep_hdc_rehearse(&app->hdc, CHEEP_HDC_APP_PASSES);
    bool saved = save(app);
    line out;
    open_line(&out, "hdc_learned");
    put_string(&out, "class", name_of(app, app->learning));
    put_number(&out, "windows", app->taken);
    cheep_line_key(&out.text, "saved");
    cheep_text_string(&out.text, saved ? "true" : "false");
    app->learning = CHEEP_HDC_UNKNOWN;
    app->left = 0;
    say(&app->io, &out);
}

void cheep_hdc_app_window(cheep_hdc_app *app, const int8_t *embedding, uint64_t sample)
{
    if (app->learning != CHEEP_HDC_UNKNOWN) {
        if (cheep_hdc_learn(&app->hdc, app->learning, embedding) == CHEEP_OK) {
            app->taken++;
        }
        if (--app->left == 0u) {
            cheep_hdc_app_learned(app);
        }
        return;
    }
    cheep_hdc_result result;
    cheep_hdc_classify(&app->hdc, embedding, &result);
    uint16_t now = result.class_index;
    if (now == app->last && now != app->reported) {
        app->reported = now;
        line out;
        open_line(&out, "hdc_event");
        put_string(&out, "class", name_of(app, now));
        cheep_line_key(&out.text, "score");
        cheep_text_fixed(&out.text, (int64_t)result.score * 10000 / 32768, 4);
        put_number(&out, "sample", sample);
        say(&app->io, &out);
    }
    app->last = now;
}

static bool good_name(const char *name)
{
    size_t n = 0;
    for (; name[n] != '\0'; n++) {
        char c = name[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!plain || n + 1u >= CHEEP_HDC_NAME_BYTES) {
            return false;
        }
    }
    return n > 0u;
}

cheep_status cheep_hdc_app_learn(cheep_hdc_app *app, const char *name, uint16_t windows)
{
    cheep_hdc_app_learned(app); /* one at a time */
    uint16_t index = find(app, name);
    cheep_status status = CHEEP_OK;
    if (windows == 0u) {
        status = CHEEP_ERROR_ARGUMENT;
    } else if (index == CHEEP_HDC_UNKNOWN) {
        status = good_name(name) ? cheep_hdc_add_class(&app->hdc, name, &index) : CHEEP_ERROR_ARGUMENT;
    } else if (index < app->hdc.spec->n_classes) {
        status = cheep_hdc_adopt(&app->hdc, index, ADOPT_WEIGHT, &index);
    }
    if (status != CHEEP_OK) {
        say_error(app, status == CHEEP_ERROR_MEMORY
                           ? "no class can be added; forget one first"
                           : "learn NAME [WINDOWS]: a name of 1 to 15 letters, digits, '_' or '-', and 1 to 65535");
        return status;
    }
    app->learning = index;
    app->left = windows;
    app->taken = 0;
    return CHEEP_OK;
}

void cheep_hdc_app_button(cheep_hdc_app *app)
{
    char name[CHEEP_HDC_NAME_BYTES] = "new";
    do {
        app->pressed++;
        uint16_t n = app->pressed;
        size_t at = 3;
        for (uint16_t unit = 10000; unit > 0u; unit = (uint16_t)(unit / 10u)) {
            if (n >= unit || at > 3u) {
                name[at++] = (char)('0' + (n / unit) % 10u);
            }
        }
        name[at] = '\0';
    } while (find(app, name) != CHEEP_HDC_UNKNOWN);
    (void)cheep_hdc_app_learn(app, name, CHEEP_HDC_APP_WINDOWS);
}

static void say_classes(const cheep_hdc_app *app)
{
    line out;
    uint16_t fixed = app->hdc.spec->n_classes;
    uint32_t unused = 0;
    bool first = true;
    open_line(&out, "hdc_classes");
    put_number(&out, "fixed", fixed);
    cheep_line_key(&out.text, "learned");
    cheep_text_char(&out.text, '[');
    for (uint16_t i = 0; i < app->hdc.n_slots; i++) {
        const cheep_hdc_slot *slot = &app->hdc.slot[i];
        unused += slot->used ? 0u : 1u;
        /* what would not leave room for the end of the line is left out */
        if (slot->used && out.text.length < LINE_BYTES - 144u) {
            cheep_text_string(&out.text, first ? "{\"class\":" : ",{\"class\":");
            cheep_text_json_string(&out.text, name_of(app, (uint16_t)(fixed + i)));
            put_number(&out, "windows", slot->count);
            cheep_text_char(&out.text, '}');
            first = false;
        }
    }
    cheep_text_char(&out.text, ']');
    put_number(&out, "free", unused);
    say(&app->io, &out);
}

/* The next word of *text, "" at the end; one of more than size - 1 characters is "?". */
static void next_word(const char **text, char *word, size_t size)
{
    size_t n = 0;
    while (**text == ' ') {
        (*text)++;
    }
    for (; **text != '\0' && **text != ' ' && **text != '\r' && **text != '\n'; (*text)++) {
        if (n < size) {
            word[n++] = **text;
        }
    }
    if (n == size) {
        n = 0;
        word[n++] = '?'; /* no verb, name or number */
    }
    word[n] = '\0';
}

void cheep_hdc_app_command(cheep_hdc_app *app, const char *text)
{
    char verb[10];
    char name[CHEEP_HDC_NAME_BYTES];
    char number[6];
    next_word(&text, verb, sizeof verb);
    next_word(&text, name, sizeof name);
    next_word(&text, number, sizeof number);
    if (strcmp(verb, "classes") == 0) {
        say_classes(app);
    } else if (strcmp(verb, "learn") == 0) {
        uint32_t windows = number[0] == '\0' ? CHEEP_HDC_APP_WINDOWS : 0u;
        for (const char *c = number; *c != '\0'; c++) {
            windows = *c >= '0' && *c <= '9' && windows <= 65535u ? windows * 10u + (uint32_t)(*c - '0') : 65536u;
        }
        (void)cheep_hdc_app_learn(app, name, windows > 65535u ? 0u : (uint16_t)windows);
    } else if (strcmp(verb, "forget") == 0) {
        uint16_t index = find(app, name);
        if (index == app->learning) {
            app->learning = CHEEP_HDC_UNKNOWN;
        }
        if (index == CHEEP_HDC_UNKNOWN || cheep_hdc_forget(&app->hdc, index) != CHEEP_OK) {
            say_error(app, "forget NAME: no learned class of this name");
        } else {
            (void)save(app);
            say_classes(app);
        }
    } else {
        say_error(app, "commands: learn NAME [WINDOWS], forget NAME, classes");
    }
}
