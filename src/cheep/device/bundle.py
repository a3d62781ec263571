# SPDX-License-Identifier: MIT
"""A trained model with everything that travels with it, checked before use."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from cheep.config import DetectorConfig, FeatureConfig
from cheep.config.detector import VerifyConfig
from cheep.detector import ScoreScale, check_classes
from cheep.errors import CheepError
from cheep.tflite.model import TensorInfo, TfliteModel, read_model
from cheep.tflite.state import check_states

_MANIFEST = "manifest.json"
#: The folder beside the manifest that holds the second network.
VERIFY = "verify"


@dataclasses.dataclass(frozen=True)
class ModelBundle:
    """An int8 detector: the flatbuffer, and the model's own copy of features, labels and detector settings."""

    path: Path
    model: TfliteModel
    features: FeatureConfig
    detector: DetectorConfig
    labels: tuple[str, ...]
    scale: ScoreScale  # what the scores mean: of the mean with a second network, where there is one
    own_scale: ScoreScale  # what this network's own scores mean
    verifier: ModelBundle | None = None  # the second network (detector.verify)

    @property
    def input(self) -> TensorInfo:
        """The window: int8 (1, window_frames, n_mels, 1)."""
        return self.model.inputs[0]

    @property
    def output(self) -> TensorInfo:
        """The scores: int8 (1, n_classes)."""
        return self.model.outputs[0]

    @property
    def states(self) -> int:
        """Number of states that the model carries from window to window."""
        return len(self.model.inputs) - 1

    @property
    def stride_s(self) -> float:
        """Time between two runs of the network, s."""
        return self.detector.stride_frames * self.features.hop_s


def load_bundle(source: str | os.PathLike | None = None) -> ModelBundle:
    """Load a detector from a run folder, a folder with ``manifest.json``, a ``.tflite`` file, or the latest run.

    A ``manifest.json`` beside the file is preferred (calibration writes thresholds there); without one the
    metadata inside the ``.tflite`` is used. The two must describe the same model.

    Raises
    ------
    CheepError
        No such model; no description of the sound; manifest of another model; a model that is not int8 or whose
        shapes disagree with its settings.
    """
    path, manifest = _locate(source)
    model = read_model(path)
    if manifest is None:
        values = model.metadata
        if values is None:
            raise CheepError(
                f"{path}: the file carries no description of the sound and no {_MANIFEST} lies beside it; "
                "convert it with Cheep (cheep train-qat)"
            )
    else:
        values = manifest
        expected = values.get("model", {}).get("sha256")
        if expected is not None and expected != model.sha256:
            raise CheepError(
                f"{path}: sha256 {model.sha256[:12]}… is not the {str(expected)[:12]}… that {_MANIFEST} describes; "
                "the two files are of different models (copy both, or train again)"
            )
    where = f"{path.parent / _MANIFEST if manifest is not None else path}"
    labels = values.get("labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(item, str) for item in labels):
        raise CheepError(f"{where}: labels={labels!r}: must be a list of names, one per score; train the model again")
    check_classes(len(labels))
    features = FeatureConfig.parse(_section(values, "features", where), f"{where}: features")
    detector = DetectorConfig.parse(_section(values, "detector", where), f"{where}: detector")
    _check_hashes(values, features, model, where)
    scale = ScoreScale.of(model.outputs[0], values.get("scores"), where)
    bundle = ModelBundle(path, model, features, detector, tuple(labels), scale, scale)
    _check_shapes(bundle)
    _check_stride(bundle, values, where)
    _check_gate(bundle, where)
    if detector.verify is None:
        return bundle
    return with_verifier(bundle, _verifier(bundle, where), detector.verify, where)


def _verifier(bundle: ModelBundle, where: str) -> ModelBundle:
    folder = bundle.path.parent / VERIFY
    if not folder.is_dir():
        raise CheepError(
            f"{where}: detector.verify: its network should lie in {folder}, which is not there; copy the whole folder, "
            "or calibrate again (cheep calibrate --verify RUN)"
        )
    return load_bundle(folder)


def with_verifier(
    bundle: ModelBundle, second: ModelBundle, config: VerifyConfig, where: str = "detector.verify"
) -> ModelBundle:
    """Return ``bundle`` with the network ``second`` asked as ``config`` says.

    Raises
    ------
    CheepError
        The second network is another one, or cannot verify this one: it has a state, hears another sample rate or a
        longer window, wants PCEN, lacks a label, or its scores mean something else.
    """
    if second.model.sha256 != config.network:
        raise CheepError(
            f"{where}: network {config.network[:12]}… is not {second.path} ({second.model.sha256[:12]}…); calibrate "
            "again (cheep calibrate --verify RUN)"
        )
    check_verifier(bundle, second, where)
    if not len(config.ask) == len(config.idle) == len(bundle.labels):
        raise CheepError(
            f"{where}: {len(config.ask)} values of ask and {len(config.idle)} of idle do not fit {len(bundle.labels)} "
            "labels; calibrate again (cheep calibrate --verify RUN)"
        )
    detector = bundle.detector.model_copy(update={"verify": config})
    scale = mean_scale(bundle.own_scale, second.own_scale, config.weight)
    return dataclasses.replace(bundle, detector=detector, scale=scale, verifier=second)


def mean_scale(first: ScoreScale, second: ScoreScale, weight: float) -> ScoreScale:
    """Return what the weighted mean of two networks' scores means, as int8: its reach is just that of the mean."""
    low, high = (
        weight * (q - first.zero_point) * first.scale + (1 - weight) * (q - second.zero_point) * second.scale
        for q in (-128, 127)
    )
    step = float(np.float32((high - low) / 255))
    return ScoreScale(first.kind, step, int(np.clip(-128 - round(low / step), -128, 127)))


def check_verifier(bundle: ModelBundle, second: ModelBundle, where: str) -> None:
    """Raise :class:`CheepError` where ``second`` cannot verify what ``bundle`` lets through."""
    one, two = bundle.features, second.features
    missing = [label for label in bundle.labels if label not in second.labels]
    problem = ""
    if bundle.states or second.states:
        problem = "a network with a state (recurrent) hears every window: neither of the two may have one; take others"
    elif second.detector.verify is not None:
        problem = "the second network has a second network itself; take one without (detector.verify)"
    elif unfit := cannot_verify(one, two):
        problem = unfit
    elif missing:
        problem = (
            f"it does not know {', '.join(missing)} (its labels: {', '.join(second.labels)}); train it on all labels "
            "of the first network"
        )
    elif second.own_scale.kind != bundle.own_scale.kind:
        problem = f"its scores are of kind {second.own_scale.kind}, not {bundle.own_scale.kind}: train both alike"
    elif second.own_scale.kind == "log_odds" and set(second.labels) != set(bundle.labels):
        more = [label for label in second.labels if label not in bundle.labels]
        problem = f"its softmax is over more labels ({', '.join(more)}); train it on those of the first network"
    if problem:
        raise CheepError(f"{where}: {second.path} cannot verify {bundle.path.name}: {problem}")


def cannot_verify(one: FeatureConfig, two: FeatureConfig) -> str:
    """Return why what hears ``two`` cannot verify what hears ``one``; nothing where it can."""
    if one.sample_rate_hz != two.sample_rate_hz:
        return (
            f"it hears {two.sample_rate_hz} Hz, the first network {one.sample_rate_hz} Hz: both hear one stream; train "
            "one of them with the features.sample_rate_hz of the other"
        )
    if two.compression != "db":
        return (
            f"its columns are {two.compression}, which depend on what was heard before, and it hears only what it is "
            "asked about; train it on levels (features.compression: db)"
        )
    if two.window_samples > one.window_samples:
        frames = int((one.window_samples - two.frame_samples) // two.hop_samples) + 1
        return (
            f"its window of {two.window_s:.3f} s is longer than the first network's {one.window_s:.3f} s, from which "
            f"it is cut; train it with features.window_frames: {frames} or less, or the first one with more"
        )
    return ""


def find_model(source: str | os.PathLike | None = None) -> Path:
    """Return the ``.tflite`` file that :func:`load_bundle` would load: of a run, of the latest run, or the file."""
    return _locate(source)[0]


def describes_sound(source: str | os.PathLike | None = None) -> bool:
    """Whether a manifest or the model's own metadata says what the model hears; other networks have no bundle."""
    path, manifest = _locate(source)
    return manifest is not None or "features" in (read_model(path).metadata or {})


def _locate(source: str | os.PathLike | None) -> tuple[Path, dict[str, Any] | None]:
    from cheep import runs

    path = runs.find_run() if source is None else Path(source)
    if source is not None and runs.run_path(source).is_dir():
        path = runs.run_path(source)
    if path.is_file() and path.suffix == ".json":
        manifest = _read(path)
        return path.parent / _model_file(manifest, path), manifest
    if path.is_file():
        beside = path.parent / _MANIFEST
        if beside.is_file():
            manifest = _read(beside)
            if _model_file(manifest, beside) == path.name:
                return path, manifest
        return path, None  # a manifest is of another file of this folder; the metadata inside the model decides
    if path.is_dir():
        manifest_path = path / _MANIFEST
        if manifest_path.is_file():
            manifest = _read(manifest_path)
            return path / _model_file(manifest, manifest_path), manifest
        files = sorted(path.glob("*.tflite"))
        if len(files) == 1:
            return files[0], None
        found = f"{len(files)} .tflite files and" if files else "no .tflite file and"
        raise CheepError(f"{path}: {found} no {_MANIFEST}; make the int8 model with cheep train-qat")
    raise CheepError(f"{path}: no such model; give a run folder or a .tflite file (cheep train-qat makes one)")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: damaged JSON ({error}); make it again with cheep train-qat") from None
    if not isinstance(values, dict):
        raise CheepError(f"{path}: holds no object; make it again with cheep train-qat")
    return values


def _model_file(manifest: dict[str, Any], path: Path) -> str:
    name = manifest.get("model", {}).get("file") if isinstance(manifest.get("model"), dict) else None
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise CheepError(f"{path}: model.file={name!r}: must name the .tflite beside it; make the manifest again")
    return name


def _section(values: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    section = values.get(name)
    if not isinstance(section, dict):
        raise CheepError(f"{where}: no {name!r} section; make the model again with cheep train-qat")
    return section


def _check_hashes(values: dict[str, Any], features: FeatureConfig, model: TfliteModel, where: str) -> None:
    stated = values.get("feature_hash")
    if stated is not None and int(str(stated), 0) != features.hash32:
        raise CheepError(
            f"{where}: feature_hash={stated}: its own feature settings give 0x{features.hash32:08x}; the settings were "
            "edited after training (train again, or restore the file)"
        )
    inside = (model.metadata or {}).get("features")
    if isinstance(inside, dict) and FeatureConfig.parse(inside, where).hash32 != features.hash32:
        raise CheepError(
            f"{where}: feature settings differ from those inside the model (0x{features.hash32:08x} against "
            f"0x{FeatureConfig.parse(inside, where).hash32:08x}); the manifest is of another model"
        )


def _check_stride(bundle: ModelBundle, values: dict[str, Any], where: str) -> None:
    """A model with a state was trained with one step between its windows: no other stride may run it."""
    if not check_states(bundle.model, str(bundle.path)):
        return
    step = _section(values, "streaming", where).get("stride_frames")
    if step != bundle.detector.stride_frames:
        raise CheepError(
            f"{where}: detector.stride_frames={bundle.detector.stride_frames}: a model with a state must be run every "
            f"{step} columns, the step it was made for; set stride_frames to {step}"
        )


def _check_gate(bundle: ModelBundle, where: str) -> None:
    gate = bundle.detector.gate
    if gate is None:
        return
    if bundle.states:
        raise CheepError(f"{where}: detector.gate: a network with a state hears every window; remove the gate")
    if len(gate.idle) != len(bundle.labels) or gate.first_band >= bundle.features.n_mels:
        raise CheepError(
            f"{where}: detector.gate: {len(gate.idle)} idle scores and first_band={gate.first_band} do not fit "
            f"{len(bundle.labels)} labels and {bundle.features.n_mels} bands; calibrate again (cheep calibrate --gate)"
        )


def _check_shapes(bundle: ModelBundle) -> None:
    path, features = bundle.path, bundle.features
    if bundle.input.dtype != "int8" or bundle.output.dtype != "int8":
        kinds = ", ".join(tensor.dtype for tensor in (*bundle.model.inputs, *bundle.model.outputs))
        raise CheepError(
            f"{path}: tensors are {kinds}: an int8 input and an int8 output are needed, as on the board "
            "(make the int8 model with cheep train-qat)"
        )
    size = features.window_frames * features.n_mels
    got = 1
    for length in bundle.input.shape:
        got *= length
    if got != size or bundle.output.shape[-1] != len(bundle.labels):
        raise CheepError(
            f"{path}: input {bundle.input.shape} and {bundle.output.shape[-1]} scores do not fit its settings "
            f"({features.window_frames} columns x {features.n_mels} bands, {len(bundle.labels)} labels); "
            "model and manifest are of different trainings"
        )
