# SPDX-License-Identifier: MIT
"""Models of users: Keras (.h5, .keras), SavedModel, ONNX, PyTorch, and what lies beside them."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

from cheep.config import FeatureConfig
from cheep.convert.source import SourceModel
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf, quiet_stderr

SUPPORTED = ".h5, .keras, a SavedModel folder, .onnx, or MODULE.py:FACTORY with --checkpoint for PyTorch"

RECURRENT = ("GRU", "LSTM", "SimpleRNN")


def load_source(path: str, checkpoint: Path | None = None, trust: bool = False, cut: str = "") -> SourceModel:
    """Read a model.

    Parameters
    ----------
    path : file or folder; for PyTorch ``MODULE.py:FACTORY``.
    checkpoint : state dictionary of a PyTorch model.
    trust : allow Keras files that carry Python code (Lambda layers).
    cut : the layer whose output becomes the model's: its name in Keras, its path in PyTorch (``head.projection``).

    Raises
    ------
    CheepError
        Missing, damaged or foreign files; code in a file that is not trusted; an operator without counterpart.
    """
    if ".py:" in path:
        from cheep.convert.pytorch import load_torch

        return load_torch(path, checkpoint, cut)
    source = _load_file(path, trust)
    return cut_at(source, cut) if cut else source


def cut_at(source: SourceModel, name: str) -> SourceModel:
    """Return a Keras model up to the layer ``name``."""
    if source.kind != "keras":
        raise CheepError(
            f"{source.path}: --cut takes a PyTorch network (MODULE.py:FACTORY) or a Keras model with layers; cut it "
            "before the export"
        )
    layers = {layer.name: layer for layer in source.keras.layers}
    if name not in layers:
        raise CheepError(f"{source.path}: no layer {name!r}; it has {', '.join(layers)}")
    keras = import_tf().keras.Model(source.keras.input, layers[name].output, name="cut")
    shape = tuple(int(n) for n in keras.output.shape[1:])
    return dataclasses.replace(source, keras=keras, output_shape=shape)


def _load_file(path: str, trust: bool) -> SourceModel:
    file = Path(path)
    if file.is_dir():
        return _load_saved_model(file, trust)
    if not file.is_file():
        raise CheepError(f"{path}: no such model; --input takes {SUPPORTED}")
    head = file.read_bytes()[:8]
    if file.suffix == ".onnx":
        from cheep.convert.onnx.reader import load_onnx

        return load_onnx(file)
    if head.startswith(b"\x89HDF") or zipfile.is_zipfile(file):
        return _load_keras(file, trust)
    if head[4:8] == b"TFL3":
        raise CheepError(f"{path}: is a .tflite already, which cannot be converted; see cheep inspect and cheep verify")
    if file.suffix in (".h5", ".keras"):
        raise CheepError(f"{path}: damaged: it is neither HDF5 nor a Keras archive; save the model again")
    if file.suffix in (".pt", ".pth", ".ckpt"):
        raise CheepError(f"{path}: weights alone; give the network too: --input MODULE.py:FACTORY --checkpoint {path}")
    raise CheepError(f"{path}: not a model that can be read; --input takes {SUPPORTED}")


def _load_keras(file: Path, trust: bool) -> SourceModel:
    keras = import_tf().keras
    config = _config_text(file)
    if not trust and '"class_name": "Lambda"' in config:
        raise CheepError(f"{file}: holds a Lambda layer, which is Python code; if you trust the file, add --trust")
    if _keras_version(file).startswith("3"):
        return _load_keras3(file)
    return _taken(_read_keras(file, keras, trust), str(file))


def _read_keras(file: Path, keras: Any, trust: bool) -> Any:
    try:
        with quiet_stderr():
            return keras.models.load_model(file, compile=False, safe_mode=not trust)
    except Exception as error:  # Keras raises anything on damaged files
        raise CheepError(
            f"{file}: cannot be read by Keras ({_first_line(error)}); save it again as .h5 or .keras"
        ) from None


def _taken(model: Any, file: str) -> SourceModel:
    """Return a Keras model of one input and output as a source, its recurrent layers unrolled."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise CheepError(
            f"{file}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; a classifier has one of "
            "each (streaming models: cheep convert --streaming, docs/conversion.md)"
        )
    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise CheepError(
            f"{file}: input shape {shape} is not fixed; a device needs fixed sizes (set the shape in Input)"
        )
    model, unrolled = unroll(model)
    notes = [f"{', '.join(unrolled)}: unrolled, so that the steps become plain integer operators"] if unrolled else []
    made = tuple(int(n) for n in model.output.shape[1:])
    return SourceModel(file, "keras", model, None, shape, notes=notes, output_shape=made)


def unroll(model: Any) -> tuple[Any, list[str]]:
    """Return the model with recurrent layers unrolled and stateless, and the names of the layers that were not.

    A loop would become a WHILE operator or a fused one that no integer runtime of a microcontroller has.
    """
    names = [layer.name for layer in model.layers if type(layer).__name__ in RECURRENT and not layer.unroll]
    if not names:
        return model, []

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in names:
            config.update(unroll=True, stateful=False)
            config.pop("batch_input_shape", None)
        return type(layer).from_config(config)

    copy = import_tf().keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy, names


def _config_text(file: Path) -> str:
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return archive.read("config.json").decode("utf-8", "replace")
        import h5py

        with h5py.File(file, "r") as handle:
            text = handle.attrs["model_config"]
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    except KeyError:
        raise CheepError(f"{file}: holds no model (weights only?); save the whole model with model.save()") from None
    except Exception as error:
        raise CheepError(f"{file}: damaged or truncated ({_first_line(error)}); save the model again") from None


def _keras_version(file: Path) -> str:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    import h5py

    with h5py.File(file, "r") as handle:
        version = handle.attrs.get("keras_version", "")
    return version.decode() if isinstance(version, bytes) else str(version)


def _load_keras3(file: Path) -> SourceModel:
    """A Keras 3 file becomes a SavedModel in a process of its own (one process holds one Keras)."""
    import os
    import subprocess
    import sys
    import tempfile

    program = (
        "import os, sys; os.environ['TF_USE_LEGACY_KERAS']='0'; os.environ['TF_CPP_MIN_LOG_LEVEL']='3'; import keras; "
        "m = keras.models.load_model(sys.argv[1], compile=False); "
        "m.export(sys.argv[2], verbose=False)"
    )
    with tempfile.TemporaryDirectory(prefix="cheep-keras3-") as folder:
        environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
        child = subprocess.run(
            [sys.executable, "-c", program, str(file), folder + "/saved"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        if child.returncode:
            reason = (child.stderr.strip().splitlines() or [f"process ended with status {child.returncode}"])[-1]
            raise CheepError(f"{file}: cannot be read by Keras 3 ({reason})")
        source = _load_saved_model(Path(folder) / "saved")
    source.path, source.kind = str(file), "keras3"
    source.notes.append("saved by Keras 3: pruning, clustering and QAT need a model saved by tf_keras (Keras 2)")
    return source


def _load_saved_model(folder: Path, trust: bool = False) -> SourceModel:
    tf = import_tf()
    if not (folder / "saved_model.pb").is_file():
        raise CheepError(f"{folder}: no saved_model.pb in it; --input takes {SUPPORTED}")
    if (folder / "keras_metadata.pb").is_file():  # saved by Keras 2 with its layers
        return _taken(_read_keras(folder, tf.keras, trust), str(folder))
    try:
        with quiet_stderr():
            loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except KeyError:
        raise CheepError(f"{folder}: has no signature 'serving_default'; export it with model.export()") from None
    except Exception as error:
        raise CheepError(f"{folder}: damaged SavedModel ({_first_line(error)}); export it again") from None
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise CheepError(f"{folder}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is needed")
    name, spec = next(iter(inputs.items()))
    key = next(iter(outputs))
    shape = tuple(spec.shape[1:]) if spec.shape.rank else ()
    if not shape or None in shape:
        raise CheepError(f"{folder}: input shape {spec.shape} is not fixed; export it with fixed sizes")

    graph = SavedGraph(loaded, name, key)
    notes = ["a SavedModel has no layers: pruning, clustering and QAT need the Keras model"]
    if graph.has_loops:
        if not graph.has_lstm:
            raise CheepError(
                f"{folder}: holds a loop over a list of tensors that is no LSTM layer; give the Keras model (.h5, "
                ".keras), whose recurrent layers are unrolled, or save it with unroll=True"
            )
        notes.append(
            "its LSTM keeps a state from call to call: reset the interpreter (compiled: model_compiled_reset) before "
            "each example"
        )
    made = tuple(int(n) for n in outputs[key].shape[1:] if n)
    return SourceModel(str(folder), "saved_model", None, graph, shape, notes=notes, output_shape=made)


class SavedGraph:
    """The serving signature of a SavedModel as a function of one tensor (batch, ...) float32."""

    def __init__(self, loaded: Any, name: str, key: str):
        self.loaded, self._name, self._key = loaded, name, key  # ``loaded`` keeps the variables alive
        library = loaded.signatures["serving_default"].graph.as_graph_def().library.function
        self.has_loops = any(node.op.startswith("TensorList") for f in library for node in f.node_def)
        self.has_lstm = any(f.attr["api_implements"].s.startswith(b"lstm_") for f in library)

    def __call__(self, x: Any) -> Any:
        return self.loaded.signatures["serving_default"](**{self._name: x})[self._key]


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def beside(path: str) -> dict[str, Any]:
    """Return ``specs.json`` beside a model, completed from ``manifest.json`` or ``training.json`` of a run."""
    file = Path(path.split(".py:", maxsplit=1)[0])
    folder = file if file.is_dir() else file.parent
    specs: dict[str, Any] = {}
    for name in ("training.json", "manifest.json", "specs.json"):
        if (folder / name).is_file():
            try:
                values = json.loads((folder / name).read_text(encoding="utf-8"))
            except (ValueError, UnicodeDecodeError) as error:
                raise CheepError(f"{folder / name}: damaged JSON ({error})") from None
            if not isinstance(values, dict):
                raise CheepError(f"{folder / name}: must be a JSON object")
            keys = ("labels", "features", "detector", "train") if name != "specs.json" else tuple(values)
            specs.update({key: values[key] for key in keys if key in values})
    return specs


def features_of(specs: dict[str, Any]) -> FeatureConfig | None:
    """Return the feature settings in ``specs``, or None."""
    return FeatureConfig.parse(specs["features"], "features beside the model") if "features" in specs else None
