# SPDX-License-Identifier: MIT
"""What is frozen stays as it was, what is trained moves, and a backbone's rate is its own."""

import dataclasses
import types

import numpy as np
import pytest

from cheep.config import AugmentConfig, FeatureConfig, TrainConfig
from cheep.job import pace
from cheep.job.pace import Pace
from cheep.models.backbone import MARK, YAMNET_FEATURES, backbone_network
from cheep.tf_runtime import import_tf
from cheep.training import backbone
from cheep.training.backbone import fit_backbone
from cheep.training.rates import rated_adamw

FEATURES = FeatureConfig(**YAMNET_FEATURES, log_offset=0.001, window_frames=16)


@dataclasses.dataclass
class Windows:
    """As much of a WindowSet as training on kept activations reads."""

    x: np.ndarray
    targets: np.ndarray

    def __len__(self):
        return len(self.x)

    @property
    def label(self):
        return self.targets.argmax(axis=1)

    def gather(self, rows):
        return self.x[rows]


def _windows(rng, n=64):
    label = np.arange(n) % 2
    x = rng.normal(-40, 3, (n, 16, 64)).astype(np.float32)
    x[label == 1, :, :32] += 25
    return Windows(x, np.eye(2, dtype=np.float32)[label])


@pytest.mark.parametrize(("fine_tune", "moving"), [("head", set()), ("last:1", {"layer2"})])
def test_only_what_is_asked_for_is_trained(fine_tune, moving, rng):
    config = TrainConfig(
        model="yamnet", backbone="x", cut="2", fine_tune=fine_tune, epochs=6, batch_size=16, learning_rate=0.02,
        augment=AugmentConfig(mixup_alpha=0.1),
    )  # fmt: skip
    import_tf().keras.utils.set_random_seed(1)
    model = backbone_network("yamnet", "", "2", FEATURES, 2, "softmax", 0.0)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    said = []
    result = fit_backbone(model, _windows(rng), _windows(rng), config, lambda *args: said.append(args))
    changed = {
        layer.name
        for layer in model.layers
        if any(not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert {name.removeprefix(MARK).split("_")[0] for name in changed if name.startswith(MARK)} == moving
    assert "logits" in changed
    assert result.history[-1]["val_loss"] < result.history[0]["val_loss"]
    assert [args[0] for args in said] == list(range(7))
    scores = model.predict(_windows(rng).x[..., None], verbose=0)
    if moving:  # the head alone has random features to go by
        assert (scores.argmax(axis=1) == _windows(rng).label).mean() > 0.9


def test_frozen_layers_are_run_on_augmented_draws(rng, monkeypatch):
    drawn = []

    def draw(windows, rows, augment, own):
        drawn.append((rows, augment.mixup_alpha, own.random()))
        return windows.x[rows][..., None] + len(drawn), windows.targets[rows]

    monkeypatch.setattr(backbone, "draw_epoch", draw)
    config = TrainConfig(
        model="yamnet", backbone="x", cut="2", epochs=4, batch_size=16, frozen_draws=3, augment=AugmentConfig()
    )
    model = backbone_network("yamnet", "", "2", FEATURES, 2, "softmax", 0.0)
    kept = []
    monkeypatch.setattr(backbone, "_mixed", lambda x, y, rows, *_: kept.append(x) or (x[rows], y[rows]))
    fit_backbone(model, _windows(rng), _windows(rng), config)
    assert [len(rows) for rows, *_ in drawn] == [64] * 3 and {alpha for _, alpha, _ in drawn} == {0}
    assert len({number for *_, number in drawn}) == 3
    epochs = kept[:: len(kept) // 4]
    assert epochs[3] is epochs[0] and not np.array_equal(epochs[0], epochs[1])


def test_more_than_may_be_kept_goes_through_the_usual_loop(rng, monkeypatch):
    monkeypatch.setattr(backbone, "KEPT_BYTES", 1000)
    monkeypatch.setattr(backbone, "fit", lambda model, *args, **others: types.SimpleNamespace(model=model))
    config = TrainConfig(model="yamnet", backbone="x", cut="2", fine_tune="last:1")
    model = backbone_network("yamnet", "", "2", FEATURES, 2, "softmax", 0.0)
    assert fit_backbone(model, _windows(rng), _windows(rng), config).model is model
    assert not model.get_layer(f"{MARK}layer1_conv").trainable
    assert model.get_layer(f"{MARK}layer2_pointwise_conv").trainable


def test_a_backbones_steps_are_shorter():
    tf = import_tf()
    model = backbone_network("yamnet", "", "2", FEATURES, 2, "softmax", 0.0)
    optimizer = rated_adamw(model, 0.01, 0.0, 0.1)
    first, head = model.get_layer(f"{MARK}layer1_conv").kernel, model.get_layer("logits").kernel
    before = first.numpy(), head.numpy()
    optimizer.apply_gradients([(tf.ones_like(v), v) for v in (first, head)])
    steps = [np.abs(v.numpy() - old).mean() for v, old in zip((first, head), before, strict=True)]
    assert steps[0] == pytest.approx(0.001, rel=0.01)
    assert steps[1] == pytest.approx(0.01, rel=0.01)


def test_what_is_computed_once_is_no_part_of_an_epochs_pace(rng, monkeypatch):
    """A clock that only the layers move: 1 s a window through the frozen ones, 100 s a step, 0.1 s a window judged."""
    clock = [0.0]

    class Frozen:
        output_shape = (None, 4)

        def predict_on_batch(self, x):
            clock[0] += len(x)
            return np.zeros((len(x), 4), np.float32)

    class Trained(Frozen):
        def predict_on_batch(self, x):
            clock[0] += 0.1 * len(x)

        def train_on_batch(self, x, y):
            assert len(x) == len(y) == 16
            clock[0] += 100

    monkeypatch.setattr(backbone, "compile_network", lambda *_: None)
    monkeypatch.setattr(backbone, "draw_epoch", lambda windows, rows, *_: (windows.x[rows], windows.targets[rows]))
    monkeypatch.setattr(backbone.time, "monotonic", lambda: clock[0])
    for draws, once in ((0, 64 + 32), (3, 3 * 64 + 32)):
        config = TrainConfig(model="yamnet", backbone="x", batch_size=16, frozen_draws=draws, epochs=100)
        found = backbone.frozen_seconds(Frozen(), Trained(), _windows(rng, 64), _windows(rng, 32), config, steps=2)
        assert found == pytest.approx((once, 4 * 100 + 32 * 0.1))
        assert Pace(found[1], 0.0, found[0]).seconds(config) == pytest.approx(5 + once + 100 * found[1])


def test_pace_of_a_head_is_that_of_the_head(rng, monkeypatch):
    """The frozen layers of a backbone are taken for what they cost once: nothing is trained through them."""
    monkeypatch.setattr(pace, "fit", None)
    monkeypatch.setattr(pace, "network_of", lambda *_: backbone_network("yamnet", "", "2", FEATURES, 2, "softmax", 0.0))
    config = TrainConfig(model="yamnet", backbone="x", cut="2", batch_size=16)
    plan = types.SimpleNamespace(labels=("a", "b"), activation="softmax")
    windows = types.SimpleNamespace(splits={"train": _windows(rng), "val": _windows(rng)}, plan=plan, features=FEATURES)
    found = pace.measure_pace(windows, config)
    assert found.frozen_s > 0 and found.student_s > 0
