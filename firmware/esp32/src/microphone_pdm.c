/* SPDX-License-Identifier: MIT */
/* PDM microphones: the driver's filter makes 16-bit samples. */
#include "board_config.h"

#if CHEEP_MIC_PDM

#include "driver/gpio.h"
#include "driver/i2s_pdm.h"
#include "esp_attr.h"

#include "cheep_decimate.h"
#include "microphone.h"

static i2s_chan_handle_t channel;
static cheep_dc dc;

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
    i2s_chan_config_t channel_config = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_0, I2S_ROLE_MASTER); /* PDM: only I2S 0 */
    i2s_pdm_rx_config_t config = {
        .clk_cfg = I2S_PDM_RX_CLK_DEFAULT_CONFIG(rate_hz),
        .slot_cfg = I2S_PDM_RX_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_16BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg = {.clk = (gpio_num_t)CHEEP_PIN_PDM_CLK, .din = (gpio_num_t)CHEEP_PIN_PDM_DATA},
    };
    channel_config.dma_desc_num = 8;
    channel_config.dma_frame_num = 256;
    esp_err_t status = i2s_new_channel(&channel_config, NULL, &channel);
    if (status == ESP_OK) {
        status = i2s_channel_init_pdm_rx_mode(channel, &config);
    }
    if (status == ESP_OK) {
        const i2s_event_callbacks_t callbacks = {.on_recv_q_ovf = on_overflow};
        status = i2s_channel_register_event_callback(channel, &callbacks, NULL);
    }
    (void)gpio_pulldown_en((gpio_num_t)CHEEP_PIN_PDM_DATA); /* nobody drives it: a steady value, "silent" on the line */
    return status == ESP_OK ? i2s_channel_enable(channel) : status;
}

uint32_t microphone_dropped(void)
{
    return __atomic_exchange_n(&dropped_bytes, 0u, __ATOMIC_RELAXED) / (uint32_t)sizeof(int16_t);
}

int32_t microphone_offset(void)
{
    return dc.mean_q12 / 4096 * (1 << CHEEP_MIC_GAIN_BITS);
}

esp_err_t microphone_read(int16_t *pcm, size_t n, size_t *got)
{
    size_t bytes = 0;
    esp_err_t status = i2s_channel_read(channel, pcm, n * sizeof pcm[0], &bytes, 1000);
    *got = bytes / sizeof pcm[0];
    cheep_dc_remove(&dc, pcm, *got);
    for (size_t i = 0; i < *got; i++) {
        int32_t x = pcm[i] * (1 << CHEEP_MIC_GAIN_BITS);
        pcm[i] = (int16_t)(x > 32767 ? 32767 : x < -32768 ? -32768 : x);
    }
    return status;
}

#endif
