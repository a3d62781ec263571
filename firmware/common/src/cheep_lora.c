/* SPDX-License-Identifier: MIT */
#include "cheep_lora.h"

#include <string.h>

#define SINCE_START 1u
#define IS_LOGIT 2u
#define SCORE_LIMIT 8388607

static uint8_t *put(uint8_t *at, uint32_t value, unsigned bytes)
{
    while (bytes-- > 0u) {
        *at++ = (uint8_t)(value >> (8u * bytes));
    }
    return at;
}

static uint32_t get(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;
    while (bytes-- > 0u) {
        value = (value << 8) | *at++;
    }
    return value;
}

static uint32_t rounded(uint32_t value, uint32_t unit, uint32_t most)
{
    const uint32_t units = value / unit + (value % unit >= (unit + 1u) / 2u ? 1u : 0u);
    return units < most ? units : most;
}

static void tag_of(const uint8_t *body, const uint8_t *key, uint8_t tag[CHEEP_LORA_TAG_BYTES])
{
    uint8_t whole[CHEEP_CMAC_BYTES];
    cheep_cmac(key, body, CHEEP_LORA_BODY_BYTES, whole);
    memcpy(tag, whole, CHEEP_LORA_TAG_BYTES);
}

void cheep_lora_encode(const cheep_lora_event *event, const uint8_t key[CHEEP_CMAC_KEY_BYTES],
                       uint8_t payload[CHEEP_LORA_BYTES])
{
    uint8_t *at = payload;
    int32_t score = event->score;
    uint32_t battery = rounded(event->battery_mv, 20, 255);
    if (battery == 0u && event->battery_mv != 0u) {
        battery = 1;
    }
    score = score > SCORE_LIMIT ? SCORE_LIMIT : score < -SCORE_LIMIT - 1 ? -SCORE_LIMIT - 1 : score;
    at = put(at, (CHEEP_LORA_VERSION << 4) | (event->since_start ? SINCE_START : 0u) | (event->is_logit ? IS_LOGIT : 0u), 1);
    at = put(at, event->device, 4);
    at = put(at, event->counter, 4);
    at = put(at, event->time_s, 4);
    at = put(at, event->label, 1);
    at = put(at, event->model, 4);
    at = put(at, (uint32_t)score, 3);
    at = put(at, rounded(event->duration_ms, 100, 65535), 2);
    at = put(at, battery, 1);
    tag_of(payload, key, at);
}

cheep_lora_result cheep_lora_decode(const uint8_t *payload, size_t n, uint32_t device,
                                    const uint8_t key[CHEEP_CMAC_KEY_BYTES], uint32_t *counter, bool *fresh,
                                    cheep_lora_event *event)
{
    uint8_t tag[CHEEP_LORA_TAG_BYTES];
    uint8_t differs = 0;
    if (n != CHEEP_LORA_BYTES) {
        return CHEEP_LORA_LENGTH;
    }
    if (payload[0] >> 4 != CHEEP_LORA_VERSION || (payload[0] & 15u & ~(SINCE_START | IS_LOGIT)) != 0u) {
        return CHEEP_LORA_FORMAT;
    }
    if (get(payload + 1, 4) != device) {
        return CHEEP_LORA_DEVICE;
    }
    tag_of(payload, key, tag);
    for (unsigned i = 0; i < CHEEP_LORA_TAG_BYTES; i++) {
        differs |= tag[i] ^ payload[CHEEP_LORA_BODY_BYTES + i]; /* all of them: the time tells nothing */
    }
    if (differs != 0u) {
        return CHEEP_LORA_TAG;
    }
    const uint32_t found = get(payload + 5, 4);
    if (!*fresh && found <= *counter) {
        return CHEEP_LORA_REPLAY;
    }
    const int32_t score = (int32_t)get(payload + 18, 3);
    *counter = found;
    *fresh = false;
    *event = (cheep_lora_event){
        .device = device,
        .counter = found,
        .time_s = get(payload + 9, 4),
        .since_start = (payload[0] & SINCE_START) != 0u,
        .label = payload[13],
        .model = get(payload + 14, 4),
        .is_logit = (payload[0] & IS_LOGIT) != 0u,
        .score = score > SCORE_LIMIT ? score - 2 * (SCORE_LIMIT + 1) : score,
        .duration_ms = 100u * get(payload + 21, 2),
        .battery_mv = 20u * payload[23],
    };
    return CHEEP_LORA_OK;
}

void cheep_lora_counter_init(cheep_lora_counter *c, uint32_t stored, bool (*store)(void *context, uint32_t ceiling),
                             void *context)
{
    *c = (cheep_lora_counter){context, store, stored, stored};
}

bool cheep_lora_counter_take(cheep_lora_counter *c, uint32_t *counter)
{
    if (c->next == c->ceiling) {
        const uint32_t ceiling = c->ceiling + CHEEP_LORA_LEASE;
        if (ceiling < c->ceiling || !c->store(c->context, ceiling)) {
            return false;
        }
        c->ceiling = ceiling;
    }
    *counter = c->next++;
    return true;
}
