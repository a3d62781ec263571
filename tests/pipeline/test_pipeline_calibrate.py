# SPDX-License-Identifier: MIT
"""The step calibrate of a run: thresholds on held-out recordings, with a second network behind the first."""

import json
import shutil

import numpy as np
import pytest

from cheep.audio import write_wav
from cheep.device.bundle import VERIFY, load_bundle
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.pipeline.checks import parse_config
from cheep.pipeline.runner import run_pipeline
from two_networks import write_two

RATE = 8000


@pytest.fixture(scope="module")
def given(tmp_path_factory, small_features, int8_model, recording):
    """Two runs with a network each, annotated recordings and background."""
    folder = tmp_path_factory.mktemp("given")
    write_two(folder / "first", int8_model, small_features, recording)
    shutil.move(folder / "first" / VERIFY, folder / "second")
    manifest = json.loads((folder / "first" / "manifest.json").read_text())
    del manifest["detector"]["verify"]
    (folder / "first" / "manifest.json").write_text(json.dumps(manifest))
    write_wav(folder / "birds.wav", recording[: 7 * RATE], RATE)
    (folder / "quiet").mkdir()
    write_wav(folder / "quiet" / "night.wav", recording[7 * RATE :], RATE)
    (folder / "events.csv").write_text("file,label,start_s,end_s\nbirds.wav,one,0,3\nbirds.wav,one,3.5,7\n")
    return folder


def run_file(given, out, **changes):
    detector = {
        "verify": f"{given}/second",
        "recordings": f"{given}/events.csv",
        "background": f"[{given}/quiet]",
        "max_false_alarms": "2000/h",
    } | changes
    lines = "".join(f"  {name}: {value}\n" for name, value in detector.items() if value is not None)
    return (
        f"run: {{name: two, steps: [calibrate, deploy], model: {given}/first, folder: {out}, cache: {out}/cache}}\n"
        f"deploy: {{backend: compiled}}\ndetector:\n{lines}"
    )


def test_a_run_makes_the_detector_of_two_networks(given, tmp_path):
    said = []
    config = parse_config(run_file(given, tmp_path / "out"))
    outcome = run_pipeline(config, say=said.append)
    bundle = load_bundle(tmp_path / "out")
    assert bundle.verifier.model.sha256 == load_bundle(given / "second").model.sha256
    assert any("the second network looks at" in text for text in said)
    assert load_export(tmp_path / "out").verifier is not None
    assert {path.name for path in outcome.files} >= {"model.h", "verify.h", "verify_compiled.c", "model_compiled.c"}
    assert "calibration" in outcome.executed
    manifest = (tmp_path / "out" / "manifest.json").read_bytes()
    shutil.rmtree(tmp_path / "out" / VERIFY)
    again = run_pipeline(config)
    assert "calibration" in again.cached and load_bundle(tmp_path / "out").verifier is not None
    assert (tmp_path / "out" / "manifest.json").read_bytes() == manifest
    write_wav(given / "quiet" / "more.wav", np.zeros(4 * RATE, np.int16), RATE)
    assert "calibration" in run_pipeline(config).executed


def test_without_a_second_network_it_finds_thresholds(given, tmp_path):
    run_pipeline(parse_config(run_file(given, tmp_path / "out", verify=None)))
    bundle = load_bundle(tmp_path / "out")
    assert bundle.verifier is None and not (tmp_path / "out" / VERIFY).exists()
    assert bundle.detector.threshold != load_bundle(given / "first").detector.threshold


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verify": "/no/run"}, r"detector.verify='/no/run': no such run; make it first"),
        ({"verify": "{given}/quiet"}, r"detector.verify='.*quiet': .*no .tflite file"),
        ({"recordings": None}, r"detector.recordings: missing; two networks are calibrated on annotated recordings"),
        ({"recordings": "/no.csv"}, r"detector.recordings='/no.csv': no such file"),
        ({"background": "/no"}, r"detector.background: '/no': no such file or folder"),
        ({"max_false_alarms": "few"}, r"detector.max_false_alarms='few': must be a number per hour or day"),
    ],
)
def test_what_is_refused_before_anything_runs(given, tmp_path, changes, message):
    changes = {name: value and value.replace("{given}", str(given)) for name, value in changes.items()}
    with pytest.raises(CheepError, match=message):
        parse_config(run_file(given, tmp_path / "out", **changes))


def test_step_and_section_belong_together(given, tmp_path):
    text = run_file(given, tmp_path / "out")
    with pytest.raises(CheepError, match=r"detector: is for the step calibrate, which is not in run.steps"):
        parse_config(text.replace("calibrate, ", ""))
    with pytest.raises(CheepError, match=r"run.steps: calibrate needs held-out recordings"):
        parse_config(text.partition("detector:")[0])
    with pytest.raises(CheepError, match=r"deploy comes before calibrate"):
        parse_config(text.replace("calibrate, deploy", "deploy, calibrate"))


def test_another_sample_rate_is_refused_before_training(given, tmp_path):
    text = run_file(given, tmp_path / "out").replace(f"model: {given}/first, ", "")
    text = text.replace("[calibrate", "[train, quantize, calibrate") + "features: {sample_rate_hz: 16000}\n"
    with pytest.raises(CheepError, match=r"detector.verify=.*it hears 8000 Hz, the first network 16000 Hz"):
        parse_config(text)
