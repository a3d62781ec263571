/* SPDX-License-Identifier: MIT */
#include "model_callback.h"

#include "cheep_generated.h"
#include "cheep_model.h"
#include "cheep_text.h"

static const cheep_model_facts expected = CHEEP_MODEL_FACTS;
static cheep_model_facts found;
static size_t arena;
static cheep_callback_invoke run;
static cheep_callback_forget forget;
static char error_text[CHEEP_MODEL_ERROR_BYTES] = "no model was given";

void cheep_callback_model(const cheep_model_facts *model, size_t arena_bytes, cheep_callback_invoke invoke,
                          cheep_callback_forget forget_state)
{
    forget = forget_state;
    found = *model;
    arena = arena_bytes;
    run = invoke;
}

static cheep_callback_invoke run_second;

void cheep_callback_second(cheep_callback_invoke invoke)
{
    run_second = invoke;
}

#ifdef CHEEP_DETECTOR_VERIFY_ID
static uint64_t scratch[(CHEEP_VERIFY_MEL_FRONTEND_BYTES + 7u) / 8u];

cheep_status cheep_verify_model_init(void)
{
    return run_second != NULL ? CHEEP_OK : CHEEP_ERROR_MODEL;
}

cheep_status cheep_verify_model_invoke(const int8_t *window, int8_t *scores)
{
    return run_second(window, scores) == 0 ? CHEEP_OK : CHEEP_ERROR_MODEL;
}

const char *cheep_verify_model_error(void)
{
    return run_second == NULL ? "no second network was given" : "the runtime failed while running the second network";
}

void *cheep_verify_model_scratch(void)
{
    return scratch;
}
#endif

size_t cheep_callback_arena_bytes(void)
{
    return CHEEP_MODEL_ARENA_BYTES;
}

static cheep_status refuse(const char *why, cheep_status status)
{
    cheep_text text;
    cheep_text_init(&text, error_text, sizeof error_text);
    cheep_text_string(&text, why);
    return status;
}

cheep_status cheep_model_init(void)
{
    if (run == NULL) {
        return refuse("no model was given", CHEEP_ERROR_MODEL);
    }
    cheep_status status = cheep_model_check_data(&expected, found.data, found.bytes, error_text);
    if (status == CHEEP_OK && arena > CHEEP_MODEL_ARENA_BYTES) {
        status = refuse("the arena of model.h (CHEEP_MODEL_ARENA_BYTES) is too small for the model", CHEEP_ERROR_MEMORY);
    }
    if (status == CHEEP_OK) {
        status = cheep_model_check_tensors(&expected, &found, error_text);
    }
    return status;
}

cheep_status cheep_model_invoke(const int8_t *window, int8_t *scores)
{
    if (run(window, scores) != 0) {
        return refuse("the runtime failed while running the model", CHEEP_ERROR_MODEL);
    }
    return CHEEP_OK;
}

void cheep_model_forget(void)
{
    if (forget != NULL) {
        forget();
    }
}

const cheep_model_columns *cheep_model_by_columns(void)
{
    return NULL;
}

size_t cheep_model_memory_bytes(void)
{
    return arena;
}

const char *cheep_model_error(void)
{
    return error_text;
}
