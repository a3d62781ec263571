# SPDX-License-Identifier: MIT
"""``cheep convert --backbone A --step B``, and a step alone: to int8, judged in TFLM from end to end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep import __version__
from cheep.convert.data import ConversionData, classes_of, load_data
from cheep.convert.exports import render_c_header, render_c_source
from cheep.convert.load import beside, load_source
from cheep.convert.runtime import cosines, quantize_as, tflm_outputs
from cheep.convert.schemes import to_scheme
from cheep.convert.stages import check_stages
from cheep.convert.step_model import StepModel, StepRunner
from cheep.convert.steps import StepSource, check_drift, load_step, quantize_step, scores_of
from cheep.convert.streaming import describe
from cheep.convert.streaming_job import as_chunks, check_pair_loss, pair_sizes, render_compiled_pair
from cheep.errors import CheepError
from cheep.files import write_bytes, write_json
from cheep.tflite.model import read_model
from cheep.tflite.tflm import TflmModel

Say = Callable[[str], None]


@dataclasses.dataclass
class _Backbone:
    """A feature extractor: float and int8, and its features of some examples."""

    path: str
    data: bytes
    arena_bytes: int
    stages: list[dict[str, Any]]
    floats: dict[str, np.ndarray]  # split -> (n, steps, features) float32
    judged: np.ndarray  # (n, steps, features) int8, of the judged split


def convert_steps(job: dict[str, Any], folder: Path, say: Say) -> dict[str, Any]:
    """Convert ``job["step"]``, with ``job["backbone"]`` before it if there is one."""
    checkpoint = Path(job["step_checkpoint"]) if job.get("step_checkpoint") else None
    step = load_step(job["step"], checkpoint)
    say(f"read {step.path}: features {step.features}, states {list(step.states)}, scores {step.scores}")
    data = load_data(Path(job["dataset"]), None, beside(job["backbone"] or job["step"]))
    backbone = _backbone(job, data, step, say) if job.get("backbone") else None
    floats = backbone.floats if backbone else {split: _sequences(data, x, step) for split, x in data.x.items()}
    judged, y = data.judged, classes_of(data.y[data.judged])
    stages = check_stages([*step.stages, ("TensorFlow", step.last)], floats["val"][:16])
    say("converting the step to int8, running it in TFLM")
    model = quantize_step(step, floats["train"], read_model(backbone.data).outputs[0] if backbone else None)
    given = backbone.judged if backbone else quantize_as(floats[judged], model.feature)
    float_scores, scores = step.last(floats[judged]), scores_of(model, given)
    say("10,000 steps without a reset, against float")
    summary: dict[str, Any] = {
        "step": step.path,
        "backbone": backbone.path if backbone else None,
        "steps": int(given.shape[1]),
        "float_accuracy": _accuracy(float_scores, y, data),
        "accuracy": _accuracy(scores, y, data),
        "agreement": float(np.mean(float_scores.argmax(1) == scores.argmax(1))),
        "cosine": float(np.mean(cosines(float_scores, scores))),
        "drift": check_drift(model, step, floats[judged]),
        **pair_sizes(backbone.data if backbone else None, model),
    }
    summary["arena_bytes"] = [*([backbone.arena_bytes] if backbone else []), StepRunner(model).arena_bytes]
    files = _write(backbone, model, data, folder, summary, job["export"])
    result = {
        "pair": summary,
        "stages": [*(backbone.stages if backbone else []), *stages],
        "variants": [],
        "refused": [],
        "judged": judged,
        "examples": len(y),
    }
    (folder / "results.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if summary["accuracy"] is not None:
        check_pair_loss(summary["float_accuracy"], summary["accuracy"], job.get("max_loss"))
    return {**result, "files": [*files, "results.json"]}


def _accuracy(scores: np.ndarray, y: np.ndarray, data: ConversionData) -> float | None:
    """Return the share of right classes, or None where the scores are no classes of the data."""
    return float(np.mean(scores.argmax(1) == y)) if scores.shape[1] == len(data.labels) else None


def _sequences(data: ConversionData, x: np.ndarray, step: StepSource) -> np.ndarray:
    if x.ndim != 3 or x.shape[2] != step.features:
        raise CheepError(
            f"{data.source}: examples of shape {x.shape[1:]}; a step alone is judged on sequences of its features, "
            f"(n, steps, {step.features})"
        )
    return x


def _backbone(job: dict[str, Any], data: ConversionData, step: StepSource, say: Say) -> _Backbone:
    checkpoint = Path(job["checkpoint"]) if job.get("checkpoint") else None
    source = load_source(job["backbone"], checkpoint, job["trust"])
    shape = source.output_shape
    if len(shape) not in (1, 2) or shape[-1] != step.features:
        raise CheepError(
            f"{source.path}: gives {list(shape)}, the step takes vectors of {step.features}; the backbone must give "
            f"[steps, {step.features}], or [{step.features}] for one step"
        )
    chunked = _chunked(data, source.input_shape)  # (n, chunks, *input)
    chunks = chunked.x["train"].shape[1]
    say(
        f"read {source.path} ({source.kind}), input {source.input_shape}, features {list(shape)}"
        + (f", {chunks} chunks an example" if chunks > 1 else "")
    )
    single = {split: x.reshape((-1, *source.input_shape)) for split, x in chunked.x.items()}
    stages = check_stages([*source.stages, ("TensorFlow", source.predict)], single["val"][:16])
    say("converting the backbone to int8")
    examples = chunked.calibration(256, 1).reshape((-1, *source.input_shape))
    model = to_scheme(source.keras or source.graph, source.input_shape, "int8", examples)
    info, runtime = read_model(model).outputs[0], TflmModel(model)
    steps = (chunks * (shape[0] if len(shape) == 2 else 1), shape[-1])
    floats = {split: source.predict(x).reshape((-1, *steps)) for split, x in single.items() if len(x)}
    judged = quantize_as(tflm_outputs(model, single[data.judged], runtime), info).reshape((-1, *steps))
    return _Backbone(source.path, model, runtime.arena_bytes, stages, floats, judged)


def _chunked(data: ConversionData, shape: tuple[int, ...]) -> ConversionData:
    """Return what the backbone takes, (n, chunks, *shape): an example is one chunk, or a sequence that is cut."""
    from cheep.convert.job import fit_shape, fits

    if not fits(data, shape):
        return as_chunks(data, shape)
    fitted = fit_shape(data, shape)
    return dataclasses.replace(fitted, x={split: x[:, None] for split, x in fitted.x.items()})


def _write(
    backbone: _Backbone | None,
    model: StepModel,
    data: ConversionData,
    folder: Path,
    summary: dict[str, Any],
    export: bool,
) -> list[str]:
    parts = [("step", model.data, summary["arena_bytes"][-1], data.labels)]
    if backbone:
        parts.insert(0, ("backbone", backbone.data, backbone.arena_bytes, ()))
    described = {
        "cheep_version": __version__,
        "labels": list(data.labels),
        **describe(model, backbone.data if backbone else None),
        "arena_bytes": {name: arena for name, _, arena, _ in parts},
    }
    texts: dict[str, str] = {}
    for name, content, arena, labels in parts if export else ():
        texts[f"{name}.h"] = render_c_header(content, name, arena, labels)
        texts[f"{name}.cc"] = render_c_source(content, name)
    if export and backbone:
        texts.update(render_compiled_pair(backbone.data, model))
    for name, content, _, _ in parts:
        write_bytes(folder / f"{name}.tflite", content)
    write_json(folder / "streaming.json", described)
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
    return [*(f"{name}.tflite" for name, *_ in parts), "streaming.json", *texts]
