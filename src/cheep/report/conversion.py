# SPDX-License-Identifier: MIT
"""What a conversion proved, as Markdown: each form against the one before, bytes, and what is not int8 and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cheep.inspection.report import int8_share, not_int8
from cheep.tflite.reader import read_graph


def verification(result: dict[str, Any], parts: dict[str, Path]) -> str:
    """Return the page on a pair or a step; ``parts`` are its ``.tflite`` files by name."""
    pair = result["pair"]
    lines = [
        "# Verification",
        "",
        "Networks: " + ", ".join(f"`{pair[k]}`" for k in ("backbone", "step") if pair[k]) + ".",
        "",
    ]
    lines += [
        "## Each form against the one before",
        "",
        "| from | to | largest difference | limit |",
        "|---|---|---|---|",
    ]
    lines += [f"| {r['from']} | {r['to']} | {r['max_difference']:.2g} | {r['limit']:.2g} |" for r in result["stages"]]
    share = {"float": pair["float_accuracy"], "int8, in TFLM": pair["accuracy"]}
    lines += ["", f"{result['examples']} sequences of {pair['steps']} steps, split `{result['judged']}`:", ""]
    lines += [f"- accuracy {name}: {100 * value:.2f} %" for name, value in share.items() if value is not None]
    lines += [
        f"- the same class as in float: {100 * pair['agreement']:.1f} %; cosine of the scores {pair['cosine']:.4f}",
        "",
    ]
    lines += [
        "## The state over 10,000 steps without a reset",
        "",
        "| from step | mean error | largest |",
        "|---|---|---|",
    ]
    lines += [f"| {row['from']:,} | {row['mean']:.4f} | {row['max']:.4f} |" for row in pair["drift"]]
    lines += [
        "",
        "## int8",
        "",
        "| network | bytes | arena | int8 tensors | int8 bytes | int8 MACs |",
        "|---|---|---|---|---|---|",
    ]
    left: list[str] = []
    for (name, path), arena in zip(parts.items(), pair["arena_bytes"], strict=True):
        graph = read_graph(path)
        found = int8_share(graph)
        shares = " | ".join(f"{100 * found[key]:.1f} %" for key in ("tensors", "bytes", "macs"))
        lines.append(f"| {name} | {len(graph.data)} | {arena} | {shares} |")
        left += [f"- {name}, `{r['tensor']}` ({r['dtype']}, {r['operator']}): {r['why']}" for r in not_int8(graph)]
    lines += [f"| both | {pair['bytes']['both']} | | | | |"] if len(parts) > 1 else []
    lines += ["", "Not int8:" if left else "Everything is int8 (biases are int32, as kernels take them).", "", *left]
    made = pair["compiled"]
    lines += ["", "## Compiled to C", ""]
    lines += [f"Constants {made['constants']} bytes, working memory {made['memory']}, state {made['state']}.", ""]
    return "\n".join(lines)
