# SPDX-License-Identifier: MIT
"""Twenty-odd kinds of damaged files inside a season: each is named with its status, and what is whole is scanned."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cheep.cli import main
from cheep.season import Season
from recorder_files import chunk, moth, put, silence_block, wav
from tone_model import FEATURES, tones, write_tone_run

RATE = FEATURES.sample_rate_hz
SOUND = tones([(1.0, 1.6, "high"), (3.0, 3.6, "low")], 5)


def encoded(kind, pcm=SOUND, rate=RATE, **more):
    out = io.BytesIO()
    soundfile.write(out, pcm, rate, format=kind, **more)
    return out.getvalue()


def other(seed):
    """The same two tones in other noise: no copy of another file."""
    return tones([(1.0, 1.6, "high"), (3.0, 3.6, "low")], 5, seed)


def truncated(data, part=0.5):
    return data[: int(len(data) * part)]


def overwritten(data, first, value=0):
    """From ``first`` on (a part of the length), all bytes are ``value``: a card that died."""
    at = int(first * len(data))
    return data[:at] + bytes([value]) * (len(data) - at)


def with_rate(data, rate):
    return data[:24] + struct.pack("<I", rate) + data[28:]


def floats(values):
    body = np.asarray(values, "<f4").tobytes()
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 3, 1, RATE, 4 * RATE, 4, 32))
    rest = b"WAVE" + form + chunk(b"data", body)
    return b"RIFF" + struct.pack("<I", len(rest)) + rest


def damaged():
    """Name -> (bytes, status, part of the reason)."""
    nan = SOUND.astype(np.float32) / 32768
    nan[3 * RATE] = np.nan
    rng = np.random.default_rng(1)
    return {
        "empty.wav": (b"", "empty", "0 bytes"),
        "header_only.wav": (wav([]), "empty", "no samples"),
        "half_a_header.wav": (wav(SOUND)[:20], "unreadable", ""),
        "zeros_for_bytes.wav": (bytes(40_000), "unreadable", ""),
        "zeros_for_samples.wav": (moth(np.zeros(5 * RATE, "<i2")), "silent", "exact zeros"),
        "ones_for_bytes.wav": (b"\xff" * 40_000, "unreadable", ""),
        "noise.wav": (rng.bytes(40_000), "unreadable", ""),
        "text.wav": (b"this is no sound\n" * 100, "unreadable", ""),
        "truncated.wav": (truncated(moth(other(2))), "partial", "promises"),
        "no_sizes.wav": (wav(other(3), riff=0, data=0), "ok", "power"),
        "size_of_a_pipe.wav": (wav(other(4), riff=0xFFFFFFFF, data=0xFFFFFFFF), "ok", ""),
        "tail_of_zeros.wav": (overwritten(moth(other(5)), 0.5), "ok", ""),
        "eight_bits.wav": (encoded("WAV", subtype="PCM_U8"), "unreadable", "8-bit"),
        "rate_of_zero.wav": (with_rate(wav(SOUND), 0), "unreadable", "rate of 0"),
        "nan.wav": (floats(nan), "unreadable", "NaN"),
        "truncated.flac": (truncated(encoded("FLAC", other(6), subtype="PCM_16"), 0.6), "partial", ""),
        "zeroed.flac": (overwritten(encoded("FLAC", other(7), subtype="PCM_16"), 0.6), "partial", ""),
        "flac_header_only.flac": (encoded("FLAC", other(8))[:60], "unreadable", ""),
        "truncated.ogg": (truncated(encoded("OGG", other(9)), 0.1), "unreadable", ""),
        "truncated.mp3": (truncated(encoded("MP3", other(10))), "partial", "promises"),
        "noise.mp3": (rng.bytes(20_000), "unreadable", ""),
        "wrong_suffix.wav": (encoded("FLAC", other(11)), "ok", ""),
        "triggered_20240601_050000T.WAV": (
            moth(np.concatenate([other(12), silence_block(1 << 31)])), "partial", "block for silence"),
        "impossible_header.wav": (moth(other(13)).replace(b"05:00:00 01/06", b"05:61:00 41/06"), "ok", "41/06"),
        "shorter_than_a_window.wav": (wav(SOUND[:400]), "ok", ""),
    }  # fmt: skip


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A season of damaged files among whole ones; (season, exit status, folder)."""
    top = tmp_path_factory.mktemp("damage")
    model = write_tone_run(top / "run")
    for name, (data, _, _) in damaged().items():
        put(top / "card" / name, data)
    for i in range(3):
        put(top / f"card/whole{i}.wav", wav(other(100 + i)))
    put(top / "card/copy_of_whole0.wav", wav(other(100)))
    put(Path(os.fsdecode(os.fsencode(top / "card") + b"/K\xe4uze/1 \xff.wav")), wav(other(200)))
    (top / "card/link.wav").symlink_to(top / "nowhere")
    (top / "card/folder.wav").mkdir()
    os.mkfifo(top / "card/pipe.wav")
    status = main("scan", [str(top / "card"), "--season", str(top / "season"), "--model", str(model), "--jobs", "1"])
    return Season(top / "season"), status, top


@pytest.fixture(scope="module")
def rows(scanned):
    return {row["path"]: row for row in scanned[0].recordings().to_pylist()}


@pytest.mark.parametrize("name", damaged())
def test_each_kind_of_damage_is_named(rows, name):
    _, status, reason = damaged()[name]
    row = rows[name]
    assert (row["status"], reason in row["reason"]) == (status, True), row["reason"]
    assert row["reason"] or status == "ok"
    assert str(Path(row["folder"])) not in row["reason"]  # the path has its own column


def test_nothing_is_lost(scanned, rows):
    season, status, top = scanned
    assert status == 0
    listed = {path.name for path in (top / "card").iterdir()} - {"folder.wav", "pipe.wav", os.fsdecode(b"K\xe4uze")}
    latin = "K\\xe4uze/1 \\xff.wav"  # names from a system that does not write UTF-8
    assert set(rows) == listed | {latin} and len(damaged()) > 20
    assert (rows[latin]["status"], rows[latin]["site"]) == ("ok", "K\\xe4uze")
    assert rows["link.wav"]["status"] == "vanished"
    assert {rows[name]["status"] for name in ("whole0.wav", "copy_of_whole0.wav")} == {"ok", "duplicate"}
    found = season.detections().to_pylist()
    by_file = {name: [item for item in found if item["recording"] == row["recording"]] for name, row in rows.items()}
    for i in range(1, 3):
        assert [item["label"] for item in by_file[f"whole{i}.wav"]] == ["high", "low"]
    assert [item["label"] for item in by_file["no_sizes.wav"]] == ["high", "low"]
    assert [item["label"] for item in by_file["truncated.wav"]] == ["high"]
    assert rows["truncated.wav"]["length_s"] == pytest.approx(2.5, abs=0.1)
    assert not any(by_file[name] for name, row in rows.items() if row["status"] not in ("ok", "partial"))


def test_what_is_damaged_is_not_read_again(scanned, capsys):
    season, _, top = scanned
    assert main("scan", [str(top / "card"), "--season", str(season.folder), "--model", str(top / "run")]) == 0
    assert "1 recording(s) to scan" in capsys.readouterr().out  # the link into the void
