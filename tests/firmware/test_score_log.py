# SPDX-License-Identifier: MIT
"""The AudioMoth's score log: its blocks, power cuts, and the season that reads it."""

from __future__ import annotations

import ctypes
import datetime
import random

import numpy as np
import pytest

from cheep import emulator
from cheep.ccore import compile_shared
from cheep.cli import main
from cheep.datasets.score_log import read_score_log
from cheep.device.bundle import load_bundle
from cheep.resources import firmware_root, include_dir, source_dir
from cheep.season import Season
from recorder_files import put, wav
from tone_model import tones, write_tone_run

SOURCE = firmware_root() / "audiomoth" / "src"
COMMON = [source_dir() / f"cheep_{name}.c" for name in ("crc32", "text")]
FILES = [SOURCE / "field_scores.c", source_dir() / "field_time.c", *COMMON]
WRITE = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)
UTC = int(datetime.datetime(2026, 5, 20, 5, 30, tzinfo=datetime.timezone.utc).timestamp())


class About(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("model", "utc", "utc_ms", "sample_rate_hz", "stride_samples")),
        *((name, ctypes.c_uint32) for name in ("id_high", "id_low", "battery_mv")),
        ("temperature_mc", ctypes.c_int32),
        ("labels", ctypes.c_uint8),
    ]


class Log(ctypes.Structure):
    _fields_ = [
        ("about", About), ("write", WRITE), ("context", ctypes.c_void_p), ("first", ctypes.c_uint32),
        ("windows", ctypes.c_uint16), ("room", ctypes.c_uint16), ("lost", ctypes.c_uint32),
        ("block", ctypes.c_uint8 * 512),
    ]  # fmt: skip


class Device:
    """A log on a card of bytes; ``takes``: whether the card takes the next block."""

    def __init__(self, library, about):
        self.library, self.card, self.takes = library, bytearray(), lambda: True
        self.log, self._write = Log(), WRITE(self._append)
        library.field_scores_init(ctypes.byref(self.log), ctypes.byref(about), self._write, None)

    def _append(self, _context, block):
        if not self.takes():
            return False
        self.card += ctypes.string_at(block, 512)
        return True

    def add(self, sample, scores):
        self.library.field_scores_add(ctypes.byref(self.log), ctypes.c_uint64(sample), scores.tobytes())

    def finish(self):
        self.library.field_scores_finish(ctypes.byref(self.log))


@pytest.fixture(scope="module")
def library():
    return ctypes.CDLL(
        str(compile_shared(FILES, [include_dir(), SOURCE], flags=["-Werror"], name="cheep_field_scores"))
    )


def about(labels=3, **values):
    base = {
        "model": 0x89ABCDEF, "utc": UTC, "utc_ms": 250, "sample_rate_hz": 8000, "stride_samples": 4000,
        "id_high": 0x24F31905, "id_low": 0x5FDF2F5B, "battery_mv": 4249, "temperature_mc": -3160, "labels": labels,
    }  # fmt: skip
    return About(**{**base, **values})


def read(tmp_path, data):
    path = tmp_path / "20260520.CHS"
    path.write_bytes(data)
    return read_score_log(path)


@pytest.mark.parametrize("labels", [1, 3, 64])
def test_what_is_logged_is_read(library, tmp_path, labels):
    scores = np.random.default_rng(labels).integers(-128, 128, (1000, labels)).astype(np.int8)
    device = Device(library, about(labels))
    for i, row in enumerate(scores):
        device.add(4000 * i + (800_000 if i >= 700 else 0), row)  # samples were lost before the 700th
    device.finish()
    assert len(device.card) % 512 == 0 and len(device.card) < 1000 * labels * 512 / 448 + 2 * 512 + 1000
    log = read(tmp_path, bytes(device.card))
    assert (log.lost_bytes, log.newer, len(log.stretches)) == (0, 0, 2)
    first, second = log.stretches
    assert np.array_equal(first.scores, scores[:700]) and np.array_equal(second.scores, scores[700:])
    assert (first.model, first.device) == ("89abcdef", "24F319055FDF2F5B")
    assert (first.battery_v, first.temperature_c) == (4.249, -3.2)
    assert first.start.isoformat() == "2026-05-20T05:30:00.250000+00:00"
    assert (second.start - first.start).total_seconds() == 700 * 0.5 + 100
    name = ctypes.create_string_buffer(32)
    library.field_name_scores(name, ctypes.c_uint32(UTC))
    assert name.value == b"20260520.CHS"


def test_a_power_cut_leaves_whole_blocks(library, tmp_path):
    """500 lives on one file, each ended amid a block or amid its writing: what was written whole is read, all of it."""
    rng = random.Random(27)
    card, expected, torn = bytearray(), {}, 0
    for life in range(500):
        device = Device(library, about(4, utc=UTC + 3600 * life))
        n = rng.randint(0, 400)
        scores = np.frombuffer(rng.randbytes(4 * n), np.int8).reshape(n, 4)
        for i, row in enumerate(scores):
            device.add(4000 * i, row)
        if rng.random() < 0.2:
            device.finish()
        cut = rng.randint(0, min(511, len(device.card))) if rng.random() < 0.5 else 0
        whole = (len(device.card) - cut) // 512
        kept = scores[: whole * (464 // 4)]
        if len(kept):
            expected[UTC + 3600 * life] = kept
        card += device.card[: len(device.card) - cut]
        torn += (len(device.card) - cut) % 512
    log = read(tmp_path, bytes(card))
    assert torn > 10_000 and log.lost_bytes == torn
    found = {int(item.start.timestamp()): item.scores for item in log.stretches}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_damaged_blocks_are_left_out_and_counted(library, tmp_path):
    device = Device(library, about(1))
    for i in range(464 * 5):
        device.add(4000 * i, np.array([i % 100], np.int8))
    assert len(device.card) == 4 * 512  # the fifth waits
    device.finish()
    for bit in random.Random(1).sample(range(512 * 8), 200):
        damaged = bytearray(device.card)
        damaged[512 + bit // 8] ^= 1 << bit % 8
        log = read(tmp_path, bytes(damaged))
        assert (log.blocks, log.lost_bytes) == (4, 512)
        assert [len(item.scores) for item in log.stretches] == [464, 3 * 464]
    twice = read(tmp_path, bytes(device.card * 2))
    assert [len(item.scores) for item in twice.stretches] == [5 * 464]
    rng = random.Random(2)
    for _ in range(300):  # anything
        data = rng.randbytes(rng.randint(0, 1500)).replace(b"\0", b"CHSL")
        assert read(tmp_path, data).stretches == ()


def test_blocks_that_the_card_does_not_take_are_counted(library, tmp_path):
    device = Device(library, about(1))
    answers = iter([True, False, True, True])
    device.takes = lambda: next(answers)
    for i in range(464 * 4):
        device.add(4000 * i, np.array([1], np.int8))
    device.finish()
    assert device.log.lost == 1
    assert [len(item.scores) for item in read(tmp_path, bytes(device.card)).stretches] == [464, 928]


PROGRAM = r"""
#include "emulator.h"
#include "field_scores.h"
static int file;
static field_scores scores;
static bool put(void *context, const uint8_t block[FIELD_BLOCK_BYTES])
{
    (void)context;
    emulator_write(file, block, FIELD_BLOCK_BYTES);
    return true;
}
int main(void)
{
    char path[256];
    const field_scores_about about = {0x89ABCDEFu, UTC, 250, 8000, 4000, 0x24F31905u, 0x5FDF2F5Bu, 4249, -3160, 3};
    file = emulator_open_write(emulator_arguments(path, sizeof path));
    field_scores_init(&scores, &about, put, NULL);
    for (uint32_t i = 0; i < 2000; i++) {
        const int8_t row[3] = {(int8_t)(i * 7u), (int8_t)(i >> 3), (int8_t)(200u - i)};
        field_scores_add(&scores, 4000u * i + (i >= 900u ? 12345u : 0u), row);
    }
    field_scores_finish(&scores);
    emulator_close(file);
    emulator_report("stack", emulator_stack_peak_bytes());
    emulator_exit(0);
}
"""


def test_the_emulated_core_writes_the_same_bytes(library, tmp_path):
    (tmp_path / "main.c").write_text(PROGRAM.replace("UTC", f"{UTC}u"))
    elf = emulator.build_elf([tmp_path / "main.c", *FILES], tmp_path / "a.elf", include_dirs=[include_dir(), SOURCE])
    run = emulator.run_elf(elf, [str(tmp_path / "card.CHS")])
    device = Device(library, about(3))
    for i in range(2000):
        row = np.array([i * 7, i >> 3, 200 - i], np.int64).astype(np.int8)
        device.add(4000 * i + (12345 if i >= 900 else 0), row)
    device.finish()
    assert (tmp_path / "card.CHS").read_bytes() == device.card
    assert run.values["stack"] < 1024


# The season


def test_a_season_takes_what_a_device_has_heard(library, tmp_path, capsys):
    """A log with the scores of a sound gives the detections of the sound; once, with gaps, and beside recordings."""
    run = write_tone_run(tmp_path / "run")
    bundle = load_bundle(run)
    pcm = tones([(1.0, 1.6, "high"), (3.0, 3.6, "low")], 6.0, 1)
    rate = bundle.features.sample_rate_hz
    stride = round(bundle.stride_s * rate)
    card = tmp_path / "cards" / "ridge"
    put(card / "20260520_053000.wav", wav(pcm))
    season = tmp_path / "season"
    assert main("scan", [str(card), "--season", str(season), "--model", str(run)]) == 0
    heard = Season(season)
    row = heard.recordings().to_pylist()[0]
    scores = heard.scores(heard.model(), row)
    expected = [(r["label"], r["start_s"], r["end_s"], r["peak_sum"]) for r in heard.detections().to_pylist()]
    assert len(expected) == 2
    facts = {
        "model": int(bundle.model.sha256[:8], 16), "sample_rate_hz": rate, "stride_samples": stride,
    }  # fmt: skip
    device = Device(library, about(len(bundle.labels), **facts))
    for i, values in enumerate(scores):
        device.add(stride * i, values)
    device.finish()
    other = Device(library, about(len(bundle.labels), **{**facts, "model": 1}))
    other.add(0, scores[0])
    other.finish()
    put(card / "20260520.CHS", bytes(device.card[:512]) + b"torn" + bytes(device.card[512:]) + bytes(other.card))
    logs = tmp_path / "logs"
    put(logs / "creek" / "20260520.CHS", (card / "20260520.CHS").read_bytes())
    capsys.readouterr()
    assert main("scan", [str(logs), "--season", str(tmp_path / "second"), "--model", str(run)]) == 0
    said = capsys.readouterr()
    assert "1 windows of the network 00000001, not" in said.err and "4 bytes are of no whole block" in said.err
    second = Season(tmp_path / "second")
    rows = second.recordings().to_pylist()
    assert [(r["site"], r["device"], r["container"], r["status"]) for r in rows] == [
        ("creek", "24F319055FDF2F5B", "CHSL", "ok")
    ]
    assert rows[0]["start_utc"].isoformat() == "2026-05-20T05:30:00.250000+00:00"
    assert (rows[0]["battery_v"], rows[0]["temperature_c"]) == (pytest.approx(4.249), pytest.approx(-3.2))
    assert np.array_equal(second.scores(second.model(), rows[0]), scores)
    found = [(r["label"], r["start_s"], r["end_s"], r["peak_sum"]) for r in second.detections().to_pylist()]
    assert found == expected
    # again: nothing new; beside recordings, in one scan; no suffix is called passed over
    before = {path: path.read_bytes() for path in (tmp_path / "second").rglob("*.parquet")}
    assert main("scan", [str(logs), "--season", str(tmp_path / "second"), "--model", str(run)]) == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "second").rglob("*.parquet")}
    capsys.readouterr()
    assert main("scan", [str(card), "--season", str(season), "--model", str(run)]) == 0
    assert "passed over" not in capsys.readouterr().err
    assert sorted(r["container"] for r in Season(season).recordings().to_pylist()) == ["CHSL", "WAV"]
