# SPDX-License-Identifier: MIT
"""One conversion from a model on disk to the files that a device needs, with what it cost."""

from __future__ import annotations

import dataclasses
import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import DetectorConfig, FeatureConfig
from cheep.convert import channels, lookup, shrink
from cheep.convert.config import CALIBRATED, ConvertConfig
from cheep.convert.data import ConversionData, load_data
from cheep.convert.exports import render_c_header, render_c_source, render_python
from cheep.convert.load import beside, features_of, load_source
from cheep.convert.normalization import with_normalization
from cheep.convert.runtime import accuracy, cosines, interpreter_outputs, quantize_as, tflm_outputs
from cheep.convert.schemes import check_calibration, to_scheme
from cheep.convert.source import SourceModel
from cheep.convert.specs import extended_specs
from cheep.errors import CheepError, GateError
from cheep.files import write_bytes, write_json
from cheep.tflite.model import read_model
from cheep.tflite.reader import read_graph
from cheep.tflite.tflm import TflmModel

log = logging.getLogger(__name__)

NORMALIZED_ON = 1024  # training examples that means and variances are of


@dataclasses.dataclass
class Converted:
    """One converted model and what was measured; accuracies are shares of right classes on ``judged``."""

    name: str
    model: bytes
    config: ConvertConfig
    float_accuracy: float | None  # None: a feature extractor
    accuracy: float | None
    tflm: str  # "yes", or TFLM's reason why not
    arena_bytes: int | None
    agreement: float | None  # share of examples with the same class as the float model
    gzip_bytes: int
    sparsity: float
    distinct: int
    channels: dict[str, tuple[int, int]]
    lookup_bytes: int | None = None
    lookup_same_bits: bool | None = None
    instructions: int | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    cosine: float = 1.0  # between float and converted outputs, the mean over the examples
    error_db: float | None = None  # power of the difference against that of the float outputs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values, without the bytes of the model."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values.pop("model")
        values["config"] = self.config.to_dict()
        values["bytes"] = len(self.model)
        return values


def load_all(
    input_path: str,
    dataset: Path,
    seed: int = 1,
    checkpoint: Path | None = None,
    trust: bool = False,
    task: str = "auto",
    cut: str = "",
) -> tuple[SourceModel, ConversionData, dict[str, Any]]:
    """Read model, data and ``specs.json``, and see that they fit each other.

    ``task`` : ``classes``, ``features``, or ``auto``: features where it is cut, or gives a sequence or a map.
    """
    specs = beside(input_path)
    source = load_source(input_path, checkpoint, trust, cut)
    extracts = task == "features" or (task == "auto" and (bool(cut) or source.is_extractor))
    data = load_data(dataset, features_of(specs), specs, seed, labelled=not extracts)
    data = fit_shape(data, source.input_shape)
    if extracts:
        return dataclasses.replace(source, extracts=True), data, specs
    source = source.as_classifier()
    n_out = source.predict(data.x["val"][:1]).reshape(1, -1).shape[1]
    if n_out != len(data.labels) and not (n_out == 1 and len(data.labels) <= 2):
        raise CheepError(
            f"{dataset}: {len(data.labels)} classes ({', '.join(data.labels[:8])}), but the model has {n_out} "
            "outputs; give the data that it was trained for, or labels in specs.json (a feature extractor: --task "
            "features)"
        )
    return source, data, specs


def fits(data: ConversionData, shape: tuple[int, ...]) -> bool:
    """Whether an example of ``data`` is one input of ``shape``, as :func:`fit_shape` takes it."""
    have = data.x["train"].shape[1:]
    turned = len(have) == len(shape) == 3 and (have[1], have[2], have[0]) == tuple(shape)
    return turned or [n for n in have if n != 1] == [n for n in shape if n != 1]


def fit_shape(data: ConversionData, shape: tuple[int, ...]) -> ConversionData:
    """Return ``data`` in the model's input shape, or refuse: axes of length 1 may differ, NCHW becomes NHWC."""
    have = data.x["train"].shape[1:]
    if not fits(data, shape):
        raise CheepError(f"{data.source}: examples of shape {tuple(have)}, the model takes {tuple(shape)}")
    if [n for n in have if n != 1] == [n for n in shape if n != 1]:
        xs = {name: x.reshape((len(x), *shape)) for name, x in data.x.items()}
    else:
        xs = {name: np.ascontiguousarray(np.moveaxis(x, 1, -1)) for name, x in data.x.items()}
    return dataclasses.replace(data, x=xs)


def convert(source: SourceModel, data: ConversionData, config: ConvertConfig) -> Converted:
    """Make one variant of ``source`` and measure it on the judged split.

    Raises
    ------
    CheepError
        A combination that cannot work, with the reason.
    """
    if config.changes_network and source.keras is None:
        why = next((note for note in reversed(source.notes) if "QAT need" in note), "it has no Keras layers")
        raise CheepError(f"{source.path}: {why}; without them only --ptq of the network as it is can be done")
    if config.changes_network and source.extracts:
        raise CheepError(
            f"{source.path}: a feature extractor has no classes to learn again; prune or fine-tune the whole "
            "classifier, then cut it (--cut)"
        )
    judged = data.judged
    x, y = data.x[judged], data.y[judged]
    calibration = data.calibration(config.calibration_examples, config.seed)
    if config.scheme in CALIBRATED:
        check_calibration(calibration, source.input_shape)
    reference = source.predict(x).reshape(len(x), -1)
    model, cut = _changed(source, data, config)
    target = model if model is not None else source.graph
    aware = config.method == "qat"
    tflite = to_scheme(target, source.input_shape, config.scheme, calibration, aware)
    runs_in, arena, outputs = _measure(tflite, x)
    floats = reference if reference.shape[1] > 1 else np.hstack([1 - reference, reference])
    found = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
    plain = None if model is None or aware else model
    variant = Converted(
        name=config.name,
        model=tflite,
        config=config,
        float_accuracy=None if source.extracts else accuracy(reference, y),
        accuracy=None if source.extracts else accuracy(outputs, y),
        tflm=runs_in,
        arena_bytes=arena,
        agreement=None if source.extracts else float(np.mean(floats.argmax(1) == found.argmax(1))),
        gzip_bytes=len(gzip.compress(tflite, 9, mtime=0)),
        sparsity=integer_sparsity(tflite) if plain is None else shrink.sparsity(plain),
        distinct=0 if plain is None else shrink.distinct_weights(plain),
        channels=cut,
        notes=list(source.notes),
        cosine=float(np.mean(cosines(reference, outputs))),
        error_db=_error_db(reference, outputs),
    )
    if config.cluster and config.scheme == "int8":
        _try_lookup(variant, x)
    return variant


def _error_db(reference: np.ndarray, outputs: np.ndarray) -> float | None:
    power, error = np.mean(reference.astype(np.float64) ** 2), np.mean((outputs - reference).astype(np.float64) ** 2)
    return float(10 * np.log10(error / power)) if power > 0 and error > 0 else None


def _changed(
    source: SourceModel, data: ConversionData, config: ConvertConfig
) -> tuple[Any, dict[str, tuple[int, int]]]:
    model, cut = source.keras, dict[str, tuple[int, int]]()
    if not config.changes_network:
        return model, cut
    data = dataclasses.replace(data, teacher=source.predict)
    if config.prune_channels or config.prune or config.cluster:
        model = with_normalization(model, data.calibration(NORMALIZED_ON, config.seed))
    if config.prune_channels:
        model, cut = channels.prune_channels(model, config.prune_channels)
        from cheep.convert.finetune import fine_tune

        fine_tune(model, data, config)
    if config.prune:
        model = shrink.prune_weights(model, data, config)
    if config.cluster:
        model = shrink.cluster_weights(model, data, config)
    if config.method == "qat":
        model = shrink.quantization_aware(model, data, config)
    return model, cut


def _measure(tflite: bytes, x: np.ndarray) -> tuple[str, int | None, np.ndarray]:
    """Return whether TFLM runs the model (or why not), its arena, and the outputs: TFLM's where it runs."""
    try:
        runtime = TflmModel(tflite)
        outputs = tflm_outputs(tflite, x, runtime)
    except CheepError as error:
        return f"no: {str(error).split('cannot run it: ')[-1]}", None, interpreter_outputs(tflite, x)
    reference = interpreter_outputs(tflite, x[:32])
    # Kernels round differently by a step here and there; a departure by a tenth of the range is another result (seen
    # with 16-bit SUM over a SOFTMAX).
    departs = float(np.abs(outputs[:32] - reference).max())
    if departs > 0.1 * max(float(np.ptp(reference)), 1e-3):
        return f"departs from TFLite by {departs:.3g} (an operator's kernel differs)", runtime.arena_bytes, outputs
    return "yes", runtime.arena_bytes, outputs


def _try_lookup(variant: Converted, x: np.ndarray) -> None:
    try:
        packed, _ = lookup.compress(variant.model)
    except CheepError as error:
        variant.notes.append(str(error))
        return
    same = bool(np.array_equal(tflm_outputs(packed, x[:64]), tflm_outputs(variant.model, x[:64])))
    variant.lookup_bytes, variant.lookup_same_bits = len(packed), same


def integer_sparsity(tflite: bytes) -> float:
    """Return the share of zeros among the int8 weights of a ``.tflite``."""
    weights = [
        t.data for t in read_graph(tflite).tensors if t.data is not None and t.dtype == "int8" and len(t.shape) >= 2
    ]
    return sum(int(np.count_nonzero(w == 0)) for w in weights) / max(1, sum(w.size for w in weights))


def write_exports(
    variant: Converted, data: ConversionData, specs: dict[str, Any], folder: Path, stem: str, export: bool
) -> list[Path]:
    """Write ``STEM.tflite`` and ``specs.json``, and with ``export`` also C array, Python module and lookup form."""
    file = f"{stem}.tflite"
    written = [folder / file]
    features = features_of(specs)
    if features and variant.config.scheme == "int8" and variant.tflm == "yes":
        variant.model = _write_bundle(variant, data, specs, features, folder, file)  # now with its metadata
        written.append(folder / runs.MANIFEST)
    else:
        write_bytes(folder / file, variant.model)
    described = extended_specs(
        specs, variant.model, variant.config, data.labels, data.standardize, variant.arena_bytes, file
    )
    if export:
        golden_in = golden_out = None
        if variant.tflm == "yes":
            info = read_model(variant.model)
            golden_in = quantize_as(data.x["val"][:1], info.inputs[0]).reshape(info.inputs[0].shape)
            golden_out = np.array(TflmModel(variant.model).invoke(golden_in))
        texts = {
            f"{stem}.h": render_c_header(variant.model, stem, variant.arena_bytes, described["labels"]),
            f"{stem}.cc": render_c_source(variant.model, stem),
            f"{stem}.py": render_python(variant.model, described["labels"], golden_in, golden_out),
        }
        for name, text in texts.items():
            write_bytes(folder / name, text.encode())
            written.append(folder / name)
        if variant.lookup_bytes is not None and variant.lookup_same_bits:
            write_bytes(folder / f"{stem}_lookup.tflite", lookup.compress(variant.model)[0])
            written.append(folder / f"{stem}_lookup.tflite")
    write_json(folder / "specs.json", described)
    return [*written, folder / "specs.json"]


def _write_bundle(
    variant: Converted, data: ConversionData, specs: dict[str, Any], features: FeatureConfig, folder: Path, file: str
) -> bytes:
    """Write an audio detector with ``manifest.json``, as the headers of the firmware need it; return its bytes."""
    from cheep.convert.bundle import write_bundle

    labels = tuple(specs.get("labels") or data.labels)
    default = {"threshold": [None if label == "background" else 0.5 for label in labels]}
    detector = DetectorConfig.parse(specs.get("detector", default), "detector beside the model")
    golden = quantize_as(data.x["val"][:1], read_model(variant.model).inputs[0])[0].reshape(data.x["val"].shape[1:3])
    conversion = {"convert": variant.config.to_dict(), "source": Path(data.source).name}
    write_bundle(
        folder,
        file,
        variant.model,
        features=features,
        labels=labels,
        detector=detector,
        golden=golden,
        training=conversion,
    )
    return (folder / file).read_bytes()


def check_loss(variant: Converted, max_loss: float | None) -> None:
    """Raise GateError if the variant lost more than ``max_loss`` points of accuracy."""
    if variant.float_accuracy is None or variant.accuracy is None:
        return
    lost = 100 * (variant.float_accuracy - variant.accuracy)
    if max_loss is not None and lost > max_loss:
        raise GateError(
            f"{variant.name}: loses {lost:.2f} points of accuracy, more than --max-loss {max_loss:g}; use "
            "--qat, more --epochs, or see which layer loses it with --sensitivity"
        )
