# SPDX-License-Identifier: MIT
"""``model_compiled.h``: the memory and the functions of a compiled network."""

from __future__ import annotations

from cheep.compiler import incremental
from cheep.compiler.pipeline import Pipeline
from cheep.tflite.graph import Graph

CTYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "float32": "float", "int32": "int32_t"}


def header_name(prefix: str) -> str:
    """Return the name of the header's file."""
    return f"{prefix}.h"


def parameters(graph: Graph) -> tuple[str, str]:
    """Return the declarations of a network's inputs and of its outputs."""
    inputs = [f"const {CTYPES[t.dtype]} *input{i}" for i, t in enumerate(graph.inputs)]
    return ", ".join(inputs), ", ".join(f"{CTYPES[t.dtype]} *output{i}" for i, t in enumerate(graph.outputs))


def header(
    graph: Graph, prefix: str, mark: str, feature_hash: str, pipe: Pipeline | None, counters: int, words: int, size: int
) -> str:
    """Return ``model_compiled.h``.

    ``pipe`` is the network's first pipeline, ``counters`` those of all its pipelines; ``words`` of 64 bits are the
    memory, ``size`` bytes with the counters.
    """
    upper = prefix.upper()
    lines = [f"/* {mark} */", f"#ifndef {upper}_H", f"#define {upper}_H", "", "#include <stdint.h>", ""]
    lines += ["#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    if feature_hash:
        lines.append(f"#define {upper}_FEATURE_HASH UINT32_C(0x{feature_hash})")
    for kind, tensors in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs)):
        for i, t in enumerate(tensors):
            shape = "x".join(map(str, t.shape)) or "1"
            quantized = f", real = {t.scale!r} * (q - {t.zero_point})" if t.dtype == "int8" and len(t.scales) else ""
            lines.append(f"#define {upper}_{kind}{i}_SIZE {t.size} /* {t.dtype} {shape}{quantized} */")
    lines += [
        "",
        f"/* Working memory: {size} bytes. {'It holds' if graph.states else 'Nothing in it needs to survive'} "
        f"{'what the network keeps from call to call' if graph.states else 'between calls'}. */",
        "typedef struct {",
    ]
    if counters:
        lines.append(f"    int32_t held[{counters}]; /* rows in each stage and queue, rows of the result */")
    if pipe and pipe.mean:
        lines.append(f"    int32_t sums[{pipe.mean.output.size}];")
    lines += [f"    uint64_t words[{words}];", f"}} {prefix}_memory;", ""]
    if graph.states:
        lines += ["/* Call before the first run, and whenever what was heard so far is to be forgotten. */"]
        lines += [f"void {prefix}_reset({prefix}_memory *memory);", ""]
        lines += ["/* Run the network once. Inputs and outputs belong to the caller, and have memory of their own. */"]
    else:
        text = "Run the network once. Inputs and outputs belong to the caller; an output may be an input's memory."
        lines += [f"/* {text} */"]
    ins, outs = parameters(graph)
    lines += [f"void {prefix}_invoke({prefix}_memory *memory, {ins}, {outs});", ""]
    if pipe and pipe.streams:
        lines += incremental.declarations(prefix, pipe, outs)
    lines += ["#ifdef __cplusplus", "}", "#endif", "#endif"]
    return "\n".join(lines) + "\n"
