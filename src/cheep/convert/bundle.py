# SPDX-License-Identifier: MIT
"""A model and everything that travels with it: metadata inside the ``.tflite``, ``manifest.json`` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import __version__, runs
from cheep.config import DetectorConfig, FeatureConfig
from cheep.convert.golden import golden_windows
from cheep.files import write_bytes, write_json
from cheep.tflite.model import read_model, write_metadata
from cheep.tflite.state import tflm_scorer
from cheep.tflite.tflm import TflmModel


def write_bundle(
    folder: Path,
    name: str,
    tflite: bytes,
    *,
    features: FeatureConfig,
    labels: Sequence[str],
    detector: DetectorConfig,
    golden: np.ndarray | Mapping[str, np.ndarray] | None = None,
    data: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    streaming: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``folder/name`` with its metadata and ``folder/manifest.json``; return the manifest.

    Parameters
    ----------
    tflite : bytes
        An int8 model of one input, or with a state (:mod:`cheep.tflite.state`).
    golden : (columns, mels) int8, or several by label, optional
        Real windows; with those that are made by a rule (:mod:`cheep.convert.golden`) and their scores in TFLM they are
        the boot check of the firmware.
    data, training : dict, optional
        What it was trained on and how (hashes, seed, settings, versions).

    streaming : dict, optional
        Of a model with a state: ``stride_frames``, the columns between two of its windows.
    scores : dict, optional
        What its scores mean (:func:`cheep.tflite.logits.logit_model`); None: they are probabilities.

    Raises
    ------
    CheepError
        TFLM cannot run the model.
    """
    described = {
        "cheep_version": __version__,
        "features": features.to_dict(),
        "feature_hash": f"0x{features.hash32:08x}",
        "labels": list(labels),
        "detector": detector.to_dict(),
        "data": data or {},
        "training": {**(training or {}), "versions": package_versions()},
    }
    if streaming:
        described["streaming"] = streaming
    if scores:
        described["scores"] = scores
    bytes_ = write_metadata(tflite, described)
    info = read_model(bytes_)
    runtime = TflmModel(bytes_)
    manifest: dict[str, Any] = {
        **described,
        "model": {
            "file": name,
            "bytes": len(bytes_),
            "sha256": info.sha256,
            "input": info.inputs[0].to_dict(),
            "output": info.outputs[0].to_dict(),
            "operators": list(info.operators),
            "arena_bytes": runtime.arena_bytes,
        },
    }
    calls = golden if isinstance(golden, Mapping) else {} if golden is None else {"example": golden}
    source = info.inputs[0]
    made = golden_windows(features, source.scale, source.zero_point, tflm_scorer(bytes_), calls)
    manifest["golden"] = [golden_window.to_dict() for golden_window in made]
    write_bytes(folder / name, bytes_)
    write_json(folder / runs.MANIFEST, manifest)
    return manifest


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("numpy", "soxr", "tensorflow", "tensorflow-model-optimization", "tf_keras", "tflite-micro"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
