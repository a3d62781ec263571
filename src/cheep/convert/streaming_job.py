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
from cheep.convert.stages import check_stages
from cheep.convert.streaming import StreamingResult, convert_streaming, describe, run_float
from cheep.errors import CheepError, GateError
from cheep.files import write_bytes, write_json


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
            "bytes": {"backbone": len(result.backbone), "step": len(result.step.data), "both": result.bytes},
            "arena_bytes": list(result.arena_bytes),
            "drift": result.drift,
            "compiled": compiled_sizes(result),
        },
        "stages": stages,
        "variants": [],
        "refused": [],
        "judged": judged,
        "examples": len(x),
    }
    (folder / "results.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    lost = 100 * (original - result.accuracy)
    if job.get("max_loss") is not None and lost > job["max_loss"]:
        raise GateError(f"the int8 pair loses {lost:.2f} points of accuracy, more than --max-loss {job['max_loss']:g}")
    return {**summary, "files": [*files, "results.json"]}


def as_chunks(data: ConversionData, chunk: tuple[int, ...]) -> ConversionData:
    """Return sequences (n, steps, *chunk), channels last; the rest of a sequence that fills no chunk is dropped."""
    xs = {}
    for split, x in data.x.items():
        if len(chunk) == 3 and chunk[-1] == 1 and x.ndim == 3 and x.shape[2] == chunk[1] and x.shape[1] >= chunk[0]:
            steps = x.shape[1] // chunk[0]
            xs[split] = x[:, : steps * chunk[0]].reshape((len(x), steps, *chunk))
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
        texts.update(render_compiled_pair(result))
    write_bytes(folder / "backbone.tflite", result.backbone)
    write_bytes(folder / "step.tflite", result.step.data)
    write_json(folder / "streaming.json", described)
    for name, text in texts.items():
        write_bytes(folder / name, text.encode())
    return ["backbone.tflite", "step.tflite", "streaming.json", *texts]


def compiled_sizes(result: StreamingResult) -> dict[str, int]:
    """Return working memory and constants of the compiled pair, and the state that lives between steps, in bytes."""
    from cheep.compiler import compile_bytes

    parts = [compile_bytes(result.backbone, "backbone"), compile_bytes(result.step.data, "step")]
    return {
        "memory": max(part.memory_bytes for part in parts),
        "constants": sum(part.constant_bytes for part in parts),
        "state": sum(int(np.prod(info.shape)) for info in result.step.states),
    }


def render_compiled_pair(result: StreamingResult) -> dict[str, str]:
    """Return the C files of the pair without an interpreter: two compiled networks and the loop that carries the state.

    ``streaming_push(state, chunk, logits)`` takes one int8 chunk and gives int8 logits; ``streaming_reset(state)``
    forgets. The state is the caller's; nothing else survives a call.
    """
    from cheep.compiler import compile_bytes

    files = {}
    for prefix, model in (("backbone", result.backbone), ("step", result.step.data)):
        made = compile_bytes(model, f"streaming_{prefix}")
        files[f"streaming_{prefix}.h"], files[f"streaming_{prefix}.c"] = made.header, made.source
    m = result.step
    inputs: dict[int, str] = {m.feature_input: "state->feature"}
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
    int8_t feature[{int(np.prod(m.feature.shape))}];
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
    declare = "".join(f"    int8_t next{i}[{n}];\n" for i, n in enumerate(sizes))
    copy = "".join(f"    memcpy(state->state{i}, next{i}, sizeof next{i});\n" for i in range(len(sizes)))
    source = f"""{first}
#include "streaming.h"

#include <string.h>

void streaming_reset(streaming_state *state) {{
{reset}}}

void streaming_push(streaming_state *state, const int8_t *chunk, int8_t *logits) {{
{declare}    streaming_backbone_invoke(&state->work.backbone, chunk, state->feature);
    streaming_step_invoke(&state->work.step, {arguments});
{copy}}}
"""
    return {**files, "streaming.h": header, "streaming.c": source}
