/* SPDX-License-Identifier: MIT */
/* cheep_model.h of a firmware that has more than one model: the one in use is called. */
#include "cheep_image.h"

extern const cheep_image_entry cheep_image_built_in;

static const cheep_image_entry *used = &cheep_image_built_in;

void cheep_image_use(const cheep_image_entry *entry)
{
    used = entry != NULL ? entry : &cheep_image_built_in;
}

cheep_status cheep_model_init(void)
{
    return used->model->init();
}

cheep_status cheep_model_invoke(const int8_t *window, int8_t *scores)
{
    return used->model->invoke(window, scores);
}

void cheep_model_forget(void)
{
    used->model->forget();
}

const cheep_model_columns *cheep_model_by_columns(void)
{
    return used->model->by_columns();
}

size_t cheep_model_memory_bytes(void)
{
    return used->model->memory_bytes();
}

const char *cheep_model_error(void)
{
    return used->model->error();
}
