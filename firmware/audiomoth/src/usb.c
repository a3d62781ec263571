/* SPDX-License-Identifier: MIT */
/* Time and description over USB: what the vendor's library asks for. */
#include <stdint.h>

#include "audiomoth.h"

#include "cheep_generated.h"

void AudioMoth_timezoneRequested(int8_t *timezoneHours, int8_t *timezoneMinutes)
{
    *timezoneHours = 0;
    *timezoneMinutes = 0;
}

void AudioMoth_usbFirmwareVersionRequested(uint8_t **firmwareVersionPtr)
{
    static uint8_t version[AM_FIRMWARE_VERSION_LENGTH] = {0, 1, 0};
    *firmwareVersionPtr = version;
}

void AudioMoth_usbFirmwareDescriptionRequested(uint8_t **firmwareDescriptionPtr)
{
    static uint8_t description[AM_FIRMWARE_DESCRIPTION_LENGTH] = "Cheep " CHEEP_MODEL_ID_TEXT;
    *firmwareDescriptionPtr = description;
}

void AudioMoth_usbApplicationPacketRequested(uint32_t messageType, uint8_t *transmitBuffer, uint32_t size)
{
    (void)messageType;
    (void)transmitBuffer;
    (void)size;
}

void AudioMoth_usbApplicationPacketReceived(uint32_t messageType, uint8_t *receiveBuffer, uint8_t *transmitBuffer,
                                            uint32_t size)
{
    (void)messageType;
    (void)receiveBuffer;
    (void)transmitBuffer;
    (void)size;
}
