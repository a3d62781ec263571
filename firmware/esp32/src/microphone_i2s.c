/* SPDX-License-Identifier: MIT */
/* I2S microphones: standard (Philips) mode, 32-bit slots with 24 bits on the left. */
#include "board_config.h"

#if !CHEEP_MIC_PDM

#include "driver/gpio.h"
#include "driver/i2s_std.h"
#include "esp_attr.h"

#include "cheep_decimate.h"
#include "microphone.h"

#define BLOCK 256

static i2s_chan_handle_t channel;
static cheep_i2s24 converter = {.mean_q8 = 0, .gain_bits = CHEEP_MIC_GAIN_BITS};

static uint32_t dropped_bytes; /* the interrupt adds, the reading task takes */

static bool IRAM_ATTR on_overflow(i2s_chan_handle_t handle, i2s_event_data_t *event, void *context)
{
    (void)handle;
    (void)context;
    (void)__atomic_fetch_add(&dropped_bytes, (uint32_t)event->size, __ATOMIC_RELAXED);
    return false;
}

esp_err_t microphone_start(uint32_t rate_hz)
{
    i2s_chan_config_t channel_config = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
    channel_config.dma_desc_num = 8;
    channel_config.dma_frame_num = BLOCK;
    i2s_std_config_t config = {
        .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(rate_hz),
        .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg =
            {
                .mclk = I2S_GPIO_UNUSED,
                .bclk = (gpio_num_t)CHEEP_PIN_I2S_SCK,
                .ws = (gpio_num_t)CHEEP_PIN_I2S_WS,
                .dout = I2S_GPIO_UNUSED,
                .din = (gpio_num_t)CHEEP_PIN_I2S_SD,
            },
    };
    config.slot_cfg.slot_mask = CHEEP_MIC_RIGHT_SLOT ? I2S_STD_SLOT_RIGHT : I2S_STD_SLOT_LEFT;
    esp_err_t status = i2s_new_channel(&channel_config, NULL, &channel);
    if (status == ESP_OK) {
        status = i2s_channel_init_std_mode(channel, &config);
    }
    if (status == ESP_OK) {
        const i2s_event_callbacks_t callbacks = {.on_recv_q_ovf = on_overflow};
        status = i2s_channel_register_event_callback(channel, &callbacks, NULL);
    }
    /* A data line that nobody drives (no microphone, the other slot) reads as zeros: "silent" on the line. Pins that cannot
     * pull (34 to 39 of the plain ESP32) float. */
    (void)gpio_pulldown_en((gpio_num_t)CHEEP_PIN_I2S_SD);
    return status == ESP_OK ? i2s_channel_enable(channel) : status;
}

uint32_t microphone_dropped(void)
{
    return __atomic_exchange_n(&dropped_bytes, 0u, __ATOMIC_RELAXED) / (uint32_t)sizeof(int32_t);
}

int32_t microphone_offset(void)
{
    return (converter.mean_q8 / 256 * (1 << converter.gain_bits)) / 256;
}

esp_err_t microphone_read(int16_t *pcm, size_t n, size_t *got)
{
    static int32_t raw[BLOCK];
    size_t bytes = 0;
    size_t want = n < BLOCK ? n : BLOCK;
    esp_err_t status = i2s_channel_read(channel, raw, want * sizeof raw[0], &bytes, 1000);
    *got = bytes / sizeof raw[0];
    cheep_i2s24_to_pcm(&converter, raw, *got, pcm);
    return status;
}

#endif
