# SPDX-License-Identifier: MIT
"""A model with everything that its headers say: from ``manifest.json``, or measured where that is missing."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from cheep import __version__
from cheep.config import DetectorConfig, FeatureConfig
from cheep.convert.golden import Golden, golden_windows
from cheep.device.bundle import ModelBundle, load_bundle
from cheep.errors import CheepError
from cheep.tflite.arena import arena_on, arena_on_esp32s3, refused_on_esp
from cheep.tflite.reader import read_graph


@dataclasses.dataclass(frozen=True)
class ExportModel:
    """What is rendered.

    Attributes
    ----------
    bundle : ModelBundle
        Flatbuffer, feature and detector settings, labels.
    arena_bytes : int
        Working memory that TFLM needs, measured on a 64-bit machine with the reference kernels.
    golden : tuple of Golden
        Windows of the boot check, and what TFLM gives for each.
    verifier : ExportModel, optional
        The second network of a detector that has one.
    """

    bundle: ModelBundle
    arena_bytes: int
    golden: tuple[Golden, ...]
    verifier: ExportModel | None = None

    @property
    def features(self) -> FeatureConfig:
        """The model's feature settings."""
        return self.bundle.features

    @property
    def detector(self) -> DetectorConfig:
        """The model's detector settings."""
        return self.bundle.detector

    @property
    def sha256(self) -> str:
        """Of the flatbuffer."""
        return self.bundle.model.sha256

    @property
    def model_id(self) -> int:
        """First 32 bits of the sha256: every header of one model carries them."""
        return int(self.sha256[:8], 16)

    @property
    def arena_bytes_esp32s3(self) -> int:
        """Working memory that TFLM needs with esp-nn's kernels on an ESP32-S3."""
        return arena_on_esp32s3(read_graph(self.bundle.model.data, str(self.bundle.path)), self.arena_bytes)

    @property
    def arena_bytes_cmsis_nn(self) -> int:
        """Working memory that TFLM needs with CMSIS-NN's kernels on a Cortex-M4F."""
        return arena_on("cmsis-nn", read_graph(self.bundle.model.data, str(self.bundle.path)), self.arena_bytes)

    @property
    def refused(self) -> dict[str, str]:
        """Why TFLM must not run it, by ``ESP`` (any) and ``ESP32S3``; empty where it may."""
        return refused_on_esp(read_graph(self.bundle.model.data, str(self.bundle.path)))

    @property
    def version(self) -> str:
        """Cheep's version."""
        return __version__


def load_export(source: str | os.PathLike | None = None) -> ExportModel:
    """Load a run folder, a ``.tflite`` file or the latest run for export.

    Arena and golden windows come from the ``manifest.json`` of the same model; without one they are measured
    in TFLM on this machine.

    Raises
    ------
    CheepError
        See :func:`cheep.device.bundle.load_bundle`; a golden window of another size.
    """
    return _export_of(load_bundle(source))


def _export_of(bundle: ModelBundle) -> ExportModel:
    manifest = _manifest(bundle)
    arena = manifest.get("model", {}).get("arena_bytes")
    golden = manifest.get("golden")
    if golden is not None:
        windows = _golden(golden, bundle)
    if arena is None or golden is None:
        from cheep.tflite.state import tflm_scorer
        from cheep.tflite.tflm import TflmModel

        runtime = TflmModel(bundle.model.data)
        arena = arena if arena is not None else runtime.arena_bytes
        if golden is None:
            scorer, scale, zero_point = tflm_scorer(bundle.model.data), bundle.input.scale, bundle.input.zero_point
            windows = golden_windows(bundle.features, scale, zero_point, scorer, {})
    verifier = None if bundle.verifier is None else _export_of(bundle.verifier)
    return ExportModel(bundle, int(arena), tuple(windows), verifier)


def _manifest(bundle: ModelBundle) -> dict[str, Any]:
    path = bundle.path.parent / "manifest.json"
    if not path.is_file():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    return values if values.get("model", {}).get("sha256") == bundle.model.sha256 else {}


def _golden(golden: Any, bundle: ModelBundle) -> list[Golden]:
    features, classes = bundle.features, len(bundle.labels)
    try:
        values = golden if isinstance(golden, list) else [golden]  # an older Cheep wrote one
        return [Golden.of(value, (features.window_frames, features.n_mels), classes) for value in values]
    except ValueError:
        raise CheepError(
            f"{bundle.path.parent / 'manifest.json'}: golden: must hold a window of {features.window_frames} x "
            f"{features.n_mels} int8 values in base64 and {classes} scores; make the model again"
        ) from None
