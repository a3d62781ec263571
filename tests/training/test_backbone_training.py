# SPDX-License-Identifier: MIT
"""What is frozen stays as it was, what is trained moves, and a backbone's rate is its own."""

import dataclasses
import types

import numpy as np
import pytest

from cheep.config import AugmentConfig, FeatureConfig, TrainConfig
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
