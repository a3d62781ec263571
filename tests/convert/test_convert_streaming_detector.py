# SPDX-License-Identifier: MIT
"""A recurrent detector as one int8 model with its state: the same events in TFLM, compiled, and emulated."""

import json
import shutil

import numpy as np
import pytest

from cheep.boards.host import HostApplication
from cheep.compiler.engine import compiled_scorer
from cheep.config import DetectorConfig, FeatureConfig
from cheep.convert.bundle import write_bundle
from cheep.convert.merge import merge_pair
from cheep.convert.recurrent_cell import Cell, run_float
from cheep.convert.runtime import quantize_as
from cheep.convert.schemes import to_scheme
from cheep.convert.step_model import convert_step
from cheep.convert.streaming_detector import cut_sequences, take_apart, train_on
from cheep.device.bundle import load_bundle
from cheep.device.engine import Engine
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.features import compute_features
from cheep.tflite.model import read_model
from cheep.tflite.state import tflm_scorer
from compiled_application import compiled_application, heard

RATE = 8000
FEATURES = FeatureConfig(window_frames=39)


@pytest.fixture(scope="module")
def network():
    """The registry's crnn with fresh weights, normalizations moved away from their start."""
    from cheep.models import build_model
    from cheep.tf_runtime import import_tf

    import_tf().keras.utils.set_random_seed(3)
    model = build_model("crnn", (39, 40), 2)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([w + rng.uniform(0, 0.2, w.shape) for w in layer.get_weights()])
    return model


def chunks_of(columns, parts):
    starts = np.arange(0, len(columns) - parts.chunk_frames + 1, parts.stride_frames)
    return columns[starts[:, None] + np.arange(parts.chunk_frames)][..., None]


@pytest.fixture(scope="module")
def made(network, recording, tmp_path_factory):
    """A run folder with the int8 model; thresholds at the middle of its scores on the recording."""
    parts = take_apart(network)
    chunks = chunks_of(compute_features(recording, FEATURES).astype(np.float32), parts)
    backbone = to_scheme(parts.backbone, chunks.shape[1:], "int8", chunks[::2])
    out = read_model(backbone).outputs[0]
    low, high = ((q - out.zero_point) * out.scale for q in (-128, 127))
    features = parts.backbone.predict(chunks, verbose=0)
    model = merge_pair(backbone, convert_step(parts.cell, features[None], (low, high)))
    q = quantize_as(chunks, read_model(model).inputs[0])
    scores = tflm_scorer(model).scores(q)
    middle = tuple(float((v + 128) / 256) for v in np.median(scores, axis=0))
    folder = tmp_path_factory.mktemp("streaming")
    detector = DetectorConfig(stride_frames=parts.stride_frames, smoothing_windows=3, hysteresis=0.004,
                              hold_off_windows=0, threshold=middle)  # fmt: skip
    write_bundle(
        folder, "bird_detector_int8.tflite", model, features=FEATURES.model_copy(update={"window_frames": 18}),
        labels=("one", "two"), detector=detector, golden=q[7][..., 0], streaming={"stride_frames": 4, "states": 1},
    )  # fmt: skip
    return folder, parts, q, scores


def test_the_parts_are_the_network(network):
    """Backbone every four columns and the cell from zero: what the network says of a window."""
    parts = take_apart(network)
    assert (parts.chunk_frames, parts.stride_frames, parts.activation) == (18, 4, "softmax")
    x = np.random.default_rng(1).normal(-40, 15, (5, 39, 40)).astype(np.float32)
    features = np.stack([parts.backbone.predict(chunks_of(window, parts), verbose=0) for window in x])
    assert features.shape[1] == 6
    assert np.allclose(run_float(parts.cell, features)[0][:, -1], network.predict(x[..., None], verbose=0), atol=1e-5)


def test_a_network_without_a_recurrent_layer_is_refused():
    from cheep.models import build_model

    with pytest.raises(CheepError, match="has 0 recurrent layers"):
        take_apart(build_model("sepconv_s", (39, 40), 2))


def test_one_model_carries_the_state_in_every_backend(made):
    folder, _, q, scores = made
    model = load_bundle(folder).model
    assert [t.shape for t in model.inputs] == [(1, 18, 40, 1), (1, 32)]
    assert not {"WHILE", "CUSTOM"} & set(model.operators)
    assert len(np.unique(scores[:, 0])) > 8
    for make in (tflm_scorer, compiled_scorer):
        scorer = make(model.data)
        pieces = [scorer.scores(q[:13]), scorer.scores(q[13:])]
        assert np.array_equal(np.concatenate(pieces), scores), "the state goes on from call to call"
        assert not np.array_equal(scorer.scores(q[:5]), scores[:5]), "the state matters"
        scorer.forget()
        assert np.array_equal(scorer.scores(q[:5]), scores[:5])


def test_host_and_emulator_give_the_same_lines(made, recording, tmp_path):
    """Gaps too: behind lost samples the state starts anew, in TFLM, compiled, and on the emulated core."""
    folder, *_ = made
    export = load_export(folder)
    results = []
    for make in (HostApplication, lambda export, **options: compiled_application(export, tmp_path, **options)):
        seen = []
        application = make(export, ring_samples=4096, on_scores=lambda at, row, seen=seen: seen.append((at, *row)))
        results.append((seen, *heard(application, recording, 4096)))
    seen, lines, lost = results[0]
    assert len(lines) >= 8
    assert lost > 1000
    assert results[1] == results[0]


def test_behind_a_gap_the_state_is_zero(made, recording):
    folder, *_ = made
    export = load_export(folder)
    seen, alone = [], []
    application = HostApplication(export, ring_samples=4096, on_scores=lambda _, row: seen.append(row.tolist()))
    list(application.run(recording[: 3 * RATE]))
    block, lost, rest = np.split(recording[3 * RATE :], [4000, 8000])
    assert (application.push(block), application.push(lost)) == (4000, 0)
    application.poll()
    before = len(seen)
    list(application.run(rest[: 2 * RATE]))
    fresh = HostApplication(export, on_scores=lambda _, row: alone.append(row.tolist()))
    list(fresh.run(rest[: 2 * RATE]))
    assert len(alone) > 10
    assert seen[before:] == alone


@pytest.mark.skipif(shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed")
def test_the_emulated_board_says_the_same(made, recording):
    from cheep.bench.application import run_emulated

    folder, *_ = made
    export, pcm = load_export(folder), recording[: 6 * RATE]
    application = HostApplication(export)
    expected = [line for line in [*application.run(pcm), *application.finish()] if '"event"' in line]
    *lines, cost = run_emulated(export, [pcm])
    assert [line for line in lines if '"type":"event"' in line] == expected
    assert len(expected) >= 4
    assert json.loads(cost)["model_instructions"] > 0


def test_the_engine_hears_what_the_firmware_hears(made, recording):
    folder, *_ = made
    application = HostApplication(load_export(folder))
    lines = [json.loads(line) for line in [*application.run(recording), *application.finish()]]
    board = [line for line in lines if line["type"] == "event" and line["state"] == "end"]
    for backend in ("tflm", "compiled"):
        engine = Engine(folder, backend)
        for _ in range(2):  # the second time from zero again
            events = engine.run(recording)
            assert [e.label for e in events] == [line["label"] for line in board]
            assert np.allclose([e.start_s for e in events], [line["start_s"] for line in board], atol=0.01)


def test_another_stride_is_refused(made, tmp_path):
    folder, *_ = made
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    values = json.loads(path.read_text())
    values["detector"]["stride_frames"] = 8
    path.write_text(json.dumps(values))
    with pytest.raises(CheepError, match="must be run every 4 columns"):
        load_bundle(tmp_path / "run")


def test_parts_that_do_not_fit_are_refused(made):
    _, parts, q, _ = made
    rng = np.random.default_rng(2)
    shapes = (32, 24), (8, 24), (24,), (24,), (8, 2), (2,)
    other = convert_step(Cell("gru", *(rng.normal(0, 0.3, s).astype(np.float32) for s in shapes)),
                         np.cumsum(rng.normal(0, 0.1, (4, 30, 32)), axis=1).astype(np.float32))  # fmt: skip
    chunks = (q.astype(np.float32) - 3) / 9
    backbone = to_scheme(parts.backbone, chunks.shape[1:], "int8", chunks[::2])
    with pytest.raises(CheepError, match="the step takes"):
        merge_pair(backbone, other)


def test_sequences_are_labelled_where_windows_end(small_windows):
    windows, parts = small_windows
    cut = cut_sequences(windows, parts, steps=20)
    assert cut.chunks(parts).shape[1:] == (20, 18, 40, 1)
    own = np.flatnonzero(windows.clip == 0)
    step = (windows.first[own[1]] - windows.low[own[1]] + 39 - 18) // 4
    assert cut.weight[0, step] == 1
    assert np.array_equal(cut.targets[0, step], windows.targets[own[1]])
    # the chunk of that step ends within four columns of the window's end
    assert 0 <= windows.first[own[1]] + 39 - (windows.low[own[1]] + 4 * step + 18) < 4
    assert cut.weight.sum() == len(windows), "each window once"


def test_training_on_brings_the_loss_down(small_windows):
    windows, parts = small_windows
    cut = cut_sequences(windows, parts, steps=20)
    losses = train_on(parts, cut, cut, epochs=20, rate=2e-2, seed=1)
    assert min(losses) < 0.9 * losses[0]


@pytest.fixture
def small_windows(network):
    """Three recordings of 6 s with windows each half second: loud in the upper or the lower bands."""
    from cheep.features.cache import FeatureCache
    from cheep.training.data import WindowSet

    rng = np.random.default_rng(4)
    columns = rng.normal(-50, 4, (3 * 240, 40)).astype(np.float32)
    first, low, high, targets, clip = [], [], [], [], []
    for recording in range(3):
        for k in range(10):
            start = 240 * recording + 20 * k
            loud = (k // 2 + recording) % 2
            if k % 2 == 0:
                columns[start : start + 40, 20 * loud : 20 * loud + 20] += 25
                first.append(start)
                low.append(240 * recording)
                high.append(240 * (recording + 1) - 39)
                targets.append(np.eye(2)[loud])
                clip.append(recording)
    spans = {f"{i}.wav": (240 * i, 240) for i in range(3)}
    windows = WindowSet(
        cache=FeatureCache(FEATURES, columns, spans), first=np.array(first), low=np.array(low), high=np.array(high),
        targets=np.array(targets, np.float32), label=np.argmax(targets, 1), clip=np.array(clip),
        is_background=np.zeros(len(first), bool), silence=np.full(2, 0.5),
    )  # fmt: skip
    return windows, take_apart(network)
