# SPDX-License-Identifier: MIT
"""Run another model's file: LiteRT, ONNX Runtime or a SavedModel: a window of samples in, scores and embedding out."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cheep.errors import CheepError

_POOLED = "GLOBAL_AVG_POOL"  # BirdNET 2.4: the tensor that its heads stand on is no output


class Heard(NamedTuple):
    """What a model gives for windows: scores (n, labels) float32 in 0..1, embeddings (n, d) float32."""

    scores: np.ndarray
    embeddings: np.ndarray


class Runner:
    """A model's file; ``samples`` is the length of its window, ``n_scores`` how many labels it has."""

    samples: int
    n_scores: int

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (scores as the file gives them, embedding) of one window, (samples,) float32 in -1..1."""
        raise NotImplementedError


def digest_of(path: Path) -> str:
    """Return the sha256 of a file, or of the files of a SavedModel in the order of their names."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    for item in files:
        if path.is_dir() and item.suffix not in (".pb", ".index") and ".data-" not in item.name:
            continue
        digest.update(item.read_bytes())
    return digest.hexdigest()


def to_probability(raw: np.ndarray) -> np.ndarray:
    """Return ``raw`` (n, labels) as float32 in 0..1; what leaves that range is taken for logits, label by label."""
    if raw.size and (raw.min() < 0 or raw.max() > 1):
        return (1 / (1 + np.exp(-np.clip(raw, -30, 30)))).astype(np.float32)
    return raw.astype(np.float32)


class TfliteRunner(Runner):
    def __init__(self, path: Path, n_labels: int) -> None:
        interpreter = _interpreter(path)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        shape = [int(n) for n in inputs[0]["shape"]]
        if len(inputs) != 1 or inputs[0]["dtype"] != np.float32 or not 1 <= len(shape) <= 2:
            raise CheepError(f"{path}: takes {[item['shape'].tolist() for item in inputs]}: must take one window of "
                             "samples, (1, samples) float32")  # fmt: skip
        fitting = [item for item in outputs if int(np.prod(item["shape"])) == n_labels]
        if not fitting:
            raise _other_length(path, [int(np.prod(item["shape"])) for item in outputs], n_labels)
        interpreter.allocate_tensors()
        self._interpreter, self._input = interpreter, inputs[0]
        self._scores = fitting[0]["index"]
        self._embedding = _embedding_index(interpreter, outputs, self._scores)
        self.samples, self.n_scores = shape[-1], n_labels

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (labels,) and embedding (d,), float32, of one window, (samples,) float32."""
        self._interpreter.set_tensor(self._input["index"], window.reshape(self._input["shape"]).astype(np.float32))
        self._interpreter.invoke()
        scores = self._interpreter.get_tensor(self._scores).reshape(-1)
        at = self._scores if self._embedding is None else self._embedding
        return scores, self._interpreter.get_tensor(at).reshape(-1).astype(np.float32)


def _interpreter(path: Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # the extra is not here; TensorFlow has an interpreter too
        from cheep.tf_runtime import import_tf

        Interpreter = import_tf().lite.Interpreter
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # all tensors are kept: the embedding is one
            return Interpreter(str(path), num_threads=1, experimental_preserve_all_tensors=True)
    except (ValueError, RuntimeError, OSError) as error:
        raise CheepError(f"{path}: cannot be opened as a TFLite model ({str(error).splitlines()[0]})") from None


def _embedding_index(interpreter: Any, outputs: list[dict[str, Any]], scores: int) -> int | None:
    """Return the tensor that the scores stand on: an output that is none, or what the last layer takes in."""
    others = [item["index"] for item in outputs if item["index"] != scores and np.prod(item["shape"]) > 1]
    if others:
        return int(others[0])
    pooled = [item["index"] for item in interpreter.get_tensor_details() if _POOLED in item["name"]
              and item["shape"].size == 2]  # fmt: skip
    return int(pooled[-1]) if pooled else None


class OnnxRunner(Runner):
    def __init__(self, path: Path, n_labels: int) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise CheepError(f"{path}: needs onnxruntime (pip install onnxruntime)") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes
            raise CheepError(f"{path}: cannot be opened as ONNX ({str(error).splitlines()[0]})") from None
        first = self._session.get_inputs()[0]
        length = first.shape[-1]
        if len(first.shape) != 2 or not isinstance(length, int):
            raise CheepError(f"{path}: takes {first.shape}: must take (1, samples)")
        self._name, self.samples, self.n_scores = first.name, length, n_labels
        outputs = self._session.run(None, {self._name: np.zeros((1, length), np.float32)})
        self._scores, self._embedding = places(path, [np.asarray(item) for item in outputs], n_labels)

    def run(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (labels,) and embedding (d,), float32, of one window, (samples,) float32."""
        found = self._session.run(None, {self._name: window[None].astype(np.float32)})
        return pooled(found[self._scores], self.n_scores), pooled(found[self._embedding])


def places(path: Path, outputs: list[np.ndarray], n_labels: int) -> tuple[int, int]:
    """Return which outputs are scores and embedding (the scores themselves where there is no other).

    ``outputs``: of one window, each (labels,), (d,) or (frames, d) float32.

    Raises
    ------
    CheepError
        No output is as long as the list of labels.
    """
    widths = [item.shape[-1] if item.ndim else 1 for item in outputs]
    if n_labels not in widths:
        raise _other_length(path, widths, n_labels)
    scores = widths.index(n_labels)
    others = [place for place, item in enumerate(outputs) if place != scores and item.ndim <= 2 and widths[place] > 1]
    return scores, others[0] if others else scores


def pooled(values: Any, width: int | None = None) -> np.ndarray:
    """Return (d,) float32 of what may be (frames, d): the mean over frames."""
    values = np.asarray(values, np.float32)
    return values.reshape(-1, width or values.shape[-1]).mean(axis=0)


def _other_length(path: Path, widths: list[int], n_labels: int) -> CheepError:
    return CheepError(
        f"{path}: gives {', '.join(map(str, widths))} values, the labels file has {n_labels} lines: must be as many; "
        "name the labels file of this model (FILE,LABELS)"
    )
