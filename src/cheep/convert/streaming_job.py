# SPDX-License-Identifier: MIT
"""``cheep convert --streaming``: backbone and recurrent step of a network to int8, judged together."""

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
from cheep.convert.load import beside
from cheep.convert.pytorch import load_torch_streaming
from cheep.convert.recurrent_cell import run_float
from cheep.convert.stages import check_stages
from cheep.convert.step_model import StepModel
from cheep.convert.streaming import StreamingResult, convert_streaming, describe
from cheep.errors import CheepError, GateError
from cheep.files import write_bytes, write_json
from cheep.tflite.model import read_model


def convert_pair(job: dict[str, Any], folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Convert ``job["input"]`` (PyTorch) into ``backbone.tflite`` and ``step.tflite`` with ``streaming.json``.

    The data are sequences of chunks: (n, steps, *chunk), or (n, columns, bands), then cut.
    """
    checkpoint = Path(job["checkpoint"]) if job.get("checkpoint") else None
    network = load_torch_streaming(job["input"], checkpoint)
    data = as_chunks(load_data(Path(job["dataset"]), None, beside(job["input"])), network.backbone.input_shape)
    judged = data.judged
    x, y = data.x[judged], classes_of(data.y[judged])
    say(
        f"read {job['input']}: {network.cell.kind} of {network.cell.hidden}, chunks {network.backbone.input_shape}, "
        f"{x.shape[1]} steps, {len(x)} sequences to judge by ({judged})"
    )

    def rebuilt(z: np.ndarray) -> np.ndarray:
        features = network.backbone.predict(z.reshape((-1, *z.shape[2:]))).reshape((*z.shape[:2], -1))
        return run_float(network.cell, features)[0][:, -1]

    stages = check_stages([("PyTorch", network.reference), ("TensorFlow", rebuilt)], data.x["val"][:16])
    original = float(np.mean(network.reference(x).argmax(1) == y))
    say("converting backbone and step to int8, running both in TFLM")
    result = convert_streaming(network.backbone.keras, network.cell, data.x["train"], x, y)
    files = write_pair(result, data, folder, job["export"])
    summary = {
        "streaming": {
            "torch_accuracy": original,
            "float_accuracy": result.float_accuracy,
            "accuracy": result.accuracy,
            "agreement": result.agreement,
            "arena_bytes": list(result.arena_bytes),
            "drift": result.drift,
            **pair_sizes(result.backbone, result.step),
        },
        "stages": stages,
        "variants": [],
        "refused": [],
        "judged": judged,
        "examples": len(x),
    }
    (folder / "results.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    check_pair_loss(original, result.accuracy, job.get("max_loss"))
    return {**summary, "files": [*files, "results.json"]}


def check_pair_loss(before: float, after: float, max_loss: float | None) -> None:
    """Raise GateError if the int8 networks lost more than ``max_loss`` points of accuracy (shares of right classes)."""
    lost = 100 * (before - after)
    if max_loss is not None and lost > max_loss:
        raise GateError(f"the int8 networks lose {lost:.2f} points of accuracy, more than --max-loss {max_loss:g}")


def as_chunks(data: ConversionData, chunk: tuple[int, ...]) -> ConversionData:
    """Return sequences (n, steps, *chunk), channels last; the rest of a sequence that fills no chunk is dropped.

    Sequences (n, columns, bands) are cut for a network that takes (columns, bands), and cut and turned for one that
    takes (bands, columns), which is said by the number of bands.
    """
    plane = chunk[:2] if len(chunk) == 2 or (len(chunk) == 3 and chunk[-1] == 1) else (0, 0)
    xs = {}
    for split, x in data.x.items():
        turned = x.ndim == 3 and plane[0] > 0 and x.shape[2] != plane[1] and x.shape[2] == plane[0]
        columns, bands = plane[::-1] if turned else plane
        if columns and x.ndim == 3 and x.shape[2] == bands and x.shape[1] >= columns:
            steps = x.shape[1] // columns
            cut = x[:, : steps * columns].reshape((len(x), steps, columns, bands))
            xs[split] = np.ascontiguousarray(cut.swapaxes(2, 3) if turned else cut).reshape((len(x), steps, *chunk))
        elif x.shape[2:] == chunk:
            xs[split] = x
        elif x.ndim == 5 and (x.shape[3], x.shape[4], x.shape[2]) == chunk:
            xs[split] = np.ascontiguousarray(np.moveaxis(x, 2, -1))
        elif x.ndim >= 3 and [n for n in x.shape[2:] if n > 1] == [n for n in chunk if n > 1]:
            xs[split] = x.reshape((*x.shape[:2], *chunk))
        else:
            raise CheepError(
                f"{data.source}: sequences of shape {x.shape[1:]}, the backbone takes chunks of {chunk}; give "
                "(n, steps, *chunk) or (n, columns, bands)"
            )
    return dataclasses.replace(data, x=xs)


def write_pair(result: StreamingResult, data: ConversionData, folder: Path, export: bool) -> list[str]:
    """Write both models, ``streaming.json`` and, with ``export``, C arrays and the compiled pair; return the names."""
    described = {
        "cheep_version": __version__,
        "labels": list(data.labels),
        **describe(result.step, result.backbone),
        "arena_bytes": {"backbone": result.arena_bytes[0], "step": result.arena_bytes[1]},
    }
    texts: dict[str, str] = {}
    if export:
        for name, model, arena in (
            ("backbone", result.backbone, result.arena_bytes[0]),
            ("step", result.step.data, result.arena_bytes[1]),
        ):
            texts[f"{name}.h"] = render_c_header(model, name, arena, data.labels if name == "step" else ())
            texts[f"{name}.cc"] = render_c_source(model, name)
        texts.update(render_compiled_pair(result.backbone, result.step))
    write_bytes(folder / "backbone.tflite", result.backbone)
    write_bytes(folder / "step.tflite", result.step.data)
    write_json(folder / "streaming.json", described)
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
    return ["backbone.tflite", "step.tflite", "streaming.json", *texts]


def pair_sizes(backbone: bytes | None, step: StepModel) -> dict[str, Any]:
    """Return bytes of the files; of the compiled networks, working memory, constants and the state between steps."""
    from cheep.compiler import compile_bytes

    parts = {**({"backbone": backbone} if backbone else {}), "step": step.data}
    compiled = [compile_bytes(part, name) for name, part in parts.items()]
    sizes = {name: len(part) for name, part in parts.items()}
    return {
        "bytes": {**sizes, "both": sum(sizes.values())},
        "compiled": {
            "memory": max(part.memory_bytes for part in compiled),
            "constants": sum(part.constant_bytes for part in compiled),
            "state": sum(int(np.prod(info.shape)) for info in step.states),
        },
    }


def render_compiled_pair(backbone: bytes, m: StepModel) -> dict[str, str]:
    """Return the C files of the pair without an interpreter: two compiled networks and the loop that carries the state.

    ``streaming_push(state, chunk, logits)`` takes one int8 chunk and gives int8 logits, after as many steps as the
    backbone gives features for; ``streaming_reset(state)`` forgets. The state is the caller's; nothing else survives.
    """
    from cheep.compiler import compile_bytes

    files = {}
    for prefix, model in (("backbone", backbone), ("step", m.data)):
        made = compile_bytes(model, f"streaming_{prefix}")
        files[f"streaming_{prefix}.h"], files[f"streaming_{prefix}.c"] = made.header, made.source
    width, given = int(np.prod(m.feature.shape)), int(np.prod(read_model(backbone).outputs[0].shape))
    inputs: dict[int, str] = {m.feature_input: f"state->feature + t * {width}"}
    outputs: dict[int, str] = {m.logits_output: "logits"}
    for i, (a, b) in enumerate(zip(m.state_inputs, m.state_outputs, strict=True)):
        inputs[a], outputs[b] = f"state->state{i}", f"next{i}"
    sizes = [int(np.prod(info.shape)) for info in m.states]
    first = files["streaming_step.h"].splitlines()[0]
    fields = "".join(f"    int8_t state{i}[{n}];\n" for i, n in enumerate(sizes))
    header = f"""{first}
#ifndef STREAMING_H
#define STREAMING_H

#include "streaming_backbone.h"
#include "streaming_step.h"

#ifdef __cplusplus
extern "C" {{
#endif

/* All memory of the pair; the caller's. Between two calls only state0.. matters. */
typedef struct {{
    union {{
        streaming_backbone_memory backbone;
        streaming_step_memory step;
    }} work;
    int8_t feature[{given}];
{fields}}} streaming_state;

/* Forget the past: the next chunk is the first of a recording. */
void streaming_reset(streaming_state *state);

/* chunk: int8 as the backbone takes it; logits: int8, {int(np.prod(m.logits.shape))} values. */
void streaming_push(streaming_state *state, const int8_t *chunk, int8_t *logits);

#ifdef __cplusplus
}}
#endif
#endif
"""
    arguments = ", ".join([inputs[i] for i in sorted(inputs)] + [outputs[i] for i in sorted(outputs)])
    reset = "".join(
        f"    memset(state->state{i}, {info.zero_point}, sizeof state->state{i});\n" for i, info in enumerate(m.states)
    )
    declare = "".join(f"        int8_t next{i}[{n}];\n" for i, n in enumerate(sizes))
    copy = "".join(f"        memcpy(state->state{i}, next{i}, sizeof next{i});\n" for i in range(len(sizes)))
    source = f"""{first}
#include "streaming.h"

#include <string.h>

void streaming_reset(streaming_state *state) {{
{reset}}}

void streaming_push(streaming_state *state, const int8_t *chunk, int8_t *logits) {{
    streaming_backbone_invoke(&state->work.backbone, chunk, state->feature);
    for (int t = 0; t < {given // width}; ++t) {{
{declare}        streaming_step_invoke(&state->work.step, {arguments});
{copy}    }}
}}
"""
    return {**files, "streaming.h": header, "streaming.c": source}
