/* SPDX-License-Identifier: MIT */
/* Wi-Fi, broker and name of the device: typed on the serial line, kept in the partition nvs. */
#ifndef NET_SETTINGS_H
#define NET_SETTINGS_H

#include <stdbool.h>

#define NET_CA_BYTES 3000

typedef struct {
    char ssid[33];
    char wifi_password[65];
    char url[129];           /* mqtts://HOST:8883 or mqtt://HOST */
    char user[65];
    char password[129];
    char name[65];           /* for people; its id is made of it */
    char id[33];
    char ca[NET_CA_BYTES];   /* PEM of the broker's authority; "": those that ESP-IDF brings */
} net_settings;

/* Read what is kept; false where SSID or broker are missing. */
bool net_settings_load(net_settings *s);

/* One line: "set KEY VALUE", "clear", "show", "restart". Passwords are taken and never shown. */
void net_settings_command(char *line);

#endif
