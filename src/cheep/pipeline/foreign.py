# SPDX-License-Identifier: MIT
"""Models to start from that were made elsewhere: brought into a run as if they had been trained there."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep import runs
from cheep.config import DetectorConfig, FeatureConfig, RunFile, default_stride
from cheep.convert.bundle import write_bundle
from cheep.datasets.gather import GARBAGE
from cheep.errors import CheepError
from cheep.files import write_bytes
from cheep.tflite.model import read_model

Say = Callable[[str], None]


def bring_keras(path: Path, config: RunFile, run: Path, say: Say) -> None:
    """Bring a Keras model into a run as its ``model.h5``: on (columns, bands) in dB, whatever it was.

    Raises
    ------
    CheepError
        It cannot be read, takes other windows than the features give, or has layers whose axes cannot be exchanged.
    """
    if (path.parent / runs.TRAINING).is_file() and path.suffix == ".h5":  # a run's own
        shutil.copyfile(path, run / runs.FLOAT_MODEL)
        return
    from cheep.convert.load import load_source
    from cheep.models.layout import on_columns
    from cheep.models.saved import save_keras

    source = load_source(str(path))
    if source.keras is None:
        raise CheepError(
            f"run.model={path}: was saved by Keras 3, which holds no layers that can be exchanged or quantized here; "
            "save it with tf_keras (Keras 2) as .h5"
        )
    bands_first = _bands_first(source.input_shape, config, path)
    unit = unit_db(config)
    if bands_first or unit != 1.0:
        say(_what_was_done(path, bands_first, unit))
        save_keras(on_columns(source.keras, bands_first, unit), run / runs.FLOAT_MODEL)
    else:
        save_keras(source.keras, run / runs.FLOAT_MODEL)


def bring_tflite(path: Path, config: RunFile, run: Path, say: Say) -> None:
    """Bring an int8 ``.tflite`` into a run; one without a description gets the run file's, on (columns, bands) in dB.

    Raises
    ------
    CheepError
        It is not int8 inside, takes other windows, has another number of outputs than labels, or operators whose axes
        cannot be exchanged.
    """
    if (path.parent / runs.MANIFEST).is_file() or read_model(path).metadata is not None:
        shutil.copyfile(path, run / runs.INT8_TFLITE)
        if (path.parent / runs.MANIFEST).is_file():
            shutil.copyfile(path.parent / runs.MANIFEST, run / runs.MANIFEST)
        return
    from cheep.tflite.layout import input_sizes, on_columns

    data = path.read_bytes()
    if set(config.run.steps) <= {"benchmark"}:  # the cost is that of the network, whatever it hears
        write_bytes(run / runs.INT8_TFLITE, on_columns(data, config.run.model_layout == "bands"))
        return
    bands_first, unit = _bands_first(input_sizes(data), config, path), unit_db(config)
    try:
        made = on_columns(data, bands_first, unit)
    except CheepError as error:
        raise CheepError(f"run.model={path}: {error}") from None
    labels = labels_of(config)
    outputs = int(read_model(made).outputs[0].shape[-1])
    if not labels and ({"evaluate", "predict", "deploy"} & set(config.run.steps)):
        raise CheepError(f"run.model={path}: says no names of its {outputs} outputs; name them in data.labels")
    if labels and len(labels) != outputs:
        raise CheepError(
            f"run.model={path}: has {outputs} outputs, data.labels {len(labels)} names ({', '.join(labels)}); name "
            "those that it was trained on"
        )
    labels = labels or tuple(f"output {i}" for i in range(outputs))
    say(_what_was_done(path, bands_first, unit))
    limit = config.deploy.threshold
    if limit is None and {"predict", "deploy"} & set(config.run.steps):
        say(f"{path.name}: thresholds are 0.5 for every label, which nobody has measured: cheep calibrate does")
    detector = DetectorConfig(
        stride_frames=default_stride(config.features.hop_s), threshold=(0.5 if limit is None else limit,) * outputs
    )
    write_bundle(
        run,
        runs.INT8_TFLITE,
        made,
        features=config.features,
        labels=labels,
        detector=detector,
        training={"model": {"file": path.name, "sha256": read_model(data).sha256}},
    )


def labels_of(config: RunFile) -> tuple[str, ...]:
    """Return the names of a foreign model's outputs, in their order: sorted, as it learnt them."""
    names = {config.data.rename.get(name, name) for name in config.data.labels}
    if config.data.garbage:
        names.add(config.data.rename.get(GARBAGE, GARBAGE))
    return tuple(sorted(names))


def unit_db(config: RunFile) -> float:
    """Return what a unit of a foreign model's input is in dB."""
    if config.run.model_unit == "db":
        return 1.0
    return (20 if config.features.spectrum == "magnitude" else 10) / math.log(10)


def _bands_first(shape: tuple[int, ...], config: RunFile, path: Path) -> bool:
    from cheep.models.layout import layout_of

    features: FeatureConfig = config.features
    found = layout_of(shape, features.window_frames, features.n_mels, f"run.model={path}")
    wanted: Any = config.run.model_layout
    if wanted == "auto" or features.window_frames != features.n_mels:
        if wanted not in ("auto", found):
            raise CheepError(
                f"run.model_layout={wanted!r}: {path} takes windows of {shape[0]} x {shape[1]}, which is {found}; "
                "leave it out"
            )
        return found == "bands"
    return wanted == "bands"


def _what_was_done(path: Path, bands_first: bool, unit: float) -> str:
    done = ["windows of (bands, columns): its kernels are transposed"] if bands_first else []
    if unit != 1.0:
        done.append(f"natural logarithms: its first kernel takes dB (1 : {unit:.4f})")
    return f"{path.name}: {'; '.join(done) if done else 'taken as it is'}"
