# SPDX-License-Identifier: MIT
"""The pictures of a report: matplotlib, one look, the same bytes for the same input. Each returns SVG or PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cheep.evaluate.metrics import Curve
from cheep.evaluate.temperature import Reliability
from cheep.report.results import History, OperatingCurve, Soundscape

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

#: Distinguishable by people with the common colour deficiencies (Okabe and Ito), dark enough on white.
COLOURS = ("#0072B2", "#D55E00", "#00795A", "#B0527F", "#7A5C00", "#3A87B5", "#5B5B5B", "#8C2D04")
_STYLE: dict[RcKeyType, Any] = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667",
    "axes.labelcolor": "#222",
    "axes.titlesize": 10.5,
    "axes.grid": True,
    "grid.color": "#e4e6ea",
    "grid.linewidth": 0.8,
    "xtick.color": "#444",
    "ytick.color": "#444",
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "svg.hashsalt": "cheep",
    "svg.fonttype": "path",
}
#: A page shows the matrix of more labels wide, and lists the most frequent confusions.
MANY_LABELS = 12
_WIDTH, _HEIGHT = 4.6, 3.4  # inches: legible when shown 360 px wide


def confusion_figure(labels: Sequence[str], table: np.ndarray) -> bytes:
    """Return the confusion matrix: counts written, shade = share of the row. ``table`` (rows, columns) int64.

    Many labels make a large picture (0.24 inch a label), which a page shows wide.
    """
    rows, columns = table.shape
    many = columns > MANY_LABELS
    size = 0.24 * columns + 2.2 if many else max(_HEIGHT, 0.36 * columns + 1.7)
    with framed(size + 0.4, max(2.6, size * rows / columns)) as (figure, axes):
        share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
        for i in range(rows):
            for j in range(columns):
                if table[i, j]:
                    colour = "white" if share[i, j] > 0.6 else "#223"
                    size = 7.5 if many else 9
                    axes.text(j, i, str(table[i, j]), ha="center", va="center", color=colour, fontsize=size)
        names = [_short(label) for label in labels]
        turned = 90 if many else 40 if columns > 3 else 0
        aligned = "center" if turned in (0, 90) else "right"
        axes.set_xticks(range(columns), names[:columns], rotation=turned, ha=aligned, fontsize=8.5 if many else None)
        axes.set_yticks(range(rows), names[:rows], fontsize=8.5 if many else None)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.grid(False)
        return svg_of(figure)


def roc_figure(curves: Sequence[tuple[str, Curve]]) -> bytes:
    """Return ROC curves, one per label."""
    with framed() as (figure, axes):
        for (label, curve), colour in zip(curves, _colours(len(curves)), strict=True):
            axes.step(
                curve.false_positive_rate,
                curve.true_positive_rate,
                where="post",
                **_line(curves, colour),
                label=f"{_short(label)}  {curve.roc_auc:.3f}",
            )
        axes.plot([0, 1], [0, 1], color="#aab", linewidth=1, linestyle=":")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        _legend(axes, len(curves), "lower right", "area under curve")
        return svg_of(figure)


def precision_recall_figure(curves: Sequence[tuple[str, Curve]]) -> bytes:
    """Return precision over recall, one curve per label."""
    with framed() as (figure, axes):
        for (label, curve), colour in zip(curves, _colours(len(curves)), strict=True):
            axes.step(
                curve.true_positive_rate,
                curve.precision,
                where="pre",
                **_line(curves, colour),
                label=f"{_short(label)}  {curve.average_precision:.3f}",
            )
        axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
        _legend(axes, len(curves), "lower left", "average precision")
        return svg_of(figure)


def det_figure(curves: Sequence[tuple[str, Curve]]) -> bytes:
    """Return detection error trade-off curves: miss rate over false positive rate, both on a normal-deviate scale."""
    from scipy.stats import norm

    ticks = np.array([0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])
    low, high = 5e-4, 0.97
    with framed() as (figure, axes):
        for (label, curve), colour in zip(curves, _colours(len(curves)), strict=True):
            x = norm.ppf(np.clip(curve.false_positive_rate, low, high))
            y = norm.ppf(np.clip(curve.miss_rate, low, high))
            axes.step(
                x,
                y,
                where="post",
                **_line(curves, colour),
                label=f"{_short(label)}  {100 * curve.equal_error_rate:.1f} %",
            )
        axes.set_xticks(norm.ppf(ticks), [f"{100 * t:g}" for t in ticks])
        axes.set_yticks(norm.ppf(ticks), [f"{100 * t:g}" for t in ticks])
        axes.set(
            xlabel="false positive rate, %",
            ylabel="miss rate, %",
            xlim=norm.ppf([low, high]),
            ylim=norm.ppf([low, high]),
        )
        axes.tick_params(labelsize=8.5)
        _legend(axes, len(curves), "upper right", "equal error rate")
        return svg_of(figure)


def reliability_figure(before: Reliability, after: Reliability | None, temperature: float | None) -> bytes:
    """Return the reliability plot: how often a score is right, before and after temperature scaling."""
    with framed() as (figure, axes):
        axes.plot([0, 1], [0, 1], color="#aab", linewidth=1, linestyle=":")
        axes.plot(
            before.stated,
            before.observed,
            "o-",
            color=COLOURS[0],
            markersize=5,
            label=f"as is, error {before.error:.3f}",
        )
        if after is not None and temperature is not None:
            axes.plot(
                after.stated,
                after.observed,
                "s--",
                color=COLOURS[1],
                markersize=5,
                label=f"temperature {temperature:.2f}, error {after.error:.3f}",
            )
        axes.set(
            xlabel="stated probability (score)", ylabel="observed frequency", xlim=(-0.02, 1.02), ylim=(-0.02, 1.05)
        )
        axes.legend(loc="best")
        return svg_of(figure)


def history_figures(history: History) -> list[bytes]:
    """Return the learning curves of one stage: one picture of the losses, one of the other metrics."""
    losses = {name: values for name, values in history.metrics.items() if "loss" in name and _drawable(values)}
    others = {
        name: values
        for name, values in history.metrics.items()
        if "loss" not in name and _drawable(values) and name not in ("epoch", "lr", "learning_rate", "seconds")
    }
    out = []
    for metrics in (losses, others):
        if not metrics:
            continue
        with framed(_WIDTH, 2.8) as (figure, axes):
            for (name, values), colour in zip(metrics.items(), _colours(len(metrics)), strict=True):
                axes.plot(np.arange(1, len(values) + 1), values, color=colour, label=name.replace("_", " "))
            if history.best_epoch is not None:
                axes.axvline(history.best_epoch + 1, color="#889", linewidth=1, linestyle="--")
            axes.set_xlabel("epoch")
            axes.legend(loc="best")
            axes.xaxis.get_major_locator().set_params(integer=True)
            out.append(svg_of(figure))
    return out


def operating_figure(curves: Sequence[OperatingCurve]) -> bytes:
    """Return recall over false alarms per hour, the chosen points with their intervals."""
    with framed() as (figure, axes):
        floor = min([0.5 / curve.hours for curve in curves if curve.hours > 0] or [0.01])
        for curve, colour in zip(curves, _colours(len(curves)), strict=True):
            order = np.argsort(curve.threshold)[::-1]
            x = np.maximum(curve.false_alarms_per_hour[order], floor)
            axes.step(x, curve.recall[order], where="post", color=colour, label=_short(curve.label))
            if curve.chosen_false_alarms_per_hour and curve.chosen_recall:
                value, low, high = curve.chosen_false_alarms_per_hour
                recall, recall_low, recall_high = curve.chosen_recall
                value, low, high = (max(number, floor) for number in (value, low, high))
                bars = None
                if recall_low is not None and recall_high is not None:
                    bars = [[max(0.0, recall - recall_low)], [max(0.0, recall_high - recall)]]
                axes.errorbar(
                    [value],
                    [recall],
                    xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                    yerr=bars,
                    fmt="o",
                    color=colour,
                    markersize=7,
                    capsize=3,
                    elinewidth=1.2,
                )
        axes.set_xscale("log")
        axes.set(xlabel="false alarms per hour", ylabel="recall of events", ylim=(-0.02, 1.03))
        axes.legend(loc="best")
        return svg_of(figure)


def soundscape_figure(scape: Soundscape, labels: Sequence[str], wide: bool) -> bytes:
    """Return a time line: truth above, detections below it, by label's colour; rows of two (``wide``: five) minutes."""
    from matplotlib.patches import Patch

    lines = int(np.clip(np.ceil(scape.duration_s / (300 if wide else 120)), 1, 8))
    shown = [name for name in labels if name in scape.labels]
    colours = dict(zip(labels, _colours(len(labels)), strict=True))
    step = scape.duration_s / lines
    height = 0.6 + 0.9 * lines + 0.24 * np.ceil(len(shown) / (5 if wide else 2))
    with framed(2.2 * _WIDTH if wide else _WIDTH, height, panels=lines) as (figure, axes):
        axes = np.atleast_1d(axes)
        for row, panel in enumerate(axes):
            begin, end = row * step, (row + 1) * step
            for events, base in ((scape.annotations, 1.1), (scape.detections, 0.0)):
                for item in events:
                    if item.end_s <= begin or item.start_s >= end:
                        continue
                    panel.broken_barh(
                        [(item.start_s, max(item.end_s - item.start_s, step / 300))],
                        (base, 0.8),
                        color=colours.get(item.label, "#889"),
                        linewidth=0,
                    )
            panel.set(xlim=(begin, end), ylim=(-0.15, 2.05))
            panel.set_yticks([0.4, 1.5], ["detected", "truth"], fontsize=8.5)
            panel.tick_params(axis="x", labelsize=8.5)
            panel.grid(False, axis="y")
        axes[-1].set_xlabel("time, s")
        if shown:
            handles = [Patch(color=colours[name], label=_short(name)) for name in shown]
            figure.legend(handles=handles, loc="outside upper left", ncols=5 if wide else 2, fontsize=9)
        return svg_of(figure)


def spectrogram_figure(pcm: np.ndarray, sample_rate_hz: int) -> bytes:
    """Return a spectrogram of int16 samples (n,) as PNG: kHz over seconds."""
    from scipy.signal import spectrogram

    samples = pcm.astype(np.float64) / 32768
    size = min(256, max(16, len(samples)))
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    frequency, time, power = spectrogram(samples, sample_rate_hz, nperseg=size, noverlap=size * 3 // 4, nfft=2 * size)
    level = 10 * np.log10(power + 1e-14)
    top = float(np.max(level))
    with framed(3.6, 1.9) as (figure, axes):
        axes.pcolormesh(
            time,
            frequency / 1000,
            level,
            vmin=max(top - 65, -140),
            vmax=top,
            cmap="magma",
            shading="auto",
            rasterized=True,
        )
        axes.set(xlabel="s", ylabel="kHz")
        axes.grid(False)
        axes.tick_params(labelsize=8.5)
        return png_of(figure)


def _drawable(values: object) -> bool:
    return isinstance(values, list | tuple) and len(values) > 0 and all(isinstance(v, int | float) for v in values)


def _short(label: str, most: int = 22) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _colours(n: int) -> list[str]:
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    import matplotlib

    table = matplotlib.colormaps["tab20"]
    return [matplotlib.colors.to_hex(table(i % 20)) for i in range(n)]


def _line(curves: Sequence[object], colour: str) -> dict[str, object]:
    """Return how a curve is drawn: many without a legend are one cloud, not twenty colours twice over."""
    return {"color": COLOURS[0], "alpha": 0.3, "linewidth": 1} if len(curves) > MANY_LABELS else {"color": colour}


def _legend(axes, n: int, where: str, title: str) -> None:
    if n <= MANY_LABELS:
        axes.legend(loc=where, title=title, title_fontsize=9, alignment="left")


class framed:
    """Context with a figure of ``width`` x ``height`` inches and its axes, one above the other, in one look."""

    def __init__(
        self, width: float = _WIDTH, height: float = _HEIGHT, panels: int = 1, heights: Sequence[float] | None = None
    ):
        self._size, self._panels, self._heights = (width, height), panels, heights

    def __enter__(self):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context(_STYLE)
        self._context.__enter__()
        figure = Figure(figsize=self._size, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(self._panels, 1, height_ratios=self._heights)
        return figure, axes

    def __exit__(self, *error) -> None:
        self._context.__exit__(*error)


def svg_of(figure) -> bytes:
    """Return a figure as SVG, the same bytes each time."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def png_of(figure) -> bytes:
    """Return a figure as PNG, the same bytes each time."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=140, metadata={"Software": None})
    return out.getvalue()
