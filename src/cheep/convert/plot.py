# SPDX-License-Identifier: MIT
"""The picture of several variants: accuracy against bytes."""

from __future__ import annotations

import io
from typing import Any

MIN_SPAN = 6.0  # of the accuracy axis, points


def _number(axes: Any, points: list[tuple[float, float]], dpi: float) -> None:
    """Write 1, 2, ... at the points, one above the other where points lie together."""
    taken: list[tuple[float, float]] = []
    for number, at in enumerate(points, 1):
        x, y = axes.transData.transform(at) * 72 / dpi
        rise = 5.0
        while any(abs(x - a) < 14 and abs(y + rise - b) < 10 for a, b in taken):
            rise += 10
        taken.append((x, y + rise))
        axes.annotate(str(number), at, textcoords="offset points", xytext=(4, rise), fontsize=8)


def _height(item: dict[str, Any]) -> float:
    return item["cosine"] if item["accuracy"] is None else item["accuracy"]


def plot_variants(result: dict[str, Any]) -> str:
    """Return an SVG: accuracy (of features: cosine) in % over flash bytes: a point per variant."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "cheep"
    variants = result["variants"]
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for number, item in enumerate(variants, 1):
        runs = item["tflm"] == "yes"
        at = item["bytes"] / 1024, 100 * _height(item)
        axes.plot(*at, "o" if runs else "x", color="#1a6" if runs else "#b33", markersize=8)
        axes.plot(
            [],
            [],
            "o" if runs else "x",
            color="#1a6" if runs else "#b33",
            label=f"{number}  {item['name']}: {at[1]:.1f} %, {at[0]:.1f} KB",
        )
    extracts = bool(variants) and variants[0]["accuracy"] is None
    if variants and not extracts:
        axes.axhline(100 * variants[0]["float_accuracy"], color="#888", linestyle="--", label="float network")
    axes.set(
        xlabel="model file, KB",
        ylabel="cosine with the float features, %" if extracts else "accuracy, %",
        title=f"{result['examples']} examples ({result['judged']}); crosses do not run in TFLM",
    )
    axes.grid(alpha=0.3)
    low, high = axes.get_ylim()
    if high - low < MIN_SPAN:  # a point of accuracy must not look like an abyss
        middle = (low + high) / 2
        axes.set_ylim(middle - MIN_SPAN / 2, middle + MIN_SPAN / 2)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.canvas.draw()
    _number(axes, [(item["bytes"] / 1024, 100 * _height(item)) for item in variants], figure.dpi)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(figure)
    return stream.getvalue()
