# SPDX-License-Identifier: MIT
"""Payloads for LoRa: the same bytes from C, Python and the script for The Things Network; what is refused, and why."""

from __future__ import annotations

import base64
import ctypes
import dataclasses
import json
import random
import shutil
import stat
import subprocess

import pytest

from cheep import cli
from cheep.ccore import compile_shared
from cheep.errors import CheepError
from cheep.lora import BYTES, KeyRing, LoraEvent, RefusedPayload, add_key, decode, encode, read_keys
from cheep.lora.payload import cmac
from cheep.resources import include_dir, package_file, source_dir

RFC_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC_MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52ef"
    "f69f2445df4f9b17ad2b417be66c3710"
)
RULES = ("ok", "length", "format", "device", "tag", "replay")
STORE = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint32)


class CEvent(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_uint32),
        ("counter", ctypes.c_uint32),
        ("time_s", ctypes.c_uint32),
        ("since_start", ctypes.c_bool),
        ("label", ctypes.c_uint8),
        ("model", ctypes.c_uint32),
        ("is_logit", ctypes.c_bool),
        ("score", ctypes.c_int32),
        ("duration_ms", ctypes.c_uint32),
        ("battery_mv", ctypes.c_uint32),
    ]


class CCounter(ctypes.Structure):
    _fields_ = [
        ("context", ctypes.c_void_p), ("store", STORE), ("next", ctypes.c_uint32), ("ceiling", ctypes.c_uint32),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def core():
    files = [source_dir() / "cheep_lora.c", source_dir() / "cheep_cmac.c"]
    library = ctypes.CDLL(str(compile_shared(files, [include_dir()], flags=["-Werror"], name="cheep_lora")))
    library.cheep_cmac.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    library.cheep_lora_encode.argtypes = [ctypes.POINTER(CEvent), ctypes.c_char_p, ctypes.c_char_p]
    library.cheep_lora_decode.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_char_p, ctypes.POINTER(ctypes.c_uint32),
        ctypes.POINTER(ctypes.c_bool), ctypes.POINTER(CEvent),
    ]  # fmt: skip
    library.cheep_lora_counter_init.argtypes = [ctypes.POINTER(CCounter), ctypes.c_uint32, STORE, ctypes.c_void_p]
    library.cheep_lora_counter_take.argtypes = [ctypes.POINTER(CCounter), ctypes.POINTER(ctypes.c_uint32)]
    library.cheep_lora_counter_take.restype = ctypes.c_bool
    return library


def c_cmac(core, key, data):
    tag = ctypes.create_string_buffer(16)
    core.cheep_cmac(key, data, len(data), tag)
    return tag.raw


def c_encode(core, event, key):
    payload = ctypes.create_string_buffer(BYTES)
    core.cheep_lora_encode(ctypes.byref(CEvent(*dataclasses.astuple(event))), key, payload)
    return payload.raw


def c_decode(core, payload, device, key, last=None):
    """Return (rule, event or None, last counter)."""
    counter, fresh, found = ctypes.c_uint32(last or 0), ctypes.c_bool(last is None), CEvent()
    result = core.cheep_lora_decode(
        payload, len(payload), device, key, ctypes.byref(counter), ctypes.byref(fresh), ctypes.byref(found)
    )
    event = LoraEvent(*(getattr(found, name) for name, _ in CEvent._fields_)) if result == 0 else None
    return RULES[result], event, None if fresh.value else counter.value


def random_event(rng):
    top = 2**32 - 1
    return LoraEvent(
        device=rng.randint(0, top),
        counter=rng.choice([0, top, rng.randint(0, top)]),
        time_s=rng.randint(0, top),
        since_start=rng.random() < 0.5,
        label=rng.randint(0, 255),
        model=rng.randint(0, top),
        is_logit=rng.random() < 0.5,
        score=rng.choice([rng.randint(-(2**31), 2**31 - 1), rng.randint(-20000, 20000), rng.randint(0, 1_000_000)]),
        duration_ms=rng.choice([rng.randint(0, 10000), rng.randint(0, top), rng.choice([0, 49, 50, 149, 150, top])]),
        battery_mv=rng.choice([0, 1, 9, 10, 29, 30, rng.randint(0, 6000), top]),
    )


EVENT = LoraEvent(0x2A, 7, 1_780_000_000, False, 1, 0x89ABCDEF, True, 6668, 980, 3710)


@pytest.mark.parametrize(
    ("n", "tag"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_the_vectors_of_rfc_4493(core, n, tag):
    assert c_cmac(core, RFC_KEY, RFC_MESSAGE[:n]).hex() == tag
    assert cmac(RFC_KEY, RFC_MESSAGE[:n]).hex() == tag


def test_tags_of_any_length_are_those_of_a_library(core):
    rng = random.Random(1)
    for n in range(200):
        key, data = rng.randbytes(16), rng.randbytes(n)
        assert c_cmac(core, key, data) == cmac(key, data), n


def test_c_and_python_make_and_read_the_same_bytes(core):
    """10,000 random events; and what was rounded comes back from both alike."""
    rng = random.Random(20261127)
    for _ in range(10_000):
        event, key = random_event(rng), rng.randbytes(16)
        payload = encode(event, key)
        assert len(payload) == 32
        assert c_encode(core, event, key) == payload, event
        read = decode(payload, event.device, key)
        assert c_decode(core, payload, event.device, key) == ("ok", read, event.counter)
        assert encode(read, key) == payload
        for name in ("device", "counter", "time_s", "since_start", "label", "model", "is_logit"):
            assert getattr(read, name) == getattr(event, name)
        assert read.score == max(-(2**23), min(2**23 - 1, event.score))
        assert abs(read.duration_ms - event.duration_ms) <= 50 or read.duration_ms == 6_553_500 < event.duration_ms
        assert (read.battery_mv == 0) == (event.battery_mv == 0)


def test_a_payload_stands_as_the_page_says():
    assert encode(EVENT, RFC_KEY).hex() == (
        "12" "0000002a" "00000007" "6a18a500" "01" "89abcdef" "001a0c" "000a" "ba" "b74f653d6053200e"
    )  # fmt: skip


def refused(core, payload, device=EVENT.device, key=RFC_KEY, last=None):
    """Return the rule by which both refuse a payload, and see that the receiver's counter stays."""
    with pytest.raises(RefusedPayload) as error:
        decode(payload, device, key, last)
    rule, event, counter = c_decode(core, payload, device, key, last)
    assert (rule, event, counter) == (error.value.rule, None, last)
    return rule


def test_what_is_tampered_with_foreign_or_sent_twice_is_refused(core):
    payload = encode(EVENT, RFC_KEY)
    for bit in range(8 * len(payload)):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << bit % 8
        expected = "device" if 8 <= bit < 40 else "tag"
        if bit < 8:
            expected = {0: "tag", 1: "tag"}.get(bit, "format")
        assert refused(core, bytes(changed)) == expected, bit
    assert refused(core, payload, key=bytes(16)) == "tag"
    assert refused(core, payload, device=0x2B) == "device"
    assert refused(core, payload, last=7) == "replay"
    assert refused(core, payload, last=8) == "replay"
    assert decode(payload, 0x2A, RFC_KEY, 6) == c_decode(core, payload, 0x2A, RFC_KEY, 6)[1]
    for n in (0, 1, 24, 31, 33, 64):
        assert refused(core, (payload * 2)[:n]) == "length"


def test_numbers_out_of_range_are_refused():
    for name, value in (("label", 256), ("counter", -1), ("device", 2**32)):
        with pytest.raises(CheepError, match=rf"^{name}={value}: must be 0 to"):
            encode(dataclasses.replace(EVENT, **{name: value}), RFC_KEY)
    with pytest.raises(CheepError, match="a key of 15 bytes"):
        encode(EVENT, bytes(15))


def test_a_counter_is_never_given_twice_whenever_the_power_fails(core):
    rng = random.Random(3)
    state = {"stored": 0, "stores": 0, "fails": False}
    given = []

    def keep(_context, ceiling):
        if state["fails"]:
            return False
        state["stored"], state["stores"] = ceiling, state["stores"] + 1
        return True

    store, number = STORE(keep), ctypes.c_uint32()
    for _ in range(300):  # lives, each ended by a power cut
        counter = CCounter()
        core.cheep_lora_counter_init(ctypes.byref(counter), state["stored"], store, None)
        for _ in range(rng.randint(0, 200)):
            state["fails"] = rng.random() < 0.1
            if core.cheep_lora_counter_take(ctypes.byref(counter), ctypes.byref(number)):
                given.append(number.value)
    assert len(given) > 10_000 and given == sorted(set(given))
    assert state["stores"] < len(given) / 64 + 300
    state["stored"], state["fails"] = 2**32 - 32, False
    core.cheep_lora_counter_init(ctypes.byref(counter), state["stored"], store, None)
    assert not core.cheep_lora_counter_take(ctypes.byref(counter), ctypes.byref(number))  # used up


def test_the_script_for_the_things_network_reads_what_python_reads(tmp_path):
    rng = random.Random(5)
    events = [random_event(rng) for _ in range(300)]
    payloads = [encode(event, RFC_KEY) for event in events]
    bad = [b"", payloads[0][:31], b"\x22" + payloads[0][1:], b"\x18" + payloads[0][1:]]
    script = package_file("lora", "ttn.js").read_text(encoding="utf-8")
    program = tmp_path / "run.js"
    program.write_text(
        script
        + "\nconst all = JSON.parse(require('fs').readFileSync(0, 'utf8'));\n"
        + "console.log(JSON.stringify(all.map(bytes => decodeUplink({ bytes, fPort: 2 }))));\n"
    )
    node = shutil.which("node")
    assert node, "no node: run make setup"
    given = json.dumps([list(payload) for payload in [*payloads, *bad]])
    done = subprocess.run([node, program], input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for event, payload, item in zip(events, payloads, found, strict=False):
        assert item["data"] == decode(payload, event.device, RFC_KEY).to_dict()
        assert "not proved" in item["warnings"][0]
    assert [list(item) for item in found[len(payloads) :]] == [["errors"]] * len(bad)


# The command


def run(capsys, *arguments):
    status = cli.main("lora", [str(item) for item in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_from_a_key_to_a_proved_event(tmp_path, capsys, monkeypatch):
    keys = tmp_path / "lora.json"
    assert run(capsys, "keys", keys, "2A")[0] == 0
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    made = [
        run(capsys, "encode", "--keys", keys, "--device", "2a", "--counter", counter, "--label", 1, "--logit", "6.668",
            "--utc", 1_780_000_000, "--duration", 0.98, "--battery", 3.7, "--model-id", "89abcdef")[1].strip()
        for counter in (7, 8, 9)
    ]  # fmt: skip
    status, out, err = run(capsys, "decode", "--keys", keys, made[0])
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "device": "0000002a", "counter": 7, "utc_s": 1_780_000_000, "label": 1, "model": "89abcdef", "logit": 6.668,
        "duration_s": 1.0, "battery_v": 3.7,
    }  # fmt: skip
    uplink = json.dumps({"uplink_message": {"frm_payload": base64.b64encode(bytes.fromhex(made[1])).decode()}})
    lines = [made[0], uplink, "zz!", '{"a": 1}', base64.b64encode(bytes.fromhex(made[2])).decode()]
    monkeypatch.setattr("sys.stdin", iter(lines))
    status, out, err = run(capsys, "decode", "--keys", keys)
    assert status == 1
    assert [json.loads(line)["counter"] for line in out.splitlines()] == [8, 9]
    assert "payload 1: refused (replay): device 0000002a: counter 7 after 7: sent before" in err
    assert "payload 3: refused (length)" in err and "payload 4: refused" in err and "3 payloads refused" in err
    assert KeyRing(keys).keys == read_keys(keys)
    secret = read_keys(keys)[0x2A].hex()
    assert secret not in out + err
    assert stat.S_IMODE((tmp_path / "lora.json.counters").stat().st_mode) == 0o600
    # a device that nobody knows; a device's new key, with which its counter starts anew
    other = tmp_path / "other.json"
    add_key(other, 0x2B)
    assert "no key of it in" in run(capsys, "decode", "--keys", other, made[0])[2]
    status, _, err = run(capsys, "keys", keys, "2a")
    assert status == 2 and "--replace" in err
    assert run(capsys, "keys", keys, "2a", "--replace")[0] == 0
    assert read_keys(keys)[0x2A].hex() != secret
    assert "refused (tag)" in run(capsys, "decode", "--keys", keys, made[2])[2]
    again = run(capsys, "encode", "--keys", keys, "--device", "2a", "--counter", 0, "--label", 1, "--score", "0.9")[1]
    assert run(capsys, "decode", "--keys", keys, again.strip())[0] == 0
    header = tmp_path / "lora_key.h"
    assert run(capsys, "keys", keys, "2a", "--header", header)[0] == 0
    assert stat.S_IMODE(header.stat().st_mode) == 0o600
    assert "#define CHEEP_LORA_DEVICE 0x0000002au" in header.read_text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "damaged JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "no file of keys"),
        ('{"format": "cheep lora keys", "devices": {"2a": "12"}}', "is not 32 hexadecimal digits"),
        ('{"format": "cheep lora keys", "devices": {"g": "00"}}', "is not 32"),
    ],
)
def test_a_file_of_keys_that_is_none(tmp_path, capsys, text, reason):
    keys = tmp_path / "keys"
    keys.write_text(text)
    keys.chmod(0o600)
    status, _, err = run(capsys, "decode", "--keys", keys, "00")
    assert status == 2 and reason in err
    keys.chmod(0o640)
    assert "others may read it (mode 0640); chmod 600" in run(capsys, "decode", "--keys", keys, "00")[2]
    assert "missing; make it with cheep lora keys" in run(capsys, "decode", "--keys", tmp_path / "no", "00")[2]


def test_the_script_is_written(tmp_path, capsys):
    script = package_file("lora", "ttn.js").read_text(encoding="utf-8")
    assert run(capsys, "ttn", "-o", tmp_path / "f.js")[0] == 0
    assert (tmp_path / "f.js").read_text(encoding="utf-8") == script
    assert run(capsys, "ttn")[1] == script
