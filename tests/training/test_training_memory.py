# SPDX-License-Identifier: MIT
"""Epochs and judgements in bounded memory: the windows come in parts, and the parts are the whole."""

import numpy as np
import pytest

from cheep import tf_runtime
from cheep.config import FeatureConfig, TrainConfig
from cheep.features import cache as feature_cache
from cheep.features.cache import open_cache
from cheep.tf_runtime import import_tf, seed_everything
from cheep.training import data, loop
from cheep.training.data import WindowSet

FEATURES = FeatureConfig(window_frames=20, n_mels=16)
N = 700


@pytest.fixture
def windows(tmp_path):
    rng = np.random.default_rng(3)
    columns = rng.normal(-60, 10, (5000, FEATURES.n_mels)).astype(np.float32)
    path = tmp_path / "features.f32"
    path.write_bytes(columns.tobytes())
    first = rng.integers(0, 4900, N)
    label = (np.arange(N) % 3 == 0).astype(np.int64)
    return WindowSet(
        cache=open_cache(path, FEATURES, {}), first=first, low=np.zeros(N, int), high=np.full(N, 4980),
        targets=label[:, None].astype(np.float32), label=label, clip=np.arange(N), is_background=label == 0,
        silence=np.zeros(1, np.float32),
    )  # fmt: skip


def network():
    keras = import_tf().keras
    seed_everything(1)
    return keras.Sequential([keras.layers.Input((20, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])


def test_a_large_file_is_read_in_parts_and_gives_the_same(windows, monkeypatch):
    rows = windows.first[:, None] + np.arange(20)
    whole = windows.cache.take(rows)
    dropped = []
    monkeypatch.setattr(feature_cache, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(feature_cache, "_TAKEN_AT_ONCE", 64)
    monkeypatch.setattr(feature_cache, "_advise", lambda columns, advice: dropped.append(advice))
    assert np.array_equal(windows.cache.take(rows), whole)
    assert dropped == ["MADV_DONTNEED"] * 11


def test_judging_in_blocks_gives_the_same_scores(windows, monkeypatch):
    model = network()
    whole = model.predict(windows.all()[..., None], batch_size=512, verbose=0)
    monkeypatch.setattr(data, "BLOCK_WINDOWS", 512)
    assert [len(block) for block in windows.blocks()] == [512, 188]
    assert np.array_equal(loop.predict_windows(model, windows), whole)


def test_an_epoch_is_drawn_in_chunks_of_whole_batches(windows, monkeypatch):
    config = TrainConfig(epochs=2, batch_size=32, warmup_epochs=0)
    sizes, real = [], loop.draw_epoch
    monkeypatch.setattr(
        loop, "draw_epoch", lambda part, index, *more: sizes.append(len(index)) or real(part, index, *more)
    )
    one = loop.fit(network(), windows, windows, config).history
    assert sizes == [N, N]
    sizes.clear()
    monkeypatch.setattr(loop, "CHUNK_BYTES", 100 * 4 * 20 * 16)
    model = network()
    parts = loop.fit(model, windows, windows, config).history
    assert sizes == [96] * 7 + [28] + [96] * 7 + [28]
    assert int(model.optimizer.iterations) == 2 * 22  # as many steps, so the schedule is the same
    assert [row["val_loss"] for row in parts] == pytest.approx([row["val_loss"] for row in one], rel=0.2)


def test_a_gpu_is_used_where_there_is_one(monkeypatch, caplog):
    tf = import_tf()
    gpu = type("Device", (), {"name": "/physical_device:GPU:0"})()
    asked = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [gpu])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *what: asked.append(what))
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append("determinism"))
    tf_runtime.prepare_gpus.cache_clear()
    with caplog.at_level("INFO", "cheep"):
        seed_everything(1)
    tf_runtime.prepare_gpus.cache_clear()
    assert asked == [(gpu, True)] and "computes on /physical_device:GPU:0" in caplog.text
