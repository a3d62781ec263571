# SPDX-License-Identifier: MIT
"""``cheep convert --streaming`` of a detector trained here (``crnn``): one int8 model that carries its state.

In training the recurrent layer sees one window from the zero state. On a device it listens for ever, so before
conversion the recurrent part is trained on with what went before each window: whole recordings run through it, and it
is judged at the columns where labelled windows end.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import DetectorConfig, FeatureConfig, TrainConfig
from cheep.convert.bundle import write_bundle
from cheep.convert.load import beside, features_of, load_source
from cheep.convert.merge import merge_pair
from cheep.convert.recurrent_cell import Cell, cell_from_keras, run_float
from cheep.convert.runtime import quantize_as
from cheep.convert.schemes import to_scheme
from cheep.convert.step_model import check_drift, convert_step
from cheep.detector import ScoreScale
from cheep.errors import CheepError
from cheep.tf_runtime import import_tf
from cheep.tflite.logits import logit_model
from cheep.tflite.model import read_model
from cheep.tflite.state import tflm_scorer

MODEL = "bird_detector_int8.tflite"
MAX_STEPS = 160  # of a training sequence; longer recordings are cut
_CHAIN = (
    "Conv2D", "DepthwiseConv2D", "SeparableConv2D", "BatchNormalization", "ReLU", "Activation", "MaxPooling2D",
    "AveragePooling2D", "Dropout",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recurrent:
    """A detector taken apart: the backbone over ``chunk_frames`` columns, run every ``stride_frames``, and the cell."""

    backbone: Any  # Keras model from (1, chunk_frames, mels, 1) to (1, features)
    layer: Any
    head: Any
    activation: str
    chunk_frames: int
    stride_frames: int

    @property
    def cell(self) -> Cell:
        """The recurrent step with its weights as they are now."""
        return cell_from_keras(self.layer, self.head, self.activation)


def take_apart(model: Any) -> Recurrent:
    """Return the parts of a Keras model: a chain of convolutions, GRU or LSTM over time, a linear layer.

    Raises
    ------
    CheepError
        The model is built otherwise; says what was found.
    """
    keras = import_tf().keras
    recurrent = [layer for layer in model.layers if type(layer).__name__ in ("GRU", "LSTM")]
    if len(recurrent) != 1:
        raise CheepError(
            f"{model.name}: has {len(recurrent)} recurrent layers; --streaming takes a network with one GRU or LSTM "
            "behind convolutions (cheep train --model crnn)"
        )
    layer = recurrent[0]
    first = layer.input[0] if isinstance(layer.input, list) else layer.input
    chain: list[Any] = []
    at = first._keras_history.layer
    while type(at).__name__ != "InputLayer":
        if type(at).__name__ not in (*_CHAIN, "Reshape") or (type(at).__name__ == "Reshape" and chain):
            raise CheepError(
                f"{model.name}: layer {at.name} ({type(at).__name__}) before the recurrent one: must be one of "
                f"{', '.join(_CHAIN)}, and one Reshape to vectors"
            )
        if type(at).__name__ != "Reshape":
            chain.insert(0, at)
        at = at.input._keras_history.layer
    heads = [x for x in model.layers[model.layers.index(layer) :] if type(x).__name__ in ("Dense", "Conv2D")]
    if len(heads) != 1:
        raise CheepError(
            f"{model.name}: {len(heads)} layers with weights behind {layer.name}; one linear layer is needed"
        )
    frames, mels = model.input_shape[1:3]
    chunk = _fewest(chain, mels, frames, 1)
    stride = _fewest(chain, mels, frames, 2) - chunk
    source = keras.Input((chunk, mels, 1))
    x = source
    for part in chain:
        x = part(x)
    x = keras.layers.Reshape((int(np.prod(x.shape[1:])),))(x)
    activation = model.layers[-1].get_config().get("activation", "")
    return Recurrent(
        keras.Model(source, x), layer, heads[0], "" if activation == "linear" else activation, chunk, stride
    )


def _fewest(chain: list[Any], mels: int, most: int, rows: int) -> int:
    """Return the fewest columns from which the chain makes ``rows`` rows."""
    for frames in range(1, most + 1):
        shape: tuple[Any, ...] = (1, frames, mels, 1)
        try:
            for layer in chain:
                shape = tuple(layer.compute_output_shape(shape))
        except ValueError:  # too few columns for a layer
            continue
        if shape[1] is not None and shape[1] >= rows:
            return frames
    raise CheepError(f"{most} columns make fewer than {rows} rows before the recurrent layer; use a longer window")


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Pieces of recordings.

    ``columns`` (n, columns, mels) float32; ``targets`` (n, steps, classes) float32 and ``weight`` (n, steps): 1 where a
    labelled window ends and the piece reaches back to its start, else 0.
    """

    columns: np.ndarray
    targets: np.ndarray
    weight: np.ndarray

    def chunks(self, parts: Recurrent) -> np.ndarray:
        """Return what the backbone sees, (n, steps, chunk, mels, 1) float32."""
        n, total, mels = self.columns.shape
        starts = np.arange(0, total - parts.chunk_frames + 1, parts.stride_frames)
        rows = starts[:, None] + np.arange(parts.chunk_frames)
        return self.columns[:, rows].reshape((n, len(starts), parts.chunk_frames, mels, 1))


def cut_sequences(windows: Any, parts: Recurrent, steps: int) -> Sequences:
    """Cut recordings into pieces of ``steps`` steps that overlap by a window, labelled where windows end."""
    frames = windows.cache.config.window_frames
    total = parts.chunk_frames + (steps - 1) * parts.stride_frames
    columns, targets, weight = [], [], []
    for clip in np.unique(windows.clip):
        own = np.flatnonzero(windows.clip == clip)
        low, high = int(windows.low[own[0]]), int(windows.high[own[0]]) + frames
        ends = windows.first[own] - low + frames  # one past the last column of each window
        for start in range(0, max(1, high - low - frames), total - frames):
            piece = windows.cache.columns[low + start : min(high, low + start + total)]
            short = total - len(piece)
            target = np.zeros((steps, windows.targets.shape[1]), np.float32)
            heavy = np.zeros(steps, np.float32)
            for row, end in zip(own, ends, strict=True):
                # the step whose chunk ends last within the window
                step = (end - start - parts.chunk_frames) // parts.stride_frames
                if end - frames >= start and 0 <= step < steps and end - start <= len(piece):
                    target[step], heavy[step] = windows.targets[row], 1
            if heavy.any():
                columns.append(np.pad(piece, ((0, short), (0, 0)), mode="edge"))
                targets.append(target)
                weight.append(heavy)
    return Sequences(np.array(columns, np.float32), np.array(targets), np.array(weight))


def train_on(parts: Recurrent, train: Sequences, val: Sequences, epochs: int, rate: float, seed: int) -> list[float]:
    """Train the recurrent layer and the head on sequences, in place; return the validation loss of each epoch.

    The first value is the loss before; the weights of the best epoch (or those before) are kept.
    """
    tf = import_tf()
    keras = tf.keras
    keras.utils.set_random_seed(seed)
    features = {}
    for name, part in (("train", train), ("val", val)):
        chunks = part.chunks(parts)
        flat = parts.backbone.predict(chunks.reshape((-1, *chunks.shape[2:])), batch_size=512, verbose=0)
        features[name] = flat.reshape((*chunks.shape[:2], -1))
    config = {**parts.layer.get_config(), "return_sequences": True, "unroll": False, "stateful": False}
    config.pop("batch_input_shape", None)
    layer = type(parts.layer).from_config(config)
    dense = keras.layers.Dense(train.targets.shape[2], activation=parts.activation or None)
    source = keras.Input((None, features["train"].shape[2]))
    model = keras.Model(source, dense(layer(source)))
    layer.set_weights(parts.layer.get_weights())
    kernel, bias = parts.head.get_weights()
    dense.set_weights([kernel.reshape(kernel.shape[-2:]), bias])
    loss = (
        keras.losses.BinaryCrossentropy() if parts.activation == "sigmoid" else keras.losses.CategoricalCrossentropy()
    )
    optimizer = keras.optimizers.legacy.Adam(rate)
    model.compile(optimizer, loss, sample_weight_mode="temporal", weighted_metrics=[])
    # (Keras divides by all steps: so many that the mean is that over the labelled ones)
    weight = {name: part.weight / part.weight.mean() for name, part in (("train", train), ("val", val))}

    def validation() -> float:
        return float(model.evaluate(features["val"], val.targets, sample_weight=weight["val"], verbose=0))

    losses, best = [validation()], model.get_weights()
    for epoch in range(epochs):
        optimizer.learning_rate.assign(rate * max(0.02, 0.5 * (1 + np.cos(np.pi * epoch / epochs))))
        model.fit(features["train"], train.targets, sample_weight=weight["train"], batch_size=16, verbose=0)
        losses.append(validation())
        if losses[-1] <= min(losses):
            best = model.get_weights()
    model.set_weights(best)
    parts.layer.set_weights(layer.get_weights())
    kernel_after, bias_after = dense.get_weights()
    parts.head.set_weights([kernel_after.reshape(kernel.shape), bias_after])
    return losses


def convert_detector(job: dict[str, Any], folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Convert a trained recurrent detector; write the model with its manifest and ``streaming.json``."""
    from cheep.datasets.manifest import load_manifest
    from cheep.training.data import LabelPlan, load_cache, window_set

    specs = beside(job["input"])
    features = features_of(specs)
    if features is None:
        raise CheepError(
            f"{job['input']}: no training.json beside it; --streaming takes model.h5 of a run (or PyTorch)"
        )
    source = load_source(job["input"], None, job["trust"])
    if source.keras is None:
        raise CheepError(f"{job['input']}: {source.notes[-1]}; --streaming takes a Keras model of layers")
    parts = take_apart(source.keras)
    path = Path(job["dataset"])
    manifest = load_manifest(path)
    plan = LabelPlan.of(manifest, TrainConfig.parse(specs.get("train", {}), "training.json beside the model: train"))
    if list(plan.labels) != list(specs.get("labels", plan.labels)):
        raise CheepError(f"{path}: labels {list(plan.labels)} are not those of the model {specs['labels']}")
    cache = load_cache(manifest, features, path.parent / "features")
    steps = MAX_STEPS
    cut = {
        split: cut_sequences(window_set(manifest.of_split(split), cache, plan), parts, steps)
        for split in ("train", "val", "test")
    }
    say(
        f"read {job['input']}: backbone over {parts.chunk_frames} columns every {parts.stride_frames}, "
        f"{parts.cell.kind} of {parts.cell.hidden}; {len(cut['train'].columns)} training sequences of {steps} steps"
    )
    config = job["configs"][0]
    losses = train_on(parts, cut["train"], cut["val"], config["epochs"], config["learning_rate"], config["seed"])
    say(f"trained on with the state carried: validation loss {losses[0]:.3f} before, {min(losses):.3f} after")
    result = _int8(parts, cut)
    result["model"], scores = logit_model(result["model"], lambda model: _heard(parts, model, cut["train"])[0])
    judged = "test" if len(cut["test"].columns) else "val"
    accuracies = _judge(parts, result["model"], scores, cut[judged])
    streaming_features = features.model_copy(update={"window_frames": parts.chunk_frames})
    detector = _detector(specs, parts, features, plan.labels, plan.background)
    golden = quantize_as(cut["val"].chunks(parts)[0, 0], read_model(result["model"]).inputs[0])[..., 0]
    write_bundle(
        folder, MODEL, result["model"], features=streaming_features, labels=plan.labels, detector=detector,
        golden=golden, data={"source": path.name}, training={"convert": config, "background": plan.background},
        streaming={"stride_frames": parts.stride_frames, "states": parts.cell.states}, scores=scores,
    )  # fmt: skip
    summary = {
        "detector": {
            **accuracies, "judged": judged, "windows": int(cut[judged].weight.sum()), "losses": losses,
            "chunk_frames": parts.chunk_frames, "stride_frames": parts.stride_frames, "drift": result["drift"],
            "bytes": len((folder / MODEL).read_bytes()),
        },
        "stages": [], "variants": [], "refused": [], "judged": judged, "examples": int(cut[judged].weight.sum()),
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return {**summary, "files": [MODEL, runs.MANIFEST, "results.json"]}


def _int8(parts: Recurrent, cut: dict[str, Sequences]) -> dict[str, Any]:
    chunks = cut["train"].chunks(parts)
    flat = chunks.reshape((-1, *chunks.shape[2:]))
    rng = np.random.default_rng(1)
    backbone = to_scheme(parts.backbone, flat.shape[1:], "int8", flat[np.sort(rng.permutation(len(flat))[:512])])
    out = read_model(backbone).outputs[0]
    low, high = ((q - out.zero_point) * out.scale for q in (-128, 127))
    used = chunks[np.sort(rng.permutation(len(chunks))[:48])]
    made = parts.backbone.predict(used.reshape((-1, *used.shape[2:])), batch_size=512, verbose=0)
    made = made.reshape((*used.shape[:2], -1))
    step = convert_step(parts.cell, made, (low, high))
    long = np.concatenate(list(made))
    long = np.tile(long, (-(-10000 // len(long)), 1))[:10000]
    return {"model": merge_pair(backbone, step), "drift": check_drift(step, parts.cell, long.astype(np.float32))}


def _heard(parts: Recurrent, data: bytes, sequences: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Return what an int8 model says (TFLM) at the ends of labelled windows, (n, classes) int8, and at which, bool."""
    model, scorer = read_model(data), tflm_scorer(data)
    at = sequences.weight > 0
    found = []
    for sequence in quantize_as(sequences.chunks(parts), model.inputs[0]):
        scorer.forget()
        found.append(scorer.scores(sequence[..., 0]))
    return np.stack(found)[at], at


def _judge(parts: Recurrent, data: bytes, scores: dict[str, Any] | None, sequences: Sequences) -> dict[str, float]:
    """Return the share of right classes at the ends of labelled windows, in float and in int8 (TFLM)."""
    heard, at = _heard(parts, data, sequences)
    chunks = sequences.chunks(parts)
    made = parts.backbone.predict(chunks.reshape((-1, *chunks.shape[2:])), batch_size=512, verbose=0)
    floats = run_float(parts.cell, made.reshape((*chunks.shape[:2], -1)))[0][at]
    int8 = ScoreScale.of(read_model(data).outputs[0], scores).probabilities(heard)
    truth = sequences.targets[at]

    def classes(scores: np.ndarray) -> np.ndarray:
        return (scores[:, 0] >= 0.5).astype(int) if scores.shape[1] == 1 else scores.argmax(1)

    right = classes(truth)
    return {
        "float_accuracy": float(np.mean(classes(floats) == right)),
        "accuracy": float(np.mean(classes(int8) == right)),
        "agreement": float(np.mean(classes(floats) == classes(int8))),
    }


def _detector(
    specs: dict[str, Any], parts: Recurrent, features: FeatureConfig, labels: tuple[str, ...], background: str | None
) -> DetectorConfig:
    """A stride of the model's step, smoothed over half a second; thresholds of 0.5 until somebody calibrates."""
    given = specs.get("detector", {})
    return DetectorConfig.parse(
        {
            **given,
            "stride_frames": parts.stride_frames,
            "smoothing_windows": max(1, min(32, round(0.5 / (parts.stride_frames * features.hop_s)))),
            "threshold": given.get("threshold", [None if label == background else 0.5 for label in labels]),
        },
        "detector beside the model",
    )
