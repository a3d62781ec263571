/* SPDX-License-Identifier: MIT */
/* RP2040 and RP2350 with the Pico SDK: an I2S microphone (INMP441 and kin) read by PIO 0, lines over USB. */
#include "board.h"
#include "hal.h"

#include <stdio.h>

#include "hardware/clocks.h"
#include "hardware/irq.h"
#include "hardware/pio.h"
#include "hardware/sync.h"
#include "hardware/watchdog.h"
#include "pico/stdlib.h"

#include "cheep_decimate.h"

/* Bit clock on the first, word select on the pin behind it; data. L/R of the microphone to GND: left slot. */
#ifndef CHEEP_PIN_I2S_SCK
#define CHEEP_PIN_I2S_SCK 10
#endif
#ifndef CHEEP_PIN_I2S_SD
#define CHEEP_PIN_I2S_SD 12
#endif
#ifndef CHEEP_MIC_GAIN_BITS
#define CHEEP_MIC_GAIN_BITS 3 /* each bit is 6 dB */
#endif

#define BLOCK 64

#if PICO_RP2350
const char board_name[] = "rp2350";
#else
const char board_name[] = "rp2040";
#endif

static uint machine;

void board_start(void)
{
    stdio_init_all();
}

uint32_t cheep_hal_clock_us(void)
{
    return time_us_32();
}

uint32_t cheep_hal_stack_bytes(void)
{
    return 0;
}

void board_write(const char *line, size_t n)
{
    fwrite(line, 1, n, stdout);
    fflush(stdout);
}

void board_feed(void)
{
    static bool started;
    if (!started) {
        watchdog_enable(8000, true);
        started = true;
    }
    watchdog_update();
}

void board_wait(void)
{
    __wfi();
}

/* Words of 32 bits, left and right in turn; the left ones are the microphone's. */
static void on_words(void)
{
    static int32_t words[BLOCK];
    static int16_t pcm[BLOCK];
    static size_t n;
    static bool right;
    static cheep_i2s24 converter = {.mean_q8 = 0, .gain_bits = CHEEP_MIC_GAIN_BITS};
    while (!pio_sm_is_rx_fifo_empty(pio0, machine)) {
        const int32_t word = (int32_t)pio_sm_get(pio0, machine);
        right = !right;
        if (right) {
            words[n++] = word;
        }
        if (n == BLOCK) {
            cheep_i2s24_to_pcm(&converter, words, n, pcm);
            n = 0;
            board_samples(pcm, BLOCK, 0u);
        }
    }
}

/* The two side pins are bit clock (bit 0) and word select (bit 1). Every instruction is half a bit: data is read where the
 * clock rises; word select changes where it falls, one bit before a word begins. */
static uint load_program(void)
{
    static uint16_t code[12];
    const struct pio_program program = {.instructions = code, .length = 12, .origin = 0};
    const uint bit = pio_encode_in(pio_pins, 1);
    code[0] = (uint16_t)(pio_encode_set(pio_x, 29) | pio_encode_sideset(2, 0));
    code[1] = (uint16_t)(bit | pio_encode_sideset(2, 1)); /* left: bits 31 to 2 */
    code[2] = (uint16_t)(pio_encode_jmp_x_dec(1) | pio_encode_sideset(2, 0));
    code[3] = (uint16_t)(bit | pio_encode_sideset(2, 1)); /* bit 1 */
    code[4] = (uint16_t)(pio_encode_nop() | pio_encode_sideset(2, 2));
    code[5] = (uint16_t)(bit | pio_encode_sideset(2, 3)); /* bit 0 */
    code[6] = (uint16_t)(pio_encode_set(pio_x, 29) | pio_encode_sideset(2, 2));
    code[7] = (uint16_t)(bit | pio_encode_sideset(2, 3)); /* right: bits 31 to 2 */
    code[8] = (uint16_t)(pio_encode_jmp_x_dec(7) | pio_encode_sideset(2, 2));
    code[9] = (uint16_t)(bit | pio_encode_sideset(2, 3)); /* bit 1 */
    code[10] = (uint16_t)(pio_encode_nop() | pio_encode_sideset(2, 0));
    code[11] = (uint16_t)(bit | pio_encode_sideset(2, 1)); /* bit 0 */
    return (uint)pio_add_program(pio0, &program);
}

const char *board_microphone(uint32_t rate_hz)
{
    const uint start = load_program();
    machine = (uint)pio_claim_unused_sm(pio0, true);
    pio_sm_config config = pio_get_default_sm_config();
    sm_config_set_wrap(&config, start, start + 11);
    sm_config_set_in_pins(&config, CHEEP_PIN_I2S_SD);
    sm_config_set_sideset(&config, 2, false, false);
    sm_config_set_sideset_pins(&config, CHEEP_PIN_I2S_SCK);
    sm_config_set_in_shift(&config, false, true, 32);
    sm_config_set_fifo_join(&config, PIO_FIFO_JOIN_RX);
    sm_config_set_clkdiv(&config, (float)clock_get_hz(clk_sys) / (float)(rate_hz * 128u));
    pio_gpio_init(pio0, CHEEP_PIN_I2S_SCK);
    pio_gpio_init(pio0, CHEEP_PIN_I2S_SCK + 1);
    pio_gpio_init(pio0, CHEEP_PIN_I2S_SD);
    pio_sm_set_consecutive_pindirs(pio0, machine, CHEEP_PIN_I2S_SCK, 2, true);
    pio_sm_set_consecutive_pindirs(pio0, machine, CHEEP_PIN_I2S_SD, 1, false);
    pio_sm_init(pio0, machine, start, &config);
    irq_set_exclusive_handler(PIO0_IRQ_0, on_words);
    pio_set_irq0_source_enabled(pio0, (enum pio_interrupt_source)(pis_sm0_rx_fifo_not_empty + machine), true);
    irq_set_enabled(PIO0_IRQ_0, true);
    pio_sm_set_enabled(pio0, machine, true);
    return NULL;
}
