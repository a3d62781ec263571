# SPDX-License-Identifier: MIT
"""A device's rows and clips against the host: a card as the emulated Cortex-M4F's events make it."""

from __future__ import annotations

import json

import pytest
import soundfile

from cheep import cli
from cheep.bench.application import run_emulated
from cheep.config import FeatureConfig
from cheep.device.bundle import load_bundle
from cheep.emulator import M4F
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.season.prove import prove_card
from tone_model import LABELS, tones, write_tone_run

pytestmark = pytest.mark.skipif(bool(M4F.missing()), reason="needs arm-none-eabi-gcc and qemu-system-arm")
RATE, CLIP_S = 8000, 4
SOUND = tones([(0.2, 0.9, "low"), (5, 5.6, "high"), (9.1, 9.7, "low"), (9.3, 10, "high"), (14, 19, "low")], 22)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("run") / "one", logits="logit")


@pytest.fixture(scope="module")
def events(run):
    lines = map(json.loads, run_emulated(load_export(run), [SOUND]))
    return [line for line in lines if line["type"] == "event" and line["state"] == "end"]


@pytest.fixture
def card(events, tmp_path):
    """What main.c of the AudioMoth writes: a row at an event's end, a clip from a second before its start."""
    rows, clip_end, name = ["utc,label,score,duration_s,temperature_c,battery_v,clip"], -1.0, ""
    for event in sorted(events, key=lambda e: e["start_s"]):
        start = event["start_s"]
        if start >= clip_end:
            begin = max(0.0, start - 1)
            clip_end, name = begin + CLIP_S, f"20260520_0530{int(begin):02d}.WAV"
            clip = SOUND[round(begin * RATE) : round(clip_end * RATE)]
            soundfile.write(tmp_path / name, clip, RATE, subtype="PCM_16")
        rows.append(
            f"2026-05-20T05:30:{start:06.3f}Z,{event['label']},{event['score']:.6f},"
            f"{event['end_s'] - start:.3f},21.5,4.2,{name}"
        )
    (tmp_path / "20260520.CSV").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_the_rows_of_the_emulated_device_are_proven(card, run, events, capsys):
    found = [item.verdict for item in prove_card(card, load_bundle(run))]
    assert len(found) == len(events) >= 5
    assert found.count("same") >= 4
    assert set(found) == {"same", "cut"}  # the long call goes on behind its clip
    assert cli.main("season", ["prove", str(card), "--run", str(run)]) == 0
    assert "proven for" in capsys.readouterr().out


def test_a_digit_or_a_sample_that_differs_is_found(card, run, capsys):
    rows = (card / "20260520.CSV").read_text().splitlines()
    fields = rows[2].split(",")
    fields[2] = f"{float(fields[2]) - 2e-6:.6f}"
    (card / "20260520.CSV").write_text("\n".join([*rows[:2], ",".join(fields), *rows[3:]]) + "\n")
    assert cli.main("season", ["prove", str(card), "--run", str(run)]) == 1
    told = capsys.readouterr()
    assert "20260520.CSV:3:" in told.out and "1 rows are not what this model gives" in told.err


def test_another_model_than_the_devices_is_found(card, tmp_path):
    other = write_tone_run(tmp_path / "other", labels=(LABELS[0], LABELS[2], LABELS[1]))
    assert "differs" in {item.verdict for item in prove_card(card, load_bundle(other))}


def test_what_cannot_be_proven_is_said(card, run, tmp_path, capsys):
    for path in card.glob("*.WAV"):
        path.write_bytes(b"RIFF")
    assert cli.main("season", ["prove", str(card), "--run", str(run)]) == 1
    assert "nothing was compared" in capsys.readouterr().err
    pcen = write_tone_run(tmp_path / "pcen", FeatureConfig(compression="pcen"))
    with pytest.raises(CheepError, match=r"features \(pcen\) with a memory"):
        prove_card(card, load_bundle(pcen))
    (card / "20260520.CSV").write_text("utc,label\n")
    with pytest.raises(CheepError, match="must begin with the columns"):
        prove_card(card, load_bundle(run))
    (card / "20260520.CSV").unlink()
    with pytest.raises(CheepError, match="no rows of a device"):
        prove_card(card, load_bundle(run))
