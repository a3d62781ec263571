/* SPDX-License-Identifier: MIT */
#include "hal_audiomoth.h"

#include <stddef.h>

#include "audiomoth.h"

#include "cheep_decimate.h"
#include "cheep_generated.h"
#include "field_records.h"
#include "hal.h"

#define CAPTURE_HZ (CHEEP_MEL_SAMPLE_RATE_HZ == 16000 ? 384000u : 192000u)
#define TRANSFER_SAMPLES 256u
#define FACTOR (CAPTURE_HZ / 8u / CHEEP_MEL_SAMPLE_RATE_HZ)

_Static_assert(CHEEP_MEL_SAMPLE_RATE_HZ == 8000 || CHEEP_MEL_SAMPLE_RATE_HZ == 12000 ||
                   CHEEP_MEL_SAMPLE_RATE_HZ == 16000 || CHEEP_MEL_SAMPLE_RATE_HZ == 24000,
               "the AudioMoth makes 8000, 12000, 16000 or 24000 Hz: train a model with one of these sample rates");

#define CLOCK_MHZ 48u
#define DEMCR (*(volatile uint32_t *)0xE000EDFCu)
#define DWT_CONTROL (*(volatile uint32_t *)0xE0001000u)
#define DWT_CYCLES (*(volatile uint32_t *)0xE0001004u)

#define PAINT 0xC4EEC4EEu

extern uint32_t __cheep_stack_floor[]; /* audiomoth.ld: the end of static memory and heap */
extern uint32_t __StackTop[];

static int16_t transfer[2][TRANSFER_SAMPLES];
static cheep_decimator8 first_stage;
static cheep_decimator second_stage;
static cheep_dc dc;
static cheep_ring *target;
static volatile bool switch_moved;

void hal_start(void)
{
    const volatile uint32_t *end = (const uint32_t *)__builtin_frame_address(0) - 64;
    DEMCR |= 1u << 24;
    DWT_CYCLES = 0;
    DWT_CONTROL |= 1u;
    for (volatile uint32_t *word = __cheep_stack_floor; word < end; word++) {
        *word = PAINT;
    }
}

uint32_t cheep_hal_stack_bytes(void)
{
    const uint32_t *word = __cheep_stack_floor;
    while (word < __StackTop && *word == PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)__StackTop - (uintptr_t)word);
}

/* The counter stops while the core sleeps, so it measures work; called at least every 89 s of it. */
uint32_t cheep_hal_clock_us(void)
{
    static uint32_t last, rest, us;
    uint32_t now = DWT_CYCLES;
    uint32_t cycles = now - last + rest;
    last = now;
    us += cycles / CLOCK_MHZ;
    rest = cycles % CLOCK_MHZ;
    return us;
}

void cheep_hal_alive(void)
{
    AudioMoth_feedWatchdog();
}

void hal_microphone_start(cheep_ring *ring, unsigned gain)
{
    target = ring;
    dc.mean_q12 = 0;
    cheep_decimate8_init(&first_stage, 4); /* 12 bits in, 16 out */
    (void)cheep_decimate_init(&second_stage, FACTOR);
    (void)AudioMoth_enableMicrophone(AM_NORMAL_GAIN_RANGE, (AM_gainSetting_t)gain, 4, 16, 1);
    AudioMoth_initialiseDirectMemoryAccess(transfer[0], transfer[1], TRANSFER_SAMPLES);
    AudioMoth_startMicrophoneSamples(CAPTURE_HZ);
}

void hal_microphone_stop(void)
{
    AudioMoth_disableMicrophone();
    target = NULL;
}

/* Decimates where the samples lie and copies the few that remain: nothing else happens in the interrupt. */
void AudioMoth_handleDirectMemoryAccessInterrupt(bool isPrimaryBuffer, int16_t **nextBuffer)
{
    int16_t *pcm = transfer[isPrimaryBuffer ? 0 : 1];
    *nextBuffer = pcm;
    if (target != NULL) {
        size_t n = cheep_decimate8(&first_stage, pcm, TRANSFER_SAMPLES, pcm);
        n = cheep_decimate(&second_stage, pcm, n, pcm);
        cheep_dc_remove(&dc, pcm, n);
        (void)cheep_ring_push(target, pcm, n);
    }
}

void AudioMoth_handleSwitchInterrupt(void)
{
    switch_moved = true;
}

bool hal_switch_moved(void)
{
    return switch_moved;
}

void AudioMoth_handleMicrophoneChangeInterrupt(void)
{
}

void AudioMoth_handleMicrophoneInterrupt(int16_t sample)
{
    (void)sample;
}

uint32_t hal_battery_mv(void)
{
    AM_extendedBatteryState_t state = AudioMoth_getExtendedBatteryState(AudioMoth_getSupplyVoltage());
    return state == AM_EXT_BAT_LOW ? 0u : AM_EXT_BAT_STATE_OFFSET + (uint32_t)state * AM_BATTERY_STATE_INCREMENT;
}

int32_t hal_temperature_mc(void)
{
    AudioMoth_enableTemperature();
    int32_t temperature = AudioMoth_getTemperature();
    AudioMoth_disableTemperature();
    return temperature <= FIELD_NO_TEMPERATURE ? FIELD_NO_TEMPERATURE : temperature;
}

void hal_identity(uint32_t *high, uint32_t *low)
{
    const volatile uint32_t *unique = (const volatile uint32_t *)AM_UNIQUE_ID_START_ADDRESS;
    *low = unique[0];
    *high = unique[1];
}
