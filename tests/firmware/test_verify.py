# SPDX-License-Identifier: MIT
"""Two networks in one application: the same rows and lines in Python, TFLM, compiled and on the emulated board."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from cheep.bench.sizes import asked_at_a_time, second_window, size_report, two_stages
from cheep.boards.budget import check_model
from cheep.boards.data import find_board
from cheep.boards.host import BootError, HostApplication
from cheep.compiler import compile_model
from cheep.compiler.engine import CompiledModel
from cheep.config.detector import GateConfig
from cheep.device.bundle import cannot_verify
from cheep.device.engine import Engine
from cheep.device.scoring import WindowScorer, make_scorer
from cheep.device.verify import behind_samples
from cheep.errors import GateError
from cheep.evaluate.matching import Annotation
from cheep.evaluate.streaming import ScoredRecording
from cheep.evaluate.verifying import WEIGHTS, Pair, alone
from cheep.export import load_export, render_headers, render_networks, write_files
from cheep.features import compute_features, quantize
from cheep.job.calibrate import find_thresholds
from cheep.job.verify import find_both
from cheep.live import upload
from cheep.resources import firmware_root
from compiled_application import two_compiled
from two_networks import LABELS, SECOND, SECOND_LABELS, write_two

RATE = 8000
GATE = GateConfig(margin=27, idle=(-20, -20), floor_shift=5, hold_windows=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory, small_features, int8_model, recording):
    """``made(stride, gate)``: the export of the two networks."""

    def make(stride=8, gate=None):
        folder = tmp_path_factory.mktemp("run")
        write_two(folder, int8_model, small_features, recording, stride=stride, gate=gate)
        return load_export(folder)

    return make


def run(application, pcm):
    """Events and the last statistics; the ring is filled in pieces of any length."""
    lines, at = [], 0
    application.lines()
    for n in np.random.default_rng(4).integers(1, 1500, 400):
        application.push(pcm[at : at + n])
        application.poll()
        at += n
    return [line for line in [*application.lines(), *lines, *application.finish()] if '"event"' in line]


def mean(bundle, first, second):
    """The weighted mean of what the two scores stand for, as the nearest int8 of the mean's scale."""
    one, two, scale, weight = bundle.own_scale, bundle.verifier.own_scale, bundle.scale, bundle.detector.verify.weight
    first, second = first.astype(float) - one.zero_point, second.astype(float) - two.zero_point
    real = weight * first * one.scale + (1 - weight) * second * two.scale
    return np.clip(np.rint(real / scale.scale + scale.zero_point), -128, 127)


def expected_rows(bundle, pcm):
    """What the two networks say, written down once more without streams and blocks."""
    one, two, detector = bundle.features, bundle.verifier.features, bundle.detector
    columns = quantize(compute_features(pcm, one), bundle.input.scale, bundle.input.zero_point)
    first, second = CompiledModel(bundle.path), CompiledModel(bundle.verifier.path)
    rows, asked = [], []
    for start in range(0, len(columns) - one.window_frames + 1, detector.stride_frames):
        scores = first.scores(columns[None, start : start + one.window_frames])[0]
        asked.append(bundle.own_scale.values(scores)[0] >= detector.verify.ask[0])
        if not asked[-1]:
            rows.append(mean(bundle, scores, np.array(detector.verify.idle)))
            continue
        end = start * one.hop_samples + one.window_samples - behind_samples(bundle)
        source = bundle.verifier.input
        x = compute_features(pcm[end - two.window_samples : end], two)
        said = second.scores(quantize(x, source.scale, source.zero_point)[None])[0]
        rows.append(mean(bundle, scores, np.array([said[SECOND_LABELS.index(label)] for label in LABELS])))
    return np.array(rows), np.array(asked)


def test_the_size_on_a_board_is_that_of_both_networks(made):
    bundle = made().bundle
    moth = find_board("audiomoth")
    report = size_report(bundle, moth)
    alone = size_report(dataclasses.replace(bundle, verifier=None), moth)
    both, one = (r["backends"]["compiled"] for r in (report, alone))
    second = bundle.verifier.features
    ring = 2 * (second.window_samples + behind_samples(bundle)) + 4 * second.n_mels
    assert both["ram"]["second network: ring and window"] == ring + second.window_frames * second.n_mels
    compiled = compile_model(bundle.verifier.path)
    assert both["ram"]["network"] >= max(one["ram"]["network"], compiled.memory_bytes)
    assert both["flash_bytes"] > one["flash_bytes"] + compiled.constant_bytes
    once = second_window(bundle)
    first = report["instructions_per_second"]["incremental"]
    both_stages = two_stages({k: v for k, v in first.items() if k != "total"}, once, bundle, 0.25)
    assert once["network"] > compiled.macs / 2 and once["frontend"] > 0
    assert both_stages["total"] - first["total"] == pytest.approx(0.25 / bundle.stride_s * sum(once.values()))
    assert asked_at_a_time(once, bundle, moth) > asked_at_a_time(once, bundle, find_board("esp32s3"))
    assert not report["backends"]["tflm"]["fits"] and any("second network" in note for note in report["notes"])
    small = moth.model_copy(update={"ram_bytes": moth.ram_bytes - moth.free_ram_bytes + one["ram_bytes"] + 500})
    with pytest.raises(GateError, match=r"RAM.*too many.*or the first network alone \(remove detector.verify"):
        check_model(small, bundle.path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sample_rate_hz": 16000}, r"16000 Hz, the first network 8000 Hz.*features.sample_rate_hz of the other"),
        ({"compression": "pcen"}, r"columns are pcen, .*\(features.compression: db\)"),
        ({"compression": "both"}, r"columns are both, .*\(features.compression: db\)"),
        ({"window_frames": 400}, r"8.005 s is longer than .* features.window_frames: (\d+) or less"),
    ],
)
def test_what_cannot_stand_behind_the_first_network_is_refused_with_a_remedy(made, small_features, changes, reason):
    one, two = small_features, SECOND.model_copy(update=changes)
    assert cannot_verify(one, SECOND) == ""
    found = re.search(reason, cannot_verify(one, two))
    assert found
    for frames in found.groups():  # the remedy is right, and no smaller than it must be
        assert cannot_verify(one, two.model_copy(update={"window_frames": int(frames)})) == ""
        assert cannot_verify(one, two.model_copy(update={"window_frames": int(frames) + 1}))


def test_the_benchmark_of_two_stages_states_what_both_cost(made, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "scripts"))
    from bench_two_stages import costs

    bundle = made().bundle
    values = costs(Pair(alone(bundle), bundle.verifier, (), ()), bundle.detector.verify, 0.25)
    assert values["ram_bytes"][0] == size_report(bundle, find_board("esp32s3"))["backends"]["compiled"]["ram_bytes"]
    assert values["instructions_per_second"][0] > values["first.instructions_per_second"][0]
    assert 0 < values["esp32s3.duty"][0] < 1 < values["esp32s3.days"][0]


def test_the_second_network_says_what_the_first_one_lets_through(made, recording):
    bundle = made().bundle
    rows, asked = expected_rows(bundle, recording)
    assert 0.2 < asked.mean() < 0.8 and len(np.unique(rows[asked], axis=0)) > 5
    scorer, whole = WindowScorer(bundle, make_scorer(bundle, "tflm")), []
    for cuts in ([], [1, 9000, 9001, 50000], range(700, len(recording), 700)):
        scorer.reset()
        found = np.concatenate([scorer.push(part)[1] for part in np.split(recording, cuts)])
        assert np.abs(found - rows).max() <= 1 and np.mean(found != rows) < 0.02  # where the nearest is a toss-up
        assert len({found.tobytes(), *whole}) == 1
        whole = [found.tobytes()]
        assert scorer.verified == asked.sum()


@pytest.mark.parametrize(("stride", "gate"), [(8, None), (6, None), (8, GATE)], ids=["columns", "windows", "gate"])
def test_application_and_python_say_the_same(made, recording, tmp_path, stride, gate):
    export = made(stride, gate)
    engine = Engine(export.bundle, backend="tflm")
    steps = engine.push(recording)
    rows = [tuple(window.scores) for window in steps.windows]
    events = len([*steps.events, *engine.flush()])
    assert events >= 6
    if gate is not None:
        assert not np.array_equal(rows, expected_rows(export.bundle, recording)[0])
    makers = [lambda export, **options: two_compiled(export, tmp_path, **options)]
    if stride == 8 and gate is None:
        makers.append(HostApplication)
    elif gate is None:
        makers = [lambda export, **options: two_compiled(export, tmp_path, "#define CHEEP_WHOLE_WINDOWS", **options)]
    for make in makers:
        seen = []
        application = make(export, on_scores=lambda at, row, seen=seen: seen.append(tuple(row)))
        lines = run(application, recording)
        assert seen == rows
        assert len(lines) == events
        application.close()


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
def test_the_emulated_board_says_the_same(made, recording):
    from cheep.bench.application import run_emulated

    export, pcm = made(), recording[: 6 * RATE]
    application = HostApplication(export)
    expected = [line for line in [*application.run(pcm), *application.finish()] if '"event"' in line]
    *lines, cost = run_emulated(export, [pcm])
    assert [line for line in lines if '"type":"event"' in line] == expected and len(expected) >= 3
    assert json.loads(cost)["ram_bytes"] > 0


def test_a_second_network_that_is_wrong_does_not_start(made, tmp_path):
    export = made()
    with pytest.raises(BootError) as refusal:
        two_compiled(export, tmp_path, change=lambda name, text: text.replace("CHEEP_VERIFY_GOLDEN_SCORES { \\\n    ",
                     "CHEEP_VERIFY_GOLDEN_SCORES { \\\n    1 + "))  # fmt: skip
    assert refusal.value.stage == "golden" and "second network" in refusal.value.reason
    headers = render_headers(export)
    headers["verify.h"] = headers["verify.h"].replace("FRONTEND_CRC 0x", "FRONTEND_CRC 1u + 0x")
    with pytest.raises(BootError) as refusal:
        HostApplication(export, headers=headers)
    assert refusal.value.stage == "frontend"


@pytest.mark.parametrize(("project", "compiler"), [("host", "cc"), ("boards", "arm-none-eabi-gcc")])
def test_a_project_links_both_networks(made, tmp_path, project, compiler):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    export = made()
    write_files(tmp_path / "generated", {**render_headers(export), **render_networks(export)})
    make = [
        "make",
        "-C",
        str(firmware_root() / project),
        f"GENERATED={tmp_path}",
        f"BUILD={tmp_path / 'build'}",
        "CFLAGS=-O0",
    ]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "generated" / "verify_compiled.c").unlink()
    done = subprocess.run([*make, "--always-make"], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "cheep_verify_model_invoke" in done.stderr


def test_every_build_names_the_second_network():
    root = firmware_root()
    for project, words in (
        ("audiomoth/platformio.ini", "generated/verify_compiled.c>"),
        ("boards/pico/CMakeLists.txt", "generated/*_compiled.c)"),
        ("common/CMakeLists.txt", '"src/generated/*.c")'),
    ):
        assert words in (root / project).read_text(), project


def test_upload_compares_both_networks_and_refuses_tflm(made, tmp_path, monkeypatch):
    export = made()
    monkeypatch.setattr(upload, "generated_folder", lambda: tmp_path)
    with pytest.raises(GateError, match=r"esp32: TensorFlow Lite Micro runs one network, this detector has two"):
        upload.check_generated(export, upload.find_target("esp32"))
    write_files(tmp_path, {**render_headers(export), **render_networks(export)})
    upload.check_generated(export, upload.find_target("esp32s3"))
    (tmp_path / "verify_compiled.c").write_text("other")
    with pytest.raises(GateError, match=r"verify_compiled.c: differs"):
        upload.check_generated(export, upload.find_target("esp32s3"))


def test_calibrate_finds_both_thresholds_and_keeps_the_second_network(made, recording, tmp_path, capsys):
    from cheep.audio import write_wav
    from cheep.cli import main
    from cheep.device.bundle import VERIFY, load_bundle

    source = made().bundle.path.parent
    run, second = tmp_path / "run", tmp_path / "second"
    shutil.copytree(source, run, ignore=shutil.ignore_patterns(VERIFY))
    shutil.copytree(source / VERIFY, second)
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["detector"]["verify"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    write_wav(tmp_path / "birds.wav", recording[: 7 * RATE], RATE)
    (tmp_path / "quiet").mkdir()
    write_wav(tmp_path / "quiet" / "night.wav", recording[7 * RATE :], RATE)
    (tmp_path / "events.csv").write_text("file,label,start_s,end_s\nbirds.wav,one,0,3\nbirds.wav,one,3.5,7\n")
    options = ["--model", str(run), "--recordings", str(tmp_path / "events.csv"), "--background"]
    options += [str(tmp_path / "quiet"), "--max-false-alarms", "2000/h", "--verify", str(second), "--silent", "two"]
    assert main(argv=["calibrate", *options]) == 0
    said = capsys.readouterr().out
    assert "the second network looks at" in said
    bundle = load_bundle(run)
    assert bundle.verifier is not None and bundle.detector.verify.ask[1] is None
    assert load_export(run).verifier.sha256 == load_bundle(second).model.sha256
    kept = json.loads((run / "manifest.json").read_text())
    assert 0 <= kept["calibration"]["verify"]["run"] <= 1
    assert kept["calibration"]["verify"]["chosen_on_groups"] == 0 and "which flatters a little" in said


def scored_pair(bundle, counts):
    """A pair on made-up scores: ``counts`` windows of each group, annotated where the name begins with ``b``."""
    rng = np.random.default_rng(3)
    truth = Annotation(LABELS[0], 0.0, 1e6)
    items = [
        ScoredRecording(name, name, 60.0, rng.integers(-128, 128, (n, 2)).astype(np.int8), (truth,) * (name < "c"))
        for name, n in counts.items()
    ]
    others = [dataclasses.replace(item, scores=item.scores[::-1].copy()) for item in items]
    return Pair(alone(bundle), bundle.verifier, tuple(items), tuple(others))


def groups(items):
    return {item.group for item in items}


def test_the_halves_share_no_group_and_lack_no_kind(made):
    bundle = made().bundle
    pair = scored_pair(bundle, {"b1": 90, "b2": 50, "b3": 40, "n1": 300, "n2": 200, "n3": 90})
    one, two = pair.halves()
    assert groups(one.first_scores) == {"b1", "n1"} and groups(two.first_scores) == {"b2", "b3", "n2", "n3"}
    assert [i.name for i in two.second_scores] == [i.name for i in two.first_scores]
    assert scored_pair(bundle, {"b1": 9, "n1": 9, "n2": 9}).halves() is None
    assert scored_pair(bundle, {"b1": 9, "b2": 9, "n1": 9}).halves() is None
    assert scored_pair(bundle, {"n1": 9, "n2": 9}).halves() is None


def test_nothing_is_stated_of_what_weight_and_ask_were_chosen_on(made):
    bundle = made().bundle
    pair = scored_pair(bundle, {"b1": 90, "b2": 50, "b3": 40, "n1": 300, "n2": 200, "n3": 90})
    calls = []

    def calibrate(detector, recordings):
        calls.append((detector.detector.verify, groups(recordings)))
        return find_thresholds(detector, recordings, 500.0, smoothing=[1], hold_off=[0])

    result = find_both(pair, calibrate)
    *choices, (config, stated) = calls
    assert len(choices) == len(WEIGHTS) and config == result.verify.config
    assert all(not seen & stated for _, seen in choices)
    assert result.verify.chosen_on == 2 and "2 other groups" in result.verify.text()
    assert result.labels[0].groups == len(stated) == 4
    assert result.verify.hours == pytest.approx(4 / 60)
