# SPDX-License-Identifier: MIT
"""The application with a network that is fed with columns: the lines and scores of whole windows in TFLM."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from cheep.boards.host import BootError, HostApplication
from cheep.compiler import compile_bytes
from cheep.config import DetectorConfig
from cheep.config.detector import GateConfig
from cheep.convert.bundle import write_bundle
from cheep.export import load_export
from cheep.features import compute_features, quantize
from cheep.tflite.model import read_model
from compiled_application import compiled_application, heard

RATE = 8000


@pytest.fixture(scope="module")
def export_at(tmp_path_factory, small_features, int8_model, recording):
    """``export_at(stride)``: the small network with thresholds at the middle of its scores on the recording."""
    from cheep.tflite.tflm import TflmModel

    tensor = read_model(int8_model).inputs[0]
    columns = quantize(compute_features(recording, small_features), tensor.scale, tensor.zero_point)
    frames = small_features.window_frames
    windows = np.stack([columns[i : i + frames] for i in range(0, len(columns) - frames + 1, 4)])
    out = read_model(int8_model).outputs[0]
    middle = np.median(TflmModel(int8_model).scores(windows), axis=0)
    threshold = tuple(float(round((q - out.zero_point) * out.scale, 4)) for q in middle)

    def make(stride, gate=None):
        folder = tmp_path_factory.mktemp("run")
        detector = DetectorConfig(
            stride_frames=stride,
            smoothing_windows=2,
            hold_off_windows=1,
            hysteresis=0.01,
            threshold=threshold,
            gate=gate,
        )
        write_bundle(
            folder, "bird_detector_int8.tflite", int8_model, features=small_features, labels=("one", "two"),
            detector=detector, golden=windows[7], data={}, training={},
        )  # fmt: skip
        return load_export(folder)

    return make


GATE = GateConfig(margin=23, idle=(-20, -20), floor_shift=5, hold_windows=0)


@pytest.mark.parametrize(
    ("stride", "gate"), [(8, None), (6, None), (8, GATE)],
    ids=["fed with columns", "a stride that wants whole windows", "fed again where a gate opens"],
)  # fmt: skip
def test_scores_and_lines_are_those_of_whole_windows(export_at, recording, tmp_path, stride, gate):
    export = export_at(stride, gate)
    step = compile_bytes(export.bundle.model.data).stream["stride_rows"]
    assert (stride % step == 0) == (stride == 8)
    results = []
    for make in (
        HostApplication,
        lambda export, **options: compiled_application(export, tmp_path, **options),
        lambda export, **options: compiled_application(export, tmp_path, "#define CHEEP_WHOLE_WINDOWS", **options),
    ):
        seen = []
        application = make(export, ring_samples=4096, on_scores=lambda at, row, seen=seen: seen.append((at, *row)))
        results.append((seen, *heard(application, recording, 4096)))
    seen, lines, lost = results[0]
    assert len(lines) >= 8 and lost > 1000 and len({row[1] for row in seen}) > 10
    if gate is not None:
        rests = [row[1:] == gate.idle for row in seen]
        assert 0.1 < np.mean(rests) < 0.9 and np.abs(np.diff(rests)).sum() >= 4
    assert results[1] == results[0]
    assert results[2] == results[0]


def test_the_golden_window_is_run_column_by_column(export_at, tmp_path):
    """A network that is only wrong when it is fed with columns does not start."""

    def change(headers):
        text = headers["model_compiled.c"]
        damaged = text.replace("stream->sums[stream->next][c] = (int16_t)memory->sums[c];", "(void)c;")
        assert damaged != text
        return {**headers, "model_compiled.c": damaged}

    export = export_at(8)
    with pytest.raises(BootError) as refusal:
        compiled_application(export, tmp_path, change=change)
    assert refusal.value.stage == "golden"
    compiled_application(export, tmp_path, "#define CHEEP_WHOLE_WINDOWS", change=change).close()


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
def test_the_emulated_board_says_the_same_and_works_less(export_at, recording):
    from cheep.bench.application import run_emulated

    export, pcm = export_at(8), recording[: 6 * RATE]
    application = HostApplication(export)
    expected = [line for line in [*application.run(pcm), *application.finish()] if '"event"' in line]
    costs = []
    for whole in (False, True):
        *lines, cost = run_emulated(export, [pcm], whole_windows=whole)
        assert [line for line in lines if '"type":"event"' in line] == expected and len(expected) >= 4
        costs.append(json.loads(cost))
    by_columns, whole = costs
    assert by_columns["instructions_per_second"] < 0.8 * whole["instructions_per_second"]
    assert by_columns["model_instructions"] < 0.5 * whole["model_instructions"]  # no column does a window's work
    assert by_columns["ram_bytes"] < whole["ram_bytes"] + 2048
