/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes into the decoder of LoRa payloads, and any event through encoder and decoder. */
#include <stdlib.h>
#include <string.h>

#include "cheep_lora.h"

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint8_t key[CHEEP_CMAC_KEY_BYTES] = {0};
    uint8_t payload[CHEEP_LORA_BYTES];
    uint8_t again[CHEEP_LORA_BYTES];
    cheep_lora_event event;
    cheep_lora_event back;
    uint32_t counter = 5;
    bool fresh = false;
    if (n < 1) {
        return 0;
    }
    /* What comes in by radio: with the key unknown, only by luck of 2^-64. */
    uint8_t *exact = malloc(n); /* so that reading past its end is seen */
    require(exact != NULL);
    memcpy(exact, data, n);
    uint32_t device = n >= 5 ? (uint32_t)data[1] << 24 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 8 | data[4] : 0;
    require(cheep_lora_decode(exact, n, device, key, &counter, &fresh, &event) != CHEEP_LORA_OK || n == CHEEP_LORA_BYTES);
    free(exact);
    /* Any event: encoded, decoded, encoded again. Members are read from the bytes one by one, so that a bool is one. */
    uint8_t from[40] = {0};
    memcpy(from, data, n < sizeof from ? n : sizeof from);
    uint32_t word[7];
    memcpy(word, from, sizeof word);
    memcpy(key, from + 28, 12);
    event = (cheep_lora_event){word[0], word[1], word[2], (from[28] & 1u) != 0u, from[29], word[3], (from[28] & 2u) != 0u,
                               (int32_t)word[4], word[5], word[6]};
    cheep_lora_encode(&event, key, payload);
    fresh = true;
    require(cheep_lora_decode(payload, sizeof payload, event.device, key, &counter, &fresh, &back) == CHEEP_LORA_OK);
    require(counter == event.counter && !fresh);
    cheep_lora_encode(&back, key, again);
    require(memcmp(payload, again, sizeof payload) == 0);
    require(cheep_lora_decode(payload, sizeof payload, event.device, key, &counter, &fresh, &back) == CHEEP_LORA_REPLAY);
    payload[from[30] % CHEEP_LORA_BYTES] ^= (uint8_t)(1u << (from[31] % 8u));
    fresh = true;
    require(cheep_lora_decode(payload, sizeof payload, event.device, key, &counter, &fresh, &back) != CHEEP_LORA_OK);
    return 0;
}
