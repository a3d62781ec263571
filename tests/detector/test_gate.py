# SPDX-License-Identifier: MIT
"""The gate before the network: it rests on noise, hears what rises above it, and is the same in every place."""

import dataclasses
import json

import numpy as np
import pytest

from cheep.boards.host import HostApplication
from cheep.cli import main
from cheep.config import DetectorConfig
from cheep.config.detector import GateConfig
from cheep.detector.gate import Gate, distances, on_sum
from cheep.device import Engine, load_bundle
from cheep.errors import CheepError
from cheep.evaluate.gating import choose_gate, opened
from cheep.evaluate.matching import Annotation
from cheep.evaluate.streaming import best_scorer, score_recording
from cheep.export import load_export, render_detector_settings
from cheep.season import Season
from compiled_application import compiled_application
from recorder_files import wav
from tone_model import DETECTOR, FEATURES, tones, write_tone_run

MARGIN = 14.0
IDLE = (10, -90, -90)
SPANS = [(20, 22, "high"), (40, 41.5, "low"), (58, 60, "high")]


def reference(columns, config, frames, stride):
    """Which windows reach the margin, in plain Python."""
    floor, kept, out = None, [], []
    for at, column in enumerate(columns.astype(int) * 64):
        part = column[config.first_band :]
        floor = part if floor is None else floor
        floor = floor + np.trunc((part - floor) / 2**config.floor_shift).astype(int)
        kept.append(int((part - floor).max()))
        if at + 1 >= frames and (at + 1 - frames) % stride == 0:
            out.append(sum(kept[-frames:]) >= on_sum(config, frames))
    return np.array(out)


@pytest.mark.parametrize("hold", [0, 1, 3])
def test_decisions_are_those_of_plain_integers(rng, hold):
    columns = np.clip(rng.normal(-60, 12, (400, 20)) + 40 * (rng.random((400, 1)) < 0.1), -128, 127).astype(np.int8)
    config = GateConfig(margin=20.5, idle=IDLE, first_band=3, floor_shift=5, hold_windows=hold)
    gate = Gate(config, 20, 12, 4)
    found = np.concatenate([gate.push(part) for part in np.array_split(columns, [1, 11, 12, 13, 100, 101])])
    distance = distances(columns, 12, 4, config)
    assert len(found) == (400 - 12) // 4 + 1 and 0.05 < found.mean() < 0.95
    np.testing.assert_array_equal(found, opened(distance, config))
    np.testing.assert_array_equal(distance >= config.margin, reference(columns, config, 12, 4))
    gate.reset()
    np.testing.assert_array_equal(gate.push(columns), found)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A run with a gate, and a recording with three calls in noise."""
    gate = GateConfig(margin=MARGIN, idle=IDLE, first_band=1)
    folder = write_tone_run(
        tmp_path_factory.mktemp("gated"), detector=DETECTOR.model_copy(update={"gate": gate}), logits="logit"
    )
    return folder, tones(SPANS, 80)


def test_every_place_rests_on_the_same_windows(gated, tmp_path):
    folder, pcm = gated
    bundle = load_bundle(folder)
    engine, every = Engine(bundle), Engine(_without_gate(bundle))
    blocks = [pcm[first : first + 3001] for first in range(0, len(pcm), 3001)]
    scores = np.array([w.scores for block in blocks for w in engine.push(block).windows])
    full = np.array([w.scores for w in every.push(pcm).windows])
    rests = (scores == np.array(IDLE)).all(axis=1)
    assert 0.5 < rests.mean() < 0.98
    np.testing.assert_array_equal(scores[~rests], full[~rests])
    events = [(e.label, round(e.start_s, 3), round(e.score, 6)) for e in engine.run(pcm)]
    assert [label for label, *_ in events] == ["high", "low", "high"]
    export = load_export(folder)
    for make in (HostApplication, lambda export, **options: compiled_application(export, tmp_path, **options)):
        on_board = []
        application = make(export, on_scores=lambda at, row, seen=on_board: seen.append(row.copy()))
        lines = [json.loads(line) for line in [*application.run(pcm), *application.finish()]]
        np.testing.assert_array_equal(on_board, scores)
        ends = [line for line in lines if line.get("state") == "end"]
        assert [(e["label"], e["start_s"], e["score"]) for e in ends] == events
        stats = [line for line in lines if line["type"] == "stats"]
        assert stats and 0 < stats[-1]["idle"] <= rests.sum()


def _without_gate(bundle):
    return dataclasses.replace(bundle, detector=bundle.detector.model_copy(update={"gate": None}))


def test_a_detector_without_a_gate_is_written_as_before(gated, tmp_path):
    assert "gate" not in DetectorConfig().to_dict() and "GATE" not in render_detector_settings(
        load_export(write_tone_run(tmp_path / "plain"))
    )
    text = render_detector_settings(load_export(gated[0]))
    assert "#define CHEEP_DETECTOR_GATE_ON_SUM" in text and "10, -90, -90," in text


def test_a_gate_that_pays_is_found_and_one_that_loses_calls_is_not(tmp_path):
    folder = write_tone_run(tmp_path / "run", logits="logit")
    bundle = load_bundle(folder)
    scorer, _ = best_scorer(bundle)
    recordings = []
    for seed in range(4):
        path = tmp_path / f"night{seed}.wav"
        path.write_bytes(wav(tones(SPANS, 80, seed), FEATURES.sample_rate_hz))
        truth = [Annotation(label, start, end) for start, end, label in SPANS]
        recordings.append(score_recording(bundle, scorer, path, group=str(seed), annotations=truth))
    choice = choose_gate(bundle, recordings, bundle.detector)
    assert choice.pays() and choice.events == 12 and choice.lost.value == 0 and choice.skipped.value > 0.9
    assert choice.config.margin > 0 and 0 < choice.openings <= choice.run < 0.3
    strict = dataclasses.replace(choice, lost=dataclasses.replace(choice.lost, value=0.01))
    assert not strict.pays()
    assert choice.lost.high > 0.005 and choice.doubt().startswith("12 events do not show that at most 0.5% are lost")
    assert not dataclasses.replace(choice, lost=dataclasses.replace(choice.lost, high=0.004)).doubt()
    silent = [dataclasses.replace(item, annotations=()) for item in recordings]
    with pytest.raises(CheepError, match="nobody can tell what a gate would lose"):
        choose_gate(bundle, silent, bundle.detector)


def test_calibrate_switches_it_on_where_it_pays(tmp_path, capsys):
    folder = write_tone_run(tmp_path / "run", logits="logit")
    audio = tmp_path / "nights"
    audio.mkdir()
    rows = ["file,label,start_s,end_s"]
    for seed in range(3):
        (audio / f"{seed}.wav").write_bytes(wav(tones(SPANS, 80, seed), FEATURES.sample_rate_hz))
        rows += [f"{seed}.wav,{label},{start},{end}" for start, end, label in SPANS]
    (audio / "events.csv").write_text("\n".join(rows) + "\n")
    command = ["--max-false-alarms", "60/h", "--recordings", str(audio / "events.csv"), "--model", str(folder)]
    assert main("calibrate", [*command, "--gate"]) == 0
    assert "gate: on" in (said := capsys.readouterr().out) and "gate: 9 events do not show" in said
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["detector"]["gate"]["margin"] > 0 and manifest["calibration"]["gate"]["skipped"]["value"] >= 0.7
    assert load_bundle(folder).detector.gate is not None
    assert main("calibrate", command) == 0  # without --gate: the one that is there stays
    assert load_bundle(folder).detector.gate is not None


def test_what_a_gate_cannot_be(gated, tmp_path):
    folder, _ = gated
    manifest = json.loads((folder / "manifest.json").read_text())
    for change, message in (({"first_band": 200}, "do not fit"), ({"idle": [1, 2]}, "do not fit")):
        other = tmp_path / next(iter(change))
        write_tone_run(other, logits="logit")
        changed = json.loads((other / "manifest.json").read_text())
        changed["detector"]["gate"] = {**manifest["detector"]["gate"], **change}
        (other / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(CheepError, match=message):
            load_bundle(other)


def test_a_season_keeps_to_one_gate(gated, tmp_path):
    bundle = load_bundle(gated[0])
    season = Season.create(tmp_path / "season")
    season.add_model(_without_gate(bundle))
    with pytest.raises(CheepError, match="without a gate"):
        season.add_model(bundle)
