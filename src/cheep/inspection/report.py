# SPDX-License-Identifier: MIT
"""``cheep inspect``: the report on one model, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep.detector import describe_scores
from cheep.errors import CheepError
from cheep.tflite.arena import ESP, arena_on_esp32s3, refused_on_esp
from cheep.tflite.graph import Graph, Node, Tensor
from cheep.tflite.model import read_model
from cheep.tflite.reader import read_graph
from cheep.tflite.tflm import tflm_support

_INTEGER = ("int8", "uint8", "int4")
_WIDE_REASONS = {
    "int32": "32-bit accumulators and biases, or indices: as intended",
    "int64": "64-bit biases of 16-bit activations, or indices",
    "int16": "16-bit activations (int16x8)",
}


def inspect_model(
    path: Path | str, calibration: np.ndarray | None = None, run_tflm: bool = True, states: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the report on a ``.tflite``.

    Parameters
    ----------
    calibration : (n, ...) float32, optional
        Real examples: every activation's range and saturation is measured on them (needs TensorFlow's interpreter).
        (n, steps, ...) for a model with a state, whose inputs and outputs ``states`` may name.
    run_tflm : bool
        Run the model in TFLM, in a process of its own, for support and arena.
    """
    graph = read_graph(path)
    report: dict[str, Any] = {
        "file": str(path),
        "bytes": len(graph.data),
        "subgraphs": graph.subgraphs,
        "inputs": [_tensor_row(t) for t in graph.inputs],
        "outputs": [_tensor_row(t) for t in graph.outputs],
        "operators": [_operator_row(i, node) for i, node in enumerate(graph.nodes)],
        "tensors": [_tensor_row(t) for t in graph.tensors],
        "macs": graph.macs,
        "weights_bytes": sum(t.data.nbytes for t in graph.tensors if t.data is not None),
        "int8_share": int8_share(graph),
        "not_int8": not_int8(graph),
        "suspicious": suspicious(graph),
        "scores": (read_model(path).metadata or {}).get("scores"),
        "memory": memory_over_time(graph),
    }
    if calibration is not None:
        from cheep.inspection.ranges import measure_ranges

        report["ranges"] = measure_ranges(graph, calibration, states)
        report["suspicious"] += [
            f"{row['name']}: {100 * row['saturated']:.1f} % of its values saturate on the examples"
            for row in report["ranges"]
            if row["saturated"] > 0.02 and not row["bounded"]
        ] + [
            f"{row['name']}: uses {100 * row['used']:.0f} % of its range on the examples: a smaller scale is finer"
            for row in report["ranges"]
            if row["used"] < 0.2
        ]
    if run_tflm:
        report["tflm"] = tflm_support(graph.data)
        if report["tflm"]["runs"]:
            report["tflm"]["refused"] = refused_on_esp(graph)
            report["tflm"]["arena_bytes_esp32s3"] = arena_on_esp32s3(graph, report["tflm"]["arena_bytes"])
    return report


def int8_share(graph: Graph) -> dict[str, float]:
    """Return the share of int8 by tensors, by bytes, and by multiply-accumulates (biases and indices left out)."""
    counted = [t for t in graph.tensors if not _is_helper(t)]
    small = [t for t in counted if t.dtype in _INTEGER]
    macs8 = sum(node.macs for node in graph.nodes if node.macs and _both_int8(node))
    return {
        "tensors": len(small) / max(1, len(counted)),
        "bytes": sum(t.n_bytes for t in small) / max(1, sum(t.n_bytes for t in counted)),
        "macs": macs8 / graph.macs if graph.macs else 1.0,
    }


def _both_int8(node: Node) -> bool:
    return all(t.dtype in _INTEGER for t in node.inputs[:2])


def _is_helper(tensor: Tensor) -> bool:
    """Biases (int32/int64 with a scale) and shapes or axes (constant integers without) are no data of the network."""
    return tensor.data is not None and tensor.dtype in ("int32", "int64")


def not_int8(graph: Graph) -> list[dict[str, str]]:
    """Return the tensors that are not int8, each with the operator beside it and why."""
    makers = {t.index: node.op for node in graph.nodes for t in node.outputs}
    users: dict[int, set[str]] = {}
    for node in graph.nodes:
        for t in node.inputs:
            users.setdefault(t.index, set()).add(node.op)
    ins, outs = ({t.index for t in ends} for ends in (graph.inputs, graph.outputs))
    rows = []
    for t in graph.tensors:
        if t.dtype in _INTEGER or _is_helper(t):
            continue
        near = makers.get(t.index) or "/".join(sorted(users.get(t.index, {"nothing"})))
        if t.index in ins and users.get(t.index) == {"QUANTIZE"}:
            why = "float input by choice (int8_float_io): quantized at once"
        elif t.index in outs and near == "DEQUANTIZE":
            why = "float output by choice (int8_float_io)"
        else:
            why = _why_not_int8(t, near)
        rows.append({"tensor": t.name, "dtype": t.dtype, "operator": near, "why": why})
    return rows


def _why_not_int8(t: Tensor, near: str) -> str:
    if t.dtype == "resource":
        return "names a variable: no data of its own"
    if t.dtype == "float16":
        return "half-precision weights: the scheme float16"
    if not t.dtype.startswith("float"):
        return _WIDE_REASONS.get(t.dtype, "another integer type")
    if near.startswith("CUSTOM"):
        return f"{near} is a custom operator, which the quantizer does not know"
    if t.data is not None:
        return "weights left float: too small to be worth it (dynamic leaves under 1,024 values), or their operator is"
    return f"{near} has no integer form here, or the model was converted without calibration"


def suspicious(graph: Graph) -> list[str]:
    """Return what looks wrong in the scales themselves."""
    found = [text for t in graph.tensors if len(t.scales) for text in (*_odd_scales(t), *_odd_weights(t))]
    for source in graph.inputs if len(graph.inputs) > 1 else ():
        same = [t for t in graph.outputs if t.shape == source.shape and t.dtype == source.dtype]
        if same and not any(_same_quantization(t, source) for t in same):
            found.append(
                f"{source.name}: no output of its shape has its scale; a state fed back is requantized at each step "
                f"(scale {source.scale:.4g} in, {same[0].scale:.4g} out)"
            )
    return found


def _odd_scales(t: Tensor) -> Iterator[str]:
    values = t.scales.astype(np.float64)
    if not np.isfinite(values).all() or (values <= 0).any():
        yield f"{t.name}: has a scale that is zero, negative or not finite"
    elif t.dtype == "int8" and t.data is None and len(values) == 1 and values[0] > 4:
        yield f"{t.name}: scale {values[0]:.3g}: one step is coarse; was it calibrated on data in other units?"
    elif t.per_channel and values.max() / values.min() > 1e4:
        yield f"{t.name}: channel scales differ by {values.max() / values.min():.0f}x; dead channels?"


def _odd_weights(t: Tensor) -> Iterator[str]:
    if t.data is None or t.dtype != "int8" or not t.data.size:
        return
    if not t.data.any():
        yield f"{t.name}: all weights are zero"
        return
    # the largest weight of each channel is at the end of the range by construction
    ends = int(np.count_nonzero(np.abs(t.data.astype(int)) >= 127)) - len(t.scales)
    if t.data.size >= 64 and ends > 0.2 * t.data.size:
        yield f"{t.name}: {100 * ends / t.data.size:.0f} % of the weights saturate"


def _same_quantization(a: Tensor, b: Tensor) -> bool:
    return np.array_equal(a.scales, b.scales) and np.array_equal(a.zero_points, b.zero_points)


def memory_over_time(graph: Graph) -> list[dict[str, Any]]:
    """Return the bytes of live activations while each operator runs (a lower bound of any memory plan)."""
    first: dict[int, int] = {t.index: 0 for t in graph.inputs}
    last: dict[int, int] = {}
    for i, node in enumerate(graph.nodes):
        for t in node.outputs:
            first.setdefault(t.index, i)
        for t in node.variable_inputs:
            last[t.index] = i
    for t in graph.outputs:
        last[t.index] = len(graph.nodes) - 1
    bytes_of = {t.index: t.n_bytes for t in graph.tensors if t.data is None}
    rows = []
    for i, node in enumerate(graph.nodes):
        live = [k for k in first if first[k] <= i <= last.get(k, first[k])]
        rows.append({"operator": node.op, "index": i, "bytes": sum(bytes_of.get(k, 0) for k in live)})
    return rows


def _tensor_row(t: Tensor) -> dict[str, Any]:
    scale: Any = t.scale if len(t.scales) else None
    if t.per_channel:
        scale = [float(t.scales.min()), float(t.scales.max())]
    return {
        "index": t.index,
        "name": t.name,
        "dtype": t.dtype,
        "shape": list(t.shape),
        "bytes": t.n_bytes,
        "constant": t.data is not None,
        "scale": scale,
        "channels": len(t.scales) if t.per_channel else 0,
        "zero_point": t.zero_point if len(t.zero_points) else None,
    }


def _operator_row(index: int, node: Node) -> dict[str, Any]:
    return {
        "index": index,
        "name": node.op,
        "macs": node.macs,
        "options": node.attributes,
        "inputs": [_short(t) for t in node.variable_inputs],
        "outputs": [_short(t) for t in node.outputs],
        "weights_bytes": sum(t.data.nbytes for t in node.inputs if t.data is not None),
    }


def _short(t: Tensor) -> str:
    return f"{t.dtype}[{'x'.join(map(str, t.shape))}]"


def render_text(report: dict[str, Any], tensors: bool = False) -> str:
    """Return the report for a terminal."""
    share = report["int8_share"]
    lines = [f"{report['file']}: {report['bytes']} bytes, weights {report['weights_bytes']}, {report['macs']:,} MACs"]
    for kind in ("inputs", "outputs"):
        for row in report[kind]:
            lines.append(
                f"  {kind[:-1]}: {row['name']} {row['dtype']} {row['shape']} scale {row['scale']} "
                f"zero point {row['zero_point']}"
            )
    if report["scores"]:
        lines.append(describe_scores(report["scores"]))
    lines.append(
        f"int8: {100 * share['tensors']:.0f} % of tensors, {100 * share['bytes']:.0f} % of bytes, "
        f"{100 * share['macs']:.0f} % of MACs"
    )
    if "tflm" in report:
        support = report["tflm"]
        lines.append(
            f"TFLM: runs, arena {support['arena_bytes']} bytes (64 bits, reference kernels), "
            f"{support['arena_bytes_esp32s3']} on an ESP32-S3 (with the scratch of esp-nn's kernels)"
            if support["runs"]
            else f"TFLM: cannot run it: {support['reason']}"
        )
        lines += [
            f"TFLM on {ESP[boards]}: {reason}; use the compiled backend there"
            for boards, reason in support.get("refused", {}).items()
        ]
    lines.append("")
    peak = max((row["bytes"] for row in report["memory"]), default=0)
    lines.append(
        f"{'#':>3} {'operator':<22} {'MACs':>10} {'weights':>8}  {'live bytes (peak ' + str(peak) + ')':<24} shape"
    )
    for op, memory in zip(report["operators"], report["memory"], strict=True):
        bar = "#" * round(14 * memory["bytes"] / max(1, peak))
        chosen = {
            k: v
            for k, v in op["options"].items()
            if k in ("strideW", "strideH", "padding", "fusedActivationFunction", "depthMultiplier") and v != "NONE"
        }
        shape = f"{' + '.join(op['inputs'])} -> {', '.join(op['outputs'])}"
        lines.append(
            f"{op['index']:>3} {op['name']:<22} {op['macs']:>10,} {op['weights_bytes']:>8}  "
            f"{memory['bytes']:>7} {bar:<16} {shape} {' '.join(f'{k}={v}' for k, v in chosen.items())}".rstrip()
        )
    if report["not_int8"]:
        lines += ["", "not int8:"] + [
            f"  {r['tensor'][:60]} ({r['dtype']}, {r['operator']}): {r['why']}" for r in report["not_int8"]
        ]
    if report["suspicious"]:
        lines += ["", "suspicious:"] + [f"  {text}" for text in report["suspicious"]]
    if "ranges" in report:
        lines += ["", "ranges on the examples:"] + [
            f"  {r['name'][:50]:<50} {r['low']:>9.3f} .. {r['high']:<9.3f} uses {100 * r['used']:.0f} %, "
            f"saturated {100 * r['saturated']:.2f} %"
            for r in report["ranges"]
        ]
    if tensors:
        lines += ["", "tensors:"] + [
            f"  {t['index']:>3} {t['dtype']:<7} {t['shape']} {t['bytes']} bytes, scale {t['scale']}, "
            f"zero point {t['zero_point']}{' constant' if t['constant'] else ''}  {t['name']}"
            for t in report["tensors"]
        ]
    return "\n".join(lines)


def render_memory_svg(report: dict[str, Any]) -> str:
    """Return the picture of live memory over the operators, as SVG."""
    rows = report["memory"]
    if not rows:
        raise CheepError(f"{report['file']}: has no operators, so there is no memory to draw")
    peak = max(row["bytes"] for row in rows) or 1
    width, height, left = max(360, 26 * len(rows) + 80), 300, 60
    step = (width - left - 10) / len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="10"><rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="10" y="16" font-size="12">live activations, bytes (peak {peak})</text>'
    ]
    for i, row in enumerate(rows):
        tall = 170 * row["bytes"] / peak
        x = left + i * step
        colour = "#c44" if row["bytes"] == peak else "#48a"
        parts.append(
            f'<rect x="{x:.1f}" y="{200 - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}" fill="{colour}">'
            f"<title>{row['operator']}: {row['bytes']} bytes</title></rect>"
            f'<text transform="translate({x + step / 2:.1f},208) rotate(60)">{_escape(row["operator"][:18])}</text>'
        )
    parts += [f'<text x="8" y="{204 - 170 * part:.0f}">{round(peak * part)}</text>' for part in (0, 0.5, 1)]
    return "".join(parts) + "</svg>\n"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
