# SPDX-License-Identifier: MIT
"""The device path in Python: chunking, agreement with the batch functions, and every refusal of a model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cheep.audio import write_wav
from cheep.cli import main
from cheep.config import DetectorConfig
from cheep.detector import Detector
from cheep.device import Engine, load_bundle
from cheep.errors import CheepError
from cheep.features import compute_features, quantize
from cheep.tflite.tflm import TflmModel
from tone_model import DETECTOR, FEATURES, LABELS, tones, write_tone_run

SPANS = [(2, 3.5, "high"), (5, 7, "low"), (9, 9.8, "high")]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_tone_run(tmp_path_factory.mktemp("tone"))


@pytest.fixture(scope="module")
def pcm() -> np.ndarray:
    return tones(SPANS, 12)


def test_finds_the_tones(run, pcm):
    events = Engine(run).run(pcm)
    assert [event.label for event in events] == ["high", "low", "high"]
    for event, (start, end, _) in zip(events, SPANS, strict=True):
        assert event.start_s < end and event.end_s > start
        assert abs(event.start_s - start) < 1 and abs(event.end_s - end) < 1.2


def test_equals_the_batch_path_by_hand(run, pcm):
    bundle = load_bundle(run)
    columns = quantize(compute_features(pcm, FEATURES), bundle.input.scale, bundle.input.zero_point)
    starts = range(0, len(columns) - FEATURES.window_frames + 1, DETECTOR.stride_frames)
    scores = TflmModel(bundle.path).scores(np.stack([columns[i : i + FEATURES.window_frames] for i in starts]))
    detector = Detector(bundle.detector, len(LABELS), bundle.scale)
    expected = [(LABELS[e.label], e.first_window, e.last_window) for e in detector.push(scores) if e.ended]

    engine = Engine(run)
    result = engine.push(pcm)
    assert np.array_equal(result.columns, columns)
    assert np.array_equal(np.stack([item.scores for item in result.windows]), scores)
    assert [(e.label, e.first_window, e.last_window) for e in result.events if e.ended] == expected
    assert engine.windows == len(starts) and engine.samples == len(pcm)


@pytest.mark.parametrize("chunk", [1, 7, 199, 200, 201, 1600, 5000])
def test_any_chunking_gives_the_same_windows_and_events(run, pcm, chunk):
    whole = Engine(run)
    expected = whole.push(pcm[:40000])
    engine = Engine(run)
    windows, events = [], []
    for first in range(0, 40000, chunk):
        result = engine.push(pcm[first : min(first + chunk, 40000)])
        windows += result.windows
        events += result.events
    assert [w.index for w in windows] == [w.index for w in expected.windows]
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(windows, expected.windows, strict=True))
    assert events == expected.events and len(events) >= 2
    engine.reset()
    assert engine.push(pcm[:40000]).events == expected.events


@pytest.mark.parametrize("stride", [1, 39, 60])
def test_strides_up_to_and_beyond_the_window(tmp_path, pcm, stride):
    config = DetectorConfig(stride_frames=stride, smoothing_windows=1, threshold=(None, 0.6, 0.6))
    run = write_tone_run(tmp_path / "run", detector=config)
    whole = Engine(run).push(pcm).windows
    engine, windows = Engine(run), []
    for first in range(0, len(pcm), 777):
        windows += engine.push(pcm[first : first + 777]).windows
    frames = FEATURES.frames_of(len(pcm))
    assert len(whole) == len(range(0, frames - FEATURES.window_frames + 1, stride))
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(windows, whole, strict=True))


def test_an_event_that_runs_at_the_end_is_closed(run):
    pcm = tones([(2, 5, "low")], 5)
    events = Engine(run).run(pcm)
    assert [event.label for event in events] == ["low"]
    assert events[0].end_s == pytest.approx(5, abs=0.4)


def test_script_prints_events_of_files(run, pcm, tmp_path):
    wav, out = tmp_path / "a.wav", tmp_path / "events.csv"
    write_wav(wav, pcm, 8000)
    script = Path(__file__).parents[2] / "src" / "test.py"
    command = [sys.executable, str(script), "--model", str(run), str(wav), str(wav), "--json", "--csv", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["label"] for line in lines] == ["high", "low", "high"] * 2  # every file starts anew
    assert lines[:3] == lines[3:]
    rows = out.read_text().splitlines()
    assert rows[0] == "file,start_s,end_s,label,score" and len(rows) == 7
    assert "4 high, 2 low in 2 files" in done.stderr


def test_scores_of_every_window_on_request(run, pcm, tmp_path, capsys):
    write_wav(tmp_path / "a.wav", pcm, 8000)
    assert main("test", ["--model", str(run), str(tmp_path / "a.wav"), "--scores"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "background" in line]
    assert len(lines) == len(Engine(run).push(pcm).windows)


def _copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def _edit(folder: Path, change) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["model"].update(sha256="0" * 64), "of different models"),
        (lambda v: v["features"].update(n_mels=41), "edited after training"),
        (lambda v: v.update(labels=["a"]), "do not fit its settings"),
        (lambda v: v.update(labels=[]), "labels="),
        (lambda v: v.pop("features"), "no 'features' section"),
        (lambda v: v["detector"].update(treshold=[0.5]), "treshold: unknown setting"),
        (lambda v: v["model"].update(file="../x.tflite"), "must name the .tflite beside it"),
        (lambda v: v["features"].update(hop_samples=201) or v.pop("feature_hash"), "those inside the model"),
    ],
)
def test_a_manifest_that_disagrees_is_refused(run, tmp_path, change, words):
    folder = _copy(run, tmp_path)
    _edit(folder, change)
    with pytest.raises(CheepError, match=words):
        load_bundle(folder)


def test_missing_things_are_named(run, tmp_path):
    with pytest.raises(CheepError, match="no such model"):
        load_bundle(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheepError, match=r"no \.tflite file"):
        load_bundle(tmp_path / "empty")
    folder = _copy(run, tmp_path)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CheepError, match="damaged JSON"):
        load_bundle(folder)
    with pytest.raises(CheepError, match="backend='gpu'"):
        Engine(run, backend="gpu")


def test_without_a_manifest_the_metadata_inside_the_model_serves(run, tmp_path):
    folder = _copy(run, tmp_path)
    (folder / "manifest.json").unlink()
    for source in (folder, folder / "bird_detector_int8.tflite"):
        bundle = load_bundle(source)
        assert bundle.features == FEATURES and bundle.labels == LABELS and bundle.detector == DETECTOR
    other = tmp_path / "plain.tflite"
    from tone_model import tone_model

    other.write_bytes(tone_model())
    with pytest.raises(CheepError, match="no description of the sound"):
        load_bundle(other)
