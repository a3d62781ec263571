# SPDX-License-Identifier: MIT
"""Small real models and data for the conversion tests, trained once per session."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cheep.convert.config import ConvertConfig
from cheep.convert.data import ConversionData
from cheep.convert.load import load_source, unroll
from cheep.convert.source import SourceModel
from cheep.tf_runtime import import_tf

SHAPE = (20, 16, 1)


def _three_way(x: np.ndarray, y: np.ndarray, labels: tuple[str, ...]) -> ConversionData:
    n = len(x)
    a, b = int(0.6 * n), int(0.8 * n)
    cuts = {"train": slice(0, a), "val": slice(a, b), "test": slice(b, n)}
    return ConversionData(
        {k: x[c] for k, c in cuts.items()}, {k: y[c] for k, c in cuts.items()}, labels, "made by code"
    )


@functools.cache
def patterns() -> ConversionData:
    """Return windows (20, 16, 1) with a rising, a falling or no line over a sloping noise floor."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 500)
    x = rng.normal(0, 0.45, (500, *SHAPE)) + np.linspace(0.4, -0.4, 16)[None, None, :, None]
    for i, label in enumerate(y):
        if label:
            t, f = rng.integers(1, 10), rng.integers(5, 11)
            for k in range(9):
                x[i, t + k, f + (k // 2 if label == 1 else -(k // 2)), 0] += 2
    return _three_way(x.astype(np.float32), y, ("none", "up", "down"))


@functools.cache
def table() -> ConversionData:
    """Return rows of eight numbers of unequal spread; two classes that no plane separates."""
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, (400, 8)) * np.linspace(0.5, 2, 8) + np.linspace(-1, 1, 8)
    y = (np.sin(2 * x[:, 0]) + x[:, 3] * x[:, 5] > 0).astype(np.int64)
    return _three_way(x.astype(np.float32), y, ("no", "yes"))


@functools.cache
def sequences() -> ConversionData:
    """Return sequences (12, 6): class 1 has its burst before the dip, class 0 after it."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 2, 400)
    x = rng.normal(0, 0.3, (400, 12, 6)) + np.linspace(-0.3, 0.3, 6)
    for i, label in enumerate(y):
        first, second = sorted(rng.choice(np.arange(1, 11), 2, replace=False))
        x[i, first, :3] += 2 if label else -2
        x[i, second, :3] += -2 if label else 2
    return _three_way(x.astype(np.float32), y, ("after", "before"))


def _train(model, data: ConversionData, epochs: int, rate: float):
    from cheep.convert.finetune import fine_tune

    fine_tune(model, data, ConvertConfig(epochs=epochs, learning_rate=rate, batch_size=32))
    return model


@functools.cache
def detector() -> SourceModel:
    """Return a separable-convolution detector like the project's default, small."""
    k = import_tf().keras
    k.utils.set_random_seed(1)
    layers = k.layers
    x = start = k.Input(SHAPE)
    for width in (12, 16):
        x = layers.Conv2D(width, 3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.DepthwiseConv2D(3, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(20, 1, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = k.Model(start, layers.Dense(3, activation="softmax")(x), name="detector")
    return SourceModel("detector", "keras", _train(model, patterns(), 14, 6e-3), None, SHAPE)


@functools.cache
def mlp() -> SourceModel:
    """Return a perceptron for :func:`table`, one sigmoid output."""
    k = import_tf().keras
    k.utils.set_random_seed(1)
    model = k.Sequential(
        [
            k.layers.Input((8,)),
            k.layers.Dense(32, activation="relu"),
            k.layers.Dense(24, activation="relu"),
            k.layers.Dense(1, activation="sigmoid"),
        ]
    )
    return SourceModel("mlp", "keras", _train(model, table(), 30, 8e-3), None, (8,))


@functools.cache
def recurrent(kind: str = "GRU") -> SourceModel:
    """Return a recurrent classifier for :func:`sequences`, as a user has it: not unrolled."""
    k = import_tf().keras
    k.utils.set_random_seed(1)
    model = k.Sequential(
        [k.layers.Input((12, 6)), getattr(k.layers, kind)(12), k.layers.Dense(2, activation="softmax")]
    )
    model, names = unroll(_train(model, sequences(), 20, 1e-2))
    assert names
    return SourceModel(kind.lower(), "keras", model, None, (12, 6))


TORCH = """
import torch
from torch import nn
INPUT_SHAPE = (1, 20, 16)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                               nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16))
        gate = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 4, 1), nn.ReLU(), nn.Conv2d(4, 16, 1), nn.Sigmoid()]
        self.gate = nn.Sequential(*gate)
        self.c = nn.Sequential(nn.Conv2d(16, 24, 3, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.out = nn.Linear(24, 3)
    def forward(self, x):
        x = self.a(x)
        y = self.b(x)
        x = nn.functional.max_pool2d(torch.relu(x + y * self.gate(y)), 2)
        return self.out(self.c(x).mean((2, 3)))
def make():
    return Net()
"""
_TORCH_TRAIN = """
import sys, warnings, numpy as np, torch
warnings.filterwarnings("ignore")
sys.path.insert(0, sys.argv[1])
from net import make
torch.manual_seed(1)
torch.set_num_threads(1)
data = np.load(sys.argv[1] + "/x.npz")
x, y = torch.from_numpy(data["x"][..., 0][:, None]), torch.from_numpy(data["y"])
net = make()
steps = 25 * (len(x) // 50)
optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
for step in range(steps):
    rows = torch.randperm(len(x))[:50]
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
    optimizer.step()
    schedule.step()
net.eval()
torch.save(net.state_dict(), sys.argv[1] + "/weights.pt")
torch.onnx.export(net, (x[:1],), sys.argv[1] + "/net.onnx", dynamo=False)
"""


@functools.cache
def _torch_folder() -> Path:
    for name in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(name, reason="ONNX and PyTorch are optional: requirements-convert.txt brings them")
    folder = Path(tempfile.mkdtemp(prefix="cheep-torch-"))
    (folder / "net.py").write_text(TORCH)
    np.savez(folder / "x.npz", x=patterns().x["train"], y=patterns().y["train"])
    subprocess.run([sys.executable, "-c", _TORCH_TRAIN, str(folder)], check=True, capture_output=True)
    return folder


@functools.cache
def pytorch() -> SourceModel:
    """Return a PyTorch network with a residual and channel attention, trained on :func:`patterns`."""
    folder = _torch_folder()
    return load_source(f"{folder / 'net.py'}:make", folder / "weights.pt")


@functools.cache
def onnx() -> SourceModel:
    """Return the same network read from an ONNX file."""
    return load_source(str(_torch_folder() / "net.onnx"))
