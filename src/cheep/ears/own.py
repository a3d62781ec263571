# SPDX-License-Identifier: MIT
"""The project's own detectors as ears: their scores, and the layer under their last one, of windows of sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.audio import float_to_int16
from cheep.config import FeatureConfig
from cheep.device.bundle import load_bundle
from cheep.device.scoring import make_scorer, runnable_backend
from cheep.ears.runners import Runner
from cheep.errors import CheepError
from cheep.features import compute_features, quantize
from cheep.files import read_json
from cheep.hdc.extractor import cut_at_embedding
from cheep.tflite.model import read_model

KERAS = (".h5", ".keras")


class OwnRunner(Runner):
    """A network of the project.

    Attributes
    ----------
    file
        The model's file.
    labels
        What it tells apart.
    sample_rate_hz
        What it hears.
    """

    file: Path
    labels: tuple[str, ...]
    sample_rate_hz: int

    def _columns(self, window: np.ndarray, features: FeatureConfig) -> np.ndarray:
        return compute_features(float_to_int16(window), features)[: features.window_frames]


def own_runner(spec: str) -> OwnRunner | None:
    """Return the detector that a run, a folder with ``manifest.json``, a ``.tflite`` of Cheep's, or a Keras file is.

    None where ``spec`` is none of these.
    """
    path = Path(spec)
    if path.suffix in KERAS:
        return _Keras(path)
    for folder in (runs.run_path(spec), path):
        if (folder / runs.MANIFEST).is_file():
            return _Int8(folder)
    if path.suffix == ".tflite" and path.is_file():
        described = (path.parent / runs.MANIFEST).is_file() or read_model(path).metadata is not None
        return _Int8(path) if described else None  # another model's, whose labels are not named
    return None


class _Int8(OwnRunner):
    def __init__(self, source: Path) -> None:
        bundle = load_bundle(source)
        self._bundle, self.file, self.labels = bundle, bundle.path, bundle.labels
        self.samples, self.sample_rate_hz = bundle.features.window_samples, bundle.features.sample_rate_hz
        self.n_scores = len(self.labels)
        self._scorer = make_scorer(bundle, runnable_backend(bundle, "compiled"))
        try:
            self._extractor: Any = cut_at_embedding(bundle.path)
        except CheepError:  # one layer, or no dense one at its end: its scores are all there is
            self._extractor = None

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bundle = self._bundle
        columns = self._columns(window, bundle.features)
        x = quantize(columns, bundle.input.scale, bundle.input.zero_point)[None]
        raw = np.asarray(self._scorer.scores(x), np.int8).reshape(-1)
        scores = bundle.own_scale.probabilities(raw).astype(np.float32)
        if self._extractor is None:
            return scores, scores
        vector = self._extractor.embed(x).reshape(-1).astype(np.float32)
        embedding = (vector - self._extractor.zero_point) * self._extractor.scale
        return scores, embedding.astype(np.float32)


class _Keras(OwnRunner):
    def __init__(self, path: Path) -> None:
        from cheep.models.saved import load_keras
        from cheep.tf_runtime import import_tf

        model = load_keras(path)
        about = read_json(path.with_name(runs.TRAINING), runs.TRAIN_COMMAND)
        self._features = FeatureConfig.parse(about["features"], f"{path.with_name(runs.TRAINING)}: features")
        self.file, self.labels = path, tuple(about["labels"])
        self.samples, self.sample_rate_hz = self._features.window_samples, self._features.sample_rate_hz
        self.n_scores = len(self.labels)
        last = next((layer for layer in reversed(model.layers) if layer.weights), None)
        if last is None or model.output_shape[-1] != self.n_scores:
            raise CheepError(
                f"{path}: gives {model.output_shape[-1]} scores, {runs.TRAINING} has {self.n_scores} labels"
            )
        self._model = import_tf().keras.Model(model.input, [model.output, last.input])

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self._columns(window, self._features)[None, ..., None]
        scores, embedding = self._model(x, training=False)
        return scores.numpy().reshape(-1), embedding.numpy().reshape(-1).astype(np.float32)
