# SPDX-License-Identifier: MIT
"""A device's rows and clips against the host: a card as the emulated Cortex-M4F's events make it."""

from __future__ import annotations

import json

import pytest
import soundfile

from cheep import cli
from cheep.bench.application import run_emulated
from cheep.config import FeatureConfig
from cheep.config.detector import GateConfig
from cheep.device.bundle import load_bundle
from cheep.device.scoring import WindowScorer, make_scorer
from cheep.emulator import M4F
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.season.prove import _without_gate, prove_card
from tone_model import DETECTOR, LABELS, tones, write_tone_run

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


def write_card(folder, events, sound, lead_s=1, clip_s=CLIP_S):
    """What main.c of the AudioMoth writes: a row at an event's end, a clip from a lead before its start."""
    rows, clip_end, name = ["utc,label,score,duration_s,temperature_c,battery_v,clip"], -1.0, ""
    for event in sorted(events, key=lambda e: e["start_s"]):
        start = event["start_s"]
        if start >= clip_end:
            begin = max(0.0, start - lead_s)
            clip_end, name = begin + clip_s, f"20260520_0530{int(begin):02d}.WAV"
            clip = sound[round(begin * RATE) : round(clip_end * RATE)]
            with soundfile.SoundFile(folder / name, "w", RATE, 1, "PCM_16") as file:
                if lead_s != 1:  # a firmware that has the setting says where the event begins
                    place = round((start - begin) * RATE)
                    file.comment = f"Cheep heard {event['label']} with score 0.9 at sample {place}."
                file.write(clip)
        rows.append(
            f"2026-05-20T05:30:{start:06.3f}Z,{event['label']},{event['score']:.6f},"
            f"{event['end_s'] - start:.3f},21.5,4.2,{name}"
        )
    (folder / "20260520.CSV").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def card(events, tmp_path):
    return write_card(tmp_path, events, SOUND)


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
    (card / "20260520.CSV").write_text("utc,label\n")
    with pytest.raises(CheepError, match="must begin with the columns"):
        prove_card(card, load_bundle(run))
    (card / "20260520.CSV").unlink()
    with pytest.raises(CheepError, match="no rows of a device"):
        prove_card(card, load_bundle(run))


BOTH = FeatureConfig(compression="both", n_mels=48)
CALLS = tones([(6, 6.7, "low"), (20, 20.8, "high"), (34, 34.7, "low")], 42)


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A device with levels and PCEN in its columns, and a gate: run and events."""
    gate = GateConfig(margin=6.0, idle=(-100, -100, -100), hold_windows=1)
    detector = DETECTOR.model_copy(update={"gate": gate})
    run = write_tone_run(tmp_path_factory.mktemp("run") / "both", BOTH, detector, logits="logit")
    lines = [json.loads(line) for line in run_emulated(load_export(run), [CALLS])]
    return run, [line for line in lines if line["type"] == "event" and line["state"] == "end"]


def test_rows_behind_pcen_and_a_gate_are_proven_where_the_clip_begins_early_enough(heard, tmp_path, capsys):
    run, events = heard
    assert len(events) == 3
    write_card(tmp_path, events, CALLS, lead_s=6, clip_s=9)
    assert {item.verdict for item in prove_card(tmp_path, load_bundle(run))} == {"same"}
    assert cli.main("season", ["prove", str(tmp_path), "--run", str(run)]) == 0
    assert "proven for 3 rows" in capsys.readouterr().out
    table = tmp_path / "20260520.CSV"
    table.write_text(table.read_text().replace(f"{events[1]['score']:.6f}", f"{events[1]['score'] - 3e-6:.6f}"))
    assert [item.verdict for item in prove_card(tmp_path, load_bundle(run))] == ["same", "differs", "same"]


def test_what_the_clip_does_not_know_of_its_past_is_no_proof(heard, tmp_path, capsys):
    run, events = heard
    write_card(tmp_path, events, CALLS)
    found = prove_card(tmp_path, load_bundle(run))
    assert [item.verdict for item in found].count("same behind some pasts, not all") == 2
    assert cli.main("season", ["prove", str(tmp_path), "--run", str(run)]) == 0
    told = capsys.readouterr().out
    assert "2 same behind some pasts" in told and "2 rows are no proof, but nothing speaks against them" in told
    table = tmp_path / "20260520.CSV"
    place = next(i for i, item in enumerate(found) if item.verdict != "same")
    lines = table.read_text().splitlines()
    for wrong, verdict in ((found[place].score - 2e-6, "between"), (0.999999, "undecided")):
        fields = lines[place + 1].split(",")
        changed = [*lines[: place + 1], ",".join([*fields[:2], f"{wrong:.6f}", *fields[3:]]), *lines[place + 2 :]]
        table.write_text("\n".join(changed) + "\n")
        assert prove_card(tmp_path, load_bundle(run))[place].verdict.startswith(verdict)


def test_what_is_only_listened_to_changes_no_score_behind_it(heard):
    """The network rests on what comes before the windows that are asked for; a gate hears it."""
    bundle = load_bundle(heard[0])
    for mine in (bundle, _without_gate(bundle)):
        scorer = WindowScorer(mine, make_scorer(mine, "compiled"))
        whole = scorer.push(CALLS)[1]
        scorer.reset()
        scorer.listen(CALLS[: 9 * RATE])
        rest = scorer.push(CALLS[9 * RATE :])[1]
        assert 0 < len(rest) < len(whole) and (rest == whole[-len(rest) :]).all()
