# SPDX-License-Identifier: MIT
"""What of the ESP32's own code runs without ESP-IDF: pins by chip, unwanted restarts, leftovers in sdkconfig."""

from __future__ import annotations

import re
import subprocess

import pytest

from cheep.ccore import find_compiler
from cheep.resources import firmware_root

SOURCES = firmware_root() / "esp32" / "src"
#: Of ESP-IDF's headers, what restart_esp32.c takes.
STAND_INS = {
    "esp_attr.h": "#define RTC_NOINIT_ATTR\n",
    "esp_system.h": "typedef enum { ESP_RST_POWERON, ESP_RST_SW, ESP_RST_PANIC, ESP_RST_INT_WDT, ESP_RST_TASK_WDT, "
    "ESP_RST_WDT, ESP_RST_BROWNOUT } esp_reset_reason_t;\nesp_reset_reason_t esp_reset_reason(void);\n",
}
STARTS = r"""
#include "restart_esp32.c"
static esp_reset_reason_t reason;
esp_reset_reason_t esp_reset_reason(void) { return reason; }
int main(int count, char **arguments)
{
    kept.mark = 0xa5a5a5a5u; kept.faults = 7; /* what the memory holds when power comes */
    for (int i = 1; i < count; i++) {
        if (arguments[i][0] == 's') { restart_settled(); continue; }
        reason = (esp_reset_reason_t)(arguments[i][0] - '0');
        printf("%s\n", restart_is_calm() ? "calm" : "bare");
    }
    return 0;
}
"""
POWER_ON, PANIC, TASK_WATCHDOG, BROWNOUT = "0", "2", "4", "6"


def build(tmp_path, source):
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "main.c").write_text(source)
    command = [*find_compiler(), "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", f"-I{SOURCES}"]
    subprocess.run([*command, str(tmp_path / "main.c"), "-o", str(tmp_path / "a")], check=True)
    return tmp_path / "a"


def test_the_third_fault_in_a_row_starts_without_what_may_cause_it(tmp_path):
    program = build(tmp_path, STARTS)

    def starts(*reasons):
        lines = subprocess.run([program, *reasons], capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if not line.startswith("restart:")], lines

    calm, lines = starts(POWER_ON, BROWNOUT, BROWNOUT, BROWNOUT, BROWNOUT)
    assert calm == ["calm", "calm", "calm", "bare", "calm"]
    assert sum("brown-out" in line for line in lines) == 4
    assert starts(BROWNOUT, PANIC, "s", TASK_WATCHDOG, PANIC)[0] == ["calm"] * 4  # between them it ran for a minute
    assert starts(POWER_ON, POWER_ON) == (["calm"] * 2, ["calm"] * 2)


@pytest.mark.parametrize(
    ("target", "riscv", "flash"),
    [
        ("ESP32", False, range(6, 12)),
        ("ESP32S3", False, range(26, 33)),
        ("ESP32C3", True, range(12, 18)),
        ("ESP32C6", True, range(24, 31)),
    ],
)
def test_no_pin_is_one_of_the_flash(target, riscv, flash, tmp_path):
    """A plain ``idf.py build`` has no pins of an environment: the chip's own defaults must be right."""
    (tmp_path / "sdkconfig.h").write_text(
        f"#define CONFIG_IDF_TARGET_{target} 1\n" + ("#define CONFIG_IDF_TARGET_ARCH_RISCV 1\n" if riscv else "")
    )
    names = re.findall(r"#define (CHEEP_PIN_(?!SD)\w+) ", (SOURCES / "board_config.h").read_text())
    assert len(names) == 6
    text = '#include "board_config.h"\n' + "".join(f"{name}_IS {name}\n" for name in names)
    (tmp_path / "pins.c").write_text(text)
    command = [*find_compiler(), "-E", "-P", f"-I{tmp_path}", f"-I{SOURCES}", str(tmp_path / "pins.c")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pins = dict(re.findall(r"(CHEEP_PIN_\w+)_IS (-?\d+)", printed))
    assert sorted(pins) == sorted(names)
    assert not {int(pin) for pin in pins.values()} & set(flash), pins
    assert len({pins[f"CHEEP_PIN_I2S_{name}"] for name in ("SCK", "WS", "SD")}) == 3


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["-DCHEEP_MQTT=ON", "-DCONFIG_PARTITION_TABLE_CUSTOM_FILENAME=partitions.csv"], True),
        (["-DCHEEP_MQTT=ON", "-DCONFIG_PARTITION_TABLE_CUSTOM_FILENAME=partitions-mqtt.csv"], False),
        (["-DCHEEP_SD=ON"], True),
        (["-DCHEEP_SD=ON", "-DCONFIG_FATFS_LFN_HEAP=y"], False),
        ([], False),
    ],
)
def test_an_sdkconfig_of_another_build_is_refused(arguments, refused, tmp_path):
    (tmp_path / "a.cmake").write_text(
        "".join(
            f"function({name})\nendfunction()\n"
            for name in ("idf_component_register", "target_compile_definitions", "idf_component_optional_requires")
        )
        + f'include("{SOURCES / "CMakeLists.txt"}")\n'
    )
    command = ["cmake", *arguments, "-P", str(tmp_path / "a.cmake")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == refused, done.stderr
    assert ("remove it" in done.stderr) == refused
