/* SPDX-License-Identifier: MIT */
/* nRF52840 without vendor code (product specification 1.7): PDM microphone, UARTE at 115200 baud, TIMER0 as the clock.
 * 32 + n is pin n of port 1. A Feather Sense has its microphone on clock 1, data 0; a XIAO Sense on clock 32, data 16. */
#include "board.h"
#include "hal.h"

#ifndef CHEEP_PIN_PDM_CLK
#define CHEEP_PIN_PDM_CLK 31u
#endif
#ifndef CHEEP_PIN_PDM_DATA
#define CHEEP_PIN_PDM_DATA 30u
#endif
#ifndef CHEEP_PIN_TX
#define CHEEP_PIN_TX 6u
#endif
#ifndef CHEEP_MIC_GAIN
#define CHEEP_MIC_GAIN 0x28u /* 0 dB; each step is half a dB, up to 0x50 */
#endif

#define REGISTER(base, offset) (*(volatile uint32_t *)(uintptr_t)((base) + (offset)))
#define CLOCK 0x40000000u
#define UARTE 0x40002000u
#define TIMER 0x40008000u
#define WDT 0x40010000u
#define PDM 0x4001D000u
#define PDM_INTERRUPT 29u
#define P0 0x50000000u
#define P1 0x50000300u
#define NVIC_ENABLE 0xE000E100u

#define BLOCK 128

const char board_name[] = "nrf52840";
static int16_t blocks[2][BLOCK];

static void output(uint32_t pin, uint32_t high)
{
    const uint32_t port = pin < 32u ? P0 : P1;
    REGISTER(port, high ? 0x508u : 0x50Cu) = 1u << (pin % 32u); /* OUTSET or OUTCLR */
    REGISTER(port, 0x518u) = 1u << (pin % 32u);                 /* DIRSET */
}

void board_start(void)
{
    REGISTER(CLOCK, 0x000u) = 1u; /* TASKS_HFCLKSTART: the crystal, which the PDM's clock comes from */
    while (REGISTER(CLOCK, 0x100u) == 0u) {
    }
    REGISTER(TIMER, 0x508u) = 3u; /* BITMODE: 32 */
    REGISTER(TIMER, 0x510u) = 4u; /* PRESCALER: 16 MHz / 2^4 */
    REGISTER(TIMER, 0x000u) = 1u;
    output(CHEEP_PIN_TX, 1u);
    REGISTER(UARTE, 0x50Cu) = CHEEP_PIN_TX;
    REGISTER(UARTE, 0x524u) = 0x01D60000u; /* 115200 */
    REGISTER(UARTE, 0x500u) = 8u;          /* ENABLE */
}

uint32_t cheep_hal_clock_us(void)
{
    REGISTER(TIMER, 0x040u) = 1u; /* TASKS_CAPTURE[0] */
    return REGISTER(TIMER, 0x540u);
}

/* Lines are in RAM, as its DMA wants them. */
void board_write(const char *line, size_t n)
{
    REGISTER(UARTE, 0x120u) = 0u;
    REGISTER(UARTE, 0x544u) = (uint32_t)(uintptr_t)line;
    REGISTER(UARTE, 0x548u) = (uint32_t)n;
    REGISTER(UARTE, 0x008u) = 1u; /* TASKS_STARTTX */
    while (REGISTER(UARTE, 0x120u) == 0u) { /* EVENTS_ENDTX */
    }
}

void board_feed(void)
{
    if (REGISTER(WDT, 0x400u) == 0u) { /* RUNSTATUS */
        REGISTER(WDT, 0x504u) = 10u * 32768u;
        REGISTER(WDT, 0x000u) = 1u;
    }
    REGISTER(WDT, 0x600u) = 0x6E524635u;
}

void board_wait(void)
{
    __asm volatile("wfi");
}

const char *board_microphone(uint32_t rate_hz)
{
    if (rate_hz != 16000u) {
        return "the PDM is set for 16 kHz: train a model with a sample rate of 8000 or 16000 Hz";
    }
    output(CHEEP_PIN_PDM_CLK, 0u);
    REGISTER(CHEEP_PIN_PDM_DATA < 32u ? P0 : P1, 0x700u + 4u * (CHEEP_PIN_PDM_DATA % 32u)) = 0u; /* input, connected */
    REGISTER(PDM, 0x540u) = CHEEP_PIN_PDM_CLK;
    REGISTER(PDM, 0x544u) = CHEEP_PIN_PDM_DATA;
    REGISTER(PDM, 0x504u) = 0x0A000000u; /* PDMCLKCTRL: 1.28 MHz */
    REGISTER(PDM, 0x520u) = 1u;          /* RATIO: 80 */
    REGISTER(PDM, 0x508u) = 1u;          /* MODE: mono, left on the falling edge */
    REGISTER(PDM, 0x518u) = CHEEP_MIC_GAIN;
    REGISTER(PDM, 0x51Cu) = CHEEP_MIC_GAIN;
    REGISTER(PDM, 0x560u) = (uint32_t)(uintptr_t)blocks[0];
    REGISTER(PDM, 0x564u) = BLOCK;
    REGISTER(PDM, 0x304u) = 1u; /* INTENSET: STARTED, when the next block's place may be given */
    REGISTER(NVIC_ENABLE, 0u) = 1u << PDM_INTERRUPT;
    REGISTER(PDM, 0x500u) = 1u;
    REGISTER(PDM, 0x000u) = 1u;
    return NULL;
}

/* Every 8 ms a block begins to fill: the other one is complete, and next. */
void interrupt_29(void);
void interrupt_29(void)
{
    static unsigned filling = 1, begun;
    REGISTER(PDM, 0x100u) = 0u;
    (void)REGISTER(PDM, 0x100u); /* the event is gone before the interrupt returns */
    filling ^= 1u;
    int16_t *complete = blocks[filling ^ 1u];
    REGISTER(PDM, 0x560u) = (uint32_t)(uintptr_t)complete;
    if (begun > 0u) {
        board_samples(complete, BLOCK, 0u);
    }
    begun = 1;
}
