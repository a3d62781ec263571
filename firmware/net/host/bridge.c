/* SPDX-License-Identifier: MIT */
#include "bridge.h"

#include <stdlib.h>
#include <string.h>

#include "flash_file.h"

#define SECTOR_BYTES 4096u
#define TEXT_BYTES 80u

struct bridge {
    flash_file file;
    cheep_queue queue;
    cheep_uplink uplink;
    cheep_transport transport;
    cheep_uplink_device device;
    char id[TEXT_BYTES], name[TEXT_BYTES], board[TEXT_BYTES], version[TEXT_BYTES], discovery[TEXT_BYTES];
};

static const char *keep(char *to, const char *text)
{
    size_t n = strlen(text);
    n = n < TEXT_BYTES ? n : TEXT_BYTES - 1u;
    memcpy(to, text, n);
    to[n] = '\0';
    return to;
}

bridge *bridge_open(const char *queue_path, uint32_t sectors, uint32_t new_id, const char *id, const char *name,
                    const char *board, const char *version, const char *discovery, bridge_publish publish,
                    cheep_status *status)
{
    bridge *b = calloc(1, sizeof *b);
    *status = CHEEP_ERROR_MEMORY;
    if (b == NULL) {
        return NULL;
    }
    b->transport.publish = publish;
    b->device.id = keep(b->id, id);
    b->device.name = keep(b->name, name);
    b->device.board = keep(b->board, board);
    b->device.version = keep(b->version, version);
    b->device.discovery = *discovery == '\0' ? NULL : keep(b->discovery, discovery);
    *status = cheep_uplink_init(&b->uplink, &b->device, &b->queue, &b->transport);
    if (*status == CHEEP_OK) {
        *status = flash_file_open(&b->file, queue_path, SECTOR_BYTES, sectors);
    }
    if (*status == CHEEP_OK) {
        *status = cheep_queue_open(&b->queue, &b->file.flash, new_id);
    }
    if (*status != CHEEP_OK) {
        bridge_close(b);
        return NULL;
    }
    return b;
}

void bridge_close(bridge *b)
{
    flash_file_close(&b->file);
    free(b);
}

void bridge_connected(bridge *b)
{
    cheep_uplink_connected(&b->uplink);
}

void bridge_disconnected(bridge *b)
{
    cheep_uplink_disconnected(&b->uplink);
}

void bridge_acknowledged(bridge *b, int32_t message)
{
    cheep_uplink_acknowledged(&b->uplink, message);
}

cheep_status bridge_add(bridge *b, const cheep_uplink_event *event)
{
    return cheep_uplink_add(&b->uplink, event);
}

void bridge_set(bridge *b, const cheep_uplink_state *state)
{
    cheep_uplink_set(&b->uplink, state);
}

bool bridge_idle(const bridge *b)
{
    return cheep_uplink_idle(&b->uplink);
}

uint32_t bridge_waiting(const bridge *b)
{
    return b->queue.waiting;
}

uint32_t bridge_refused(const bridge *b)
{
    return b->queue.refused;
}

uint32_t bridge_next(const bridge *b)
{
    return b->queue.next;
}
