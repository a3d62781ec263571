/* SPDX-License-Identifier: MIT */
#if defined(CHEEP_MQTT)

#include "net_settings.h"

#include <stdio.h>
#include <string.h>

#include "esp_system.h"
#include "nvs.h"

#define SPACE "cheep"
#define PEM_BEGIN "-----BEGIN CERTIFICATE-----\n"
#define PEM_END "\n-----END CERTIFICATE-----\n"

/* What may be set: its name on the line, its key in nvs, the longest value. A CA is typed as the base64 of its DER form. */
typedef struct {
    const char *name, *key;
    size_t longest;
    bool secret;
} setting;

static const setting settings[] = {
    {"wifi.ssid", "ssid", 32, false},      {"wifi.password", "wifi_pass", 64, true}, {"mqtt.url", "url", 128, false},
    {"mqtt.user", "user", 64, false},      {"mqtt.password", "pass", 128, true},     {"name", "name", 64, false},
    {"mqtt.ca", "ca", NET_CA_BYTES - 1u - (sizeof PEM_BEGIN - 1u) - (sizeof PEM_END - 1u), false},
};

static void read_text(nvs_handle_t nvs, const char *key, char *value, size_t capacity)
{
    if (nvs_get_str(nvs, key, value, &capacity) != ESP_OK) {
        value[0] = '\0';
    }
}

/* As cheep.mqtt.feed.device_id: small letters, digits, - and _; runs of others are one _. */
static void make_id(const char *name, char *id)
{
    size_t n = 0;
    for (; *name != '\0' && n < 32u; name++) {
        char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (plain) {
            id[n++] = c;
        } else if (n > 0u && id[n - 1u] != '_') {
            id[n++] = '_';
        }
    }
    while (n > 0u && id[n - 1u] == '_') {
        n--;
    }
    id[n] = '\0';
    if (n == 0u) {
        memcpy(id, "cheep", 6);
    }
}

bool net_settings_load(net_settings *s)
{
    nvs_handle_t nvs;
    memset(s, 0, sizeof *s);
    if (nvs_open(SPACE, NVS_READONLY, &nvs) != ESP_OK) {
        return false;
    }
    read_text(nvs, "ssid", s->ssid, sizeof s->ssid);
    read_text(nvs, "wifi_pass", s->wifi_password, sizeof s->wifi_password);
    read_text(nvs, "url", s->url, sizeof s->url);
    read_text(nvs, "user", s->user, sizeof s->user);
    read_text(nvs, "pass", s->password, sizeof s->password);
    read_text(nvs, "name", s->name, sizeof s->name);
    const size_t begin = sizeof PEM_BEGIN - 1u;
    read_text(nvs, "ca", s->ca + begin, sizeof s->ca - begin - sizeof PEM_END);
    nvs_close(nvs);
    if (s->ca[begin] != '\0') {
        memcpy(s->ca, PEM_BEGIN, begin);
        memcpy(s->ca + strlen(s->ca), PEM_END, sizeof PEM_END);
    }
    if (s->name[0] == '\0') {
        memcpy(s->name, "Cheep", 6);
    }
    make_id(s->name, s->id);
    return s->ssid[0] != '\0' && s->url[0] != '\0';
}

static void set(const char *name, const char *value)
{
    nvs_handle_t nvs;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const setting *s = &settings[i];
        if (strcmp(s->name, name) != 0) {
            continue;
        }
        if (strlen(value) > s->longest) {
            printf("net: %s: longer than %u bytes\n", name, (unsigned)s->longest);
            return;
        }
        esp_err_t status = nvs_open(SPACE, NVS_READWRITE, &nvs);
        if (status == ESP_OK) {
            status = nvs_set_str(nvs, s->key, value);
            status = status == ESP_OK ? nvs_commit(nvs) : status;
            nvs_close(nvs);
        }
        printf("net: %s %s\n", name, status == ESP_OK ? "saved; restart when all is set" : "NOT saved");
        return;
    }
    printf("net: %s: must be wifi.ssid, wifi.password, mqtt.url, mqtt.user, mqtt.password, mqtt.ca or name\n", name);
}

static void show(void)
{
    nvs_handle_t nvs;
    char value[130];
    if (nvs_open(SPACE, NVS_READONLY, &nvs) != ESP_OK) {
        printf("net: nothing is set; set wifi.ssid NAME\n");
        return;
    }
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const setting *s = &settings[i];
        size_t n = 0;
        bool there = nvs_get_str(nvs, s->key, NULL, &n) == ESP_OK && n > 1u;
        bool hidden = s->secret || n > sizeof value;
        n = sizeof value;
        if (!there || hidden || nvs_get_str(nvs, s->key, value, &n) != ESP_OK) {
            value[0] = '\0';
        }
        printf("net: %s %s\n", s->name, !there ? "-" : hidden ? "(set)" : value);
    }
    nvs_close(nvs);
}

static void clear(void)
{
    nvs_handle_t nvs;
    if (nvs_open(SPACE, NVS_READWRITE, &nvs) == ESP_OK) {
        (void)nvs_erase_all(nvs);
        (void)nvs_commit(nvs);
        nvs_close(nvs);
    }
    printf("net: nothing is set\n");
}

void net_settings_command(char *line)
{
    if (strncmp(line, "set ", 4) == 0) {
        char *value = strchr(line + 4, ' ');
        if (value == NULL) {
            printf("net: set KEY VALUE\n");
            return;
        }
        *value++ = '\0';
        set(line + 4, value);
    } else if (strcmp(line, "show") == 0) {
        show();
    } else if (strcmp(line, "clear") == 0) {
        clear();
    } else if (strcmp(line, "restart") == 0) {
        esp_restart();
    } else {
        printf("net: must be set KEY VALUE, show, clear or restart\n");
    }
}

#else
typedef int cheep_net_settings_are_not_used;
#endif
