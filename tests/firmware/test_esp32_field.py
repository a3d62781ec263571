# SPDX-License-Identifier: MIT
"""The ESP32's card and Wi-Fi with what goes wrong in the field: no card, removed, full; a bad access point."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from cheep.ccore import find_compiler
from cheep.resources import firmware_root, include_dir, source_dir

SOURCES = firmware_root() / "esp32" / "src"
SCHEMA = Path(__file__).parents[2] / "docs" / "serial-lines.schema.json"
#: Of ESP-IDF's headers, what sd_esp32.c takes. A card is a folder; the mount is a link to it, so that nothing is
#: reached through it once the card is out, whether it is back or not.
CARD = {
    "sdkconfig.h": "",
    "driver/sdspi_host.h": "",
    "sdmmc_cmd.h": "",
    "esp_mac.h": "static inline int esp_efuse_mac_get_default(uint8_t *mac) { (void)mac; return 0; }\n",
    "esp_timer.h": "#include <stdint.h>\nint64_t esp_timer_get_time(void);\n",
    "cheep_generated.h": "#define CHEEP_MEL_SAMPLE_RATE_HZ 8000\n",
    "esp_vfs_fat.h": """
#include <stdbool.h>
#include <unistd.h>
#define ESP_OK 0
#define SDSPI_DEFAULT_DMA 0
#define SDSPI_HOST_DEFAULT() {.slot = 1}
#define SDSPI_DEVICE_CONFIG_DEFAULT() {.host_id = 1}
typedef int spi_host_device_t;
typedef struct { int mosi_io_num, miso_io_num, sclk_io_num, quadwp_io_num, quadhd_io_num; } spi_bus_config_t;
typedef struct { int slot; } sdmmc_host_t;
typedef struct { int host_id, gpio_cs; } sdspi_device_config_t;
typedef struct { int unused; } sdmmc_card_t;
typedef struct { bool format_if_mount_failed; int max_files; } esp_vfs_fat_mount_config_t;
#define spi_bus_initialize(host, bus, dma) ((void)(host), (void)(bus), ESP_OK)
static inline int esp_vfs_fat_sdspi_mount(const char *path, const sdmmc_host_t *host, const sdspi_device_config_t *slot,
                                          const esp_vfs_fat_mount_config_t *config, sdmmc_card_t **card)
{
    static sdmmc_card_t one;
    (void)host, (void)slot, (void)config;
    *card = &one;
    return access("card", F_OK) == 0 && symlink("../card", path) == 0 ? ESP_OK : 1;
}
static inline int esp_vfs_fat_sdcard_unmount(const char *path, sdmmc_card_t *card)
{
    (void)card;
    return unlink(path);
}
""",
}
CARD_PROGRAM = r"""
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#define gettimeofday(now, zone) ((now)->tv_sec = (now)->tv_usec = 0) /* no clock: 1970 */
#include "sd_esp32.c"
#include "cheep_lines.h"
static cheep_app app;
int64_t esp_timer_get_time(void) { return (int64_t)(app.samples / 8u * 1000u); }
int main(int count, char **arguments)
{
    static cheep_ring ring;
    signal(SIGXFSZ, SIG_IGN); /* a card without room: a write is cut, then refused */
    printf("start %d\n", sd_start(&ring));
    for (int i = 1; i < count; i++) {
        const char step = arguments[i][0];
        struct rlimit room = {(rlim_t)atoi(arguments[i] + 1), RLIM_INFINITY};
        if (step == 'o') { (void)rename("card", "away"); (void)unlink(MOUNT); continue; }
        if (step == 'i') { (void)rename("away", "card"); continue; }
        if (step == 'r') { (void)setrlimit(RLIMIT_FSIZE, &room); continue; }
        app.samples += 70u * 8000u;
        cheep_app_event event = {.ended = true, .label = arguments[i], .end_sample = app.samples,
                                 .start_sample = app.samples - 8000u, .score_e6 = 950000};
        sd_event(&app, &event);
        sd_poll(&app);
    }
    static char line[CHEEP_LINE_BYTES];
    const cheep_frontend_spec frontend = {.sample_rate_hz = 8000};
    const cheep_app_spec spec = {.frontend = &frontend};
    const cheep_app_stats stats = {.card = sd_losses()};
    (void)fwrite(line, 1, cheep_line_stats(line, sizeof line, &spec, &stats, 0, 0), stdout);
    return 0;
}
"""
WIFI = {
    "esp_err.h": "#include <stdint.h>\n#define ESP_OK 0\n#define ESP_FAIL -1\ntypedef int esp_err_t;\n",
    "esp_netif.h": """
static inline int esp_netif_init(void) { return 0; }
static inline void *esp_netif_create_default_wifi_sta(void) { return (void *)1; }
""",
    "esp_event.h": """
typedef int esp_event_base_t;
enum { WIFI_EVENT, IP_EVENT, ESP_EVENT_ANY_ID };
enum { WIFI_EVENT_STA_START, WIFI_EVENT_STA_CONNECTED, WIFI_EVENT_STA_DISCONNECTED, IP_EVENT_STA_GOT_IP };
typedef void (*handler)(void *, int, int32_t, void *);
static handler on_event;
static inline int esp_event_loop_create_default(void) { return 0; }
static inline int esp_event_handler_register(int base, int id, handler f, void *context)
{
    (void)base, (void)id, (void)context;
    on_event = f;
    return 0;
}
""",
    "esp_timer.h": """
#include <stdint.h>
typedef struct { void (*callback)(void *); const char *name; } esp_timer_create_args_t;
typedef int esp_timer_handle_t;
static void (*on_alarm)(void *);
static uint64_t alarm_us;
#define esp_timer_create(arguments, made) (*(made) = 1, on_alarm = (arguments)->callback, ESP_OK)
static inline int esp_timer_start_once(int t, uint64_t us) { (void)t; alarm_us = us; return 0; }
static inline int esp_timer_stop(int t) { (void)t; alarm_us = 0; return 0; }
""",
    "esp_wifi.h": """
typedef int wifi_init_config_t;
#define WIFI_INIT_CONFIG_DEFAULT() 0
typedef struct {
    struct { unsigned char ssid[32], password[64]; struct { int authmode; } threshold; } sta;
} wifi_config_t;
typedef struct { uint8_t reason; } wifi_event_sta_disconnected_t;
enum { WIFI_AUTH_OPEN, WIFI_AUTH_WPA2_PSK, WIFI_STORAGE_RAM, WIFI_MODE_STA, WIFI_IF_STA };
enum { WIFI_REASON_AUTH_EXPIRE = 2, WIFI_REASON_ASSOC_TOOMANY = 5, WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT = 15,
       WIFI_REASON_NO_AP_FOUND = 201, WIFI_REASON_AUTH_FAIL, WIFI_REASON_ASSOC_FAIL, WIFI_REASON_HANDSHAKE_TIMEOUT,
       WIFI_REASON_CONNECTION_FAIL, WIFI_REASON_NO_AP_FOUND_W_COMPATIBLE_SECURITY = 210,
       WIFI_REASON_NO_AP_FOUND_IN_AUTHMODE_THRESHOLD, WIFI_REASON_NO_AP_FOUND_IN_RSSI_THRESHOLD };
static int tries;
static inline int esp_wifi_connect(void) { tries++; return 0; }
static inline int esp_wifi_init(const int *c) { (void)c; return 0; }
static inline int esp_wifi_set_storage(int s) { (void)s; return 0; }
static inline int esp_wifi_set_mode(int m) { (void)m; return 0; }
static inline int esp_wifi_set_config(int i, wifi_config_t *c) { (void)i, (void)c; return 0; }
static inline int esp_wifi_start(void) { return 0; }
""",
}
WIFI_PROGRAM = r"""
#include <stdlib.h>
#include "wifi_esp32.c"
static void online(void) { printf("online\n"); }
int main(int count, char **arguments)
{
    if (wifi_start("barn", "", online) != ESP_OK) { return 1; }
    on_event(NULL, WIFI_EVENT, WIFI_EVENT_STA_START, NULL);
    for (int i = 1; i < count; i++) { /* j: joined, a: address, t: alarm, a number: the reason of leaving */
        wifi_event_sta_disconnected_t left = {(uint8_t)atoi(arguments[i])};
        if (arguments[i][0] == 'j') { on_event(NULL, WIFI_EVENT, WIFI_EVENT_STA_CONNECTED, NULL); }
        else if (arguments[i][0] == 'a') { on_event(NULL, IP_EVENT, IP_EVENT_STA_GOT_IP, NULL); }
        else if (arguments[i][0] == 't' && alarm_us != 0) { alarm_us = 0; on_alarm(NULL); }
        else { on_event(NULL, WIFI_EVENT, WIFI_EVENT_STA_DISCONNECTED, &left); }
    }
    printf("tries %d, alarm %d s\n", tries, (int)(alarm_us / 1000000u));
    return 0;
}
"""


def run(tmp_path, stand_ins, program, flags, arguments):
    """Compile the file of the firmware with its stand-ins (once a test) and run it in the test's folder."""
    if not (tmp_path / "a").exists():
        for name, text in stand_ins.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "main.c").write_text(program)
        core = [str(source_dir() / name) for name in ("field_keeper.c", "field_records.c", "field_time.c")]
        core += [str(source_dir() / f"cheep_{name}.c") for name in ("ring", "text", "lines", "crc32")]
        folders = [f"-I{folder}" for folder in (tmp_path, SOURCES, include_dir(), source_dir())]
        command = [*find_compiler(), "-std=gnu11", "-Wall", "-Wextra", "-Werror", *flags, *folders]
        subprocess.run([*command, str(tmp_path / "main.c"), *core, "-o", str(tmp_path / "a")], check=True)
    done = subprocess.run([tmp_path / "a", *arguments], capture_output=True, text=True, check=True, cwd=tmp_path)
    return done.stdout.splitlines()


def card(tmp_path, *steps, inserted=True):
    """Return what is said, the labels of the rows on the card, and what the line of statistics counts as lost."""
    pins = [f"-DCHEEP_PIN_SD_{name}=1" for name in ("SCK", "MOSI", "MISO", "CS")]
    flags = ["-DCHEEP_SD", '-DMOUNT="mount/sd"', "-DCHEEP_SD_CLIP_S=0u", *pins]
    (tmp_path / "mount").mkdir()
    (tmp_path / ("card" if inserted else "away")).mkdir()
    *said, line = run(tmp_path, CARD, CARD_PROGRAM, flags, steps)
    stats = json.loads(line)
    kinds = json.loads(SCHEMA.read_text())["oneOf"]
    (kind,) = (kind for kind in kinds if kind["properties"]["type"]["const"] == "stats")
    assert set(kind["required"]) <= set(stats) <= set(kind["properties"])
    (rows,) = (tmp_path / "card").glob("*.CSV")
    head, *rest = rows.read_text().splitlines()
    assert head.startswith("utc,label")
    assert all(row.count(",") == head.count(",") and row[:4] == "1970" and row[4:].count("1970") == 0 for row in rest)
    return said, [row.split(",")[1] for row in rest], (stats["lost_rows"], stats["damaged_clips"])


NOTHING = "card: takes nothing (full, removed?), tried again every minute; lost so far: {} rows, 0 clips damaged"
AGAIN = "card: takes files again; lost so far: {} rows, 0 clips damaged"


def test_a_card_that_comes_goes_and_comes_back_is_mounted_anew(tmp_path):
    said, labels, lost = card(tmp_path, "amsel", "i", "bee", "o", "cat", "i", "dog", inserted=False)
    assert said == ["start 0", AGAIN.format(1), NOTHING.format(2), AGAIN.format(2)]
    assert labels == ["bee", "dog"] and lost == (2, 0)


def test_a_full_card_keeps_no_half_row(tmp_path):
    said, labels, lost = card(tmp_path, "amsel", "r120", "bee", "r-1", "cat")
    assert said == ["start 1", NOTHING.format(1), AGAIN.format(1)]
    assert labels == ["amsel", "cat"] and lost == (1, 0)


def test_a_full_card_keeps_no_half_header(tmp_path):
    assert card(tmp_path, "r20", "amsel", "r-1", "bee")[1:] == (["bee"], (1, 0))


def wifi(tmp_path, *steps):
    lines = run(tmp_path, WIFI, WIFI_PROGRAM, ["-DCHEEP_MQTT"], steps)
    return [line.removeprefix("net: Wi-Fi barn: ") for line in lines]


def test_each_trouble_of_the_access_point_is_said_once(tmp_path):
    """A wrong password gives reasons in turn, every two seconds."""
    *said, last = wifi(tmp_path, "15", "t", "2", "t", "15", "t", "2", "t", "204", "j", "a", "j", "a", "200", "t", "200")
    assert [line.split(" (")[0] for line in said] == [
        "the password is refused",
        "the access point does not take it",
        "connected",
        "online",
        "online",
        "connection lost",
    ]
    assert last == "tries 6, alarm 2 s"
    assert "older than WPA2" in wifi(tmp_path, "211")[0]
    assert "no such network" in wifi(tmp_path, "201")[0]


def test_an_access_point_that_gives_no_address_is_named(tmp_path):
    assert wifi(tmp_path, "j")[-1] == "tries 1, alarm 20 s"
    said = wifi(tmp_path, "j", "t", "8", "t", "j", "t", "a")
    assert [line.split(" (")[0] for line in said[:-1]] == [
        "joined, but no address comes",
        "connection lost",
        "connected",
        "online",
    ]
    assert said[-1] == "tries 2, alarm 0 s"
