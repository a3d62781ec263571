# SPDX-License-Identifier: MIT
"""firmware/net: queue and update against power cuts; the host build against a real mosquitto."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cheep.resources import firmware_root, include_dir, source_dir
from mqtt_broker import MOSQUITTO, REASON

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from check_mqtt import HOST_SOURCES, build_host, campaign

NET = firmware_root() / "net"
CUTS = Path(__file__).parents[1] / "c" / "test_net.c"
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
STRICT = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror")
INCLUDES = [f"-I{include_dir()}", f"-I{NET / 'include'}", f"-I{NET / 'host'}"]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_it_compiles_without_a_warning(compiler, tmp_path):
    for path in [*sorted((NET / "src").glob("*.c")), *sorted((NET / "host").glob("*.c"))]:
        subprocess.run([compiler, *STRICT, *INCLUDES, "-c", path, "-o", tmp_path / "o"], check=True)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    program = tmp_path_factory.mktemp("net") / "test_net"
    sources = [CUTS, NET / "src" / "cheep_queue.c", NET / "src" / "cheep_update.c", source_dir() / "cheep_crc32.c"]
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", *STRICT, "-g", *checks, *INCLUDES, *sources, "-o", program], check=True)
    return program


@pytest.mark.parametrize("what", ["queue", "update"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_thousand_power_cuts(cuts, what, seed):
    result = subprocess.run([cuts, what, "1000", str(seed)], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["cuts"] == 1000


@pytest.fixture(scope="module")
def order(tmp_path_factory):
    program = tmp_path_factory.mktemp("order") / "order"
    source = program.with_suffix(".c")
    source.write_text(
        '#include <stdio.h>\n#include <string.h>\n#include "cheep_update.h"\n'
        "int main(int n, char **a) { cheep_update_order o; (void)n;\n"
        "  if (cheep_update_read(a[1], (uint32_t)strlen(a[1]), &o) != CHEEP_OK) return 1;\n"
        '  printf("%u %08x %s", o.bytes, o.crc32, o.url); return 0; }\n'
    )
    sources = [source, NET / "src" / "cheep_update.c", source_dir() / "cheep_crc32.c"]
    subprocess.run(["gcc", *STRICT, *INCLUDES, *sources, "-o", program], check=True)
    return program


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("1048576 0123abcd https://host/a.bin", True),
        ("4294967295 ffffffff https://h", True),
        ("4294967296 ffffffff https://h", False),
        ("0 0123abcd https://host/a.bin", False),
        ("1 0123abcd http://host/a.bin", False),
        ("1 0123abcd https://", False),
        ("1 0123abc https://host", False),
        ("1 0123ABCD https://host", False),
        ("1 0123abcd https://ho st", False),
        ("1 0123abcd https://" + "x" * 250, False),
        ("", False),
        ("99999999999 0123abcd https://host", False),
    ],
)
def test_orders_of_an_update(order, text, good):
    result = subprocess.run([order, text], capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == good
    assert not good or result.stdout == text


@pytest.mark.skipif(MOSQUITTO is None, reason=REASON)
@pytest.mark.parametrize("kind", ["host", "bridge"])
def test_outages_cuts_and_resets_in_short(tmp_path, kind):
    pytest.importorskip("paho.mqtt", reason="requirements-mqtt.txt is optional")
    found = campaign(kind, tmp_path, events=60, outages=3, cuts=5, resets=3, seed=2)
    assert found["arrived"] == found["events"] == 60 and found["missing"] == found["doubled"] == 0
    assert (found["outages"], found["resets"]) == (3, 3) and found["cuts"] >= 3


def test_the_host_build_is_the_boards_code(tmp_path):
    assert {path.name for path in HOST_SOURCES if path.parent.name == "src"} >= {
        "cheep_queue.c", "cheep_uplink.c", "cheep_uplink_json.c", "cheep_update.c"
    }  # fmt: skip
    program = build_host(tmp_path)
    assert subprocess.run([program], check=False, capture_output=True).returncode == 2
