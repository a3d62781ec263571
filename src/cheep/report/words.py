# SPDX-License-Identifier: MIT
"""What a report says in plain words: what the detector is good for, what is weak, what to do next."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from cheep.detector import show_probability
from cheep.evaluate.matching import add_counts, count_events, match_events
from cheep.report.results import RunResults, Threshold

_Range: TypeAlias = "tuple[float, float | None, float | None]"  # value, low, high
_MOST = 5  # sentences of one kind
_GOOD, _WEAK = 0.8, 0.7  # recall of clips: the low end of its interval above which, the value below which
_FEW_RECORDINGS = 20
_FIRST_RATE = 0.01  # of validation windows of others that the thresholds before a calibration let through


@dataclasses.dataclass(frozen=True)
class Words:
    """Sentences, the most important first; ``following`` comes after the next command."""

    good: tuple[str, ...]
    weak: tuple[str, ...]
    following: tuple[str, ...]


def plain_words(run: RunResults, rows: list[dict[str, Any]], confusions: list[tuple[str, str, int, int]]) -> Words:
    """Say what the figures mean.

    Parameters
    ----------
    run : RunResults
        Thresholds and false alarms come from it first, then long recordings, robustness, boards, data.
    rows : list of dict
        Per label: ``label``, ``clips``, ``recall``, ``recall_interval`` of test clips.
    confusions : list of (true, predicted, clips, clips of the true label)
        Of test clips, the most frequent first.
    """
    good: list[str] = []
    weak: list[str] = []
    following: list[str] = []
    _thresholds(run, good, weak, following)
    _soundscapes(run, good, weak)
    _clips(rows, confusions, good, weak, following)
    _robustness(run, weak)
    _boards(run, good, weak)
    _data(run, weak, following)
    return Words(tuple(good), tuple(weak), tuple(following))


def _thresholds(run: RunResults, good: list[str], weak: list[str], following: list[str]) -> None:
    events = [item for item in run.thresholds if item.value is not None]
    lines = [(_threshold(item, item.rate), item) for item in events if item.rate is not None]
    good += _some([text for text, item in lines if item.recall and item.recall[0] >= 0.5], "labels")
    weak += _some([text for text, item in lines if not (item.recall and item.recall[0] >= 0.5)], "labels")
    if run.stale:
        weak.append(run.stale)
    if events and not lines:
        most = f": up to about {_FIRST_RATE * 3600 / run.stride_s:.0f} an hour and label" if run.stride_s else ""
        weak.append(
            "How often it will be wrong is not known: no false alarms were counted on long recordings. Its thresholds "
            f"let at most 1 % of the validation windows of other sounds through{most} before smoothing."
        )
        following.append(
            "Record some hours where it will work, without the target or annotated, and let cheep calibrate count."
        )


def _threshold(item: Threshold, alarms: _Range) -> str:
    rate = _range(alarms, lambda value: f"{value:.0f}" if value >= 100 else f"{value:.2g}")
    heard = f"{item.hours:.2g} hours"
    threshold = "none" if item.value is None else show_probability(item.value, 3)
    if item.recall is None:
        return (
            f"{item.label}: {rate} false alarms an hour at threshold {threshold}, measured on "
            f"{heard}; how many calls it finds was not measured."
        )
    return (
        f"{item.label}: finds {_range(item.recall, _percent)} of the calls with {rate} false alarms an hour, at "
        f"threshold {threshold}, measured on {heard}."
    )


def _soundscapes(run: RunResults, good: list[str], weak: list[str]) -> None:
    for scape in run.soundscapes:
        matching = match_events(scape.detections, scape.annotations)
        total = add_counts(count_events(matching, 0.0, label) for label in sorted(scape.labels))
        if total.annotations:
            rate = 3600 * total.false_alarms / scape.duration_s
            text = (
                f"{scape.name} ({scape.duration_s / 60:.0f} min): {total.found} of {total.annotations} calls found, "
                f"{total.false_alarms} false alarm{'s' if total.false_alarms != 1 else ''} ({rate:.0f} an hour)."
            )
            (good if total.found >= 0.5 * total.annotations and rate <= 10 else weak).append(text)


def _clips(rows: list, confusions: list, good: list[str], weak: list[str], following: list[str]) -> None:
    known = [row for row in rows if row["clips"] and row["recall"] is not None and row["label"] != "mean"]
    strong = [row for row in known if row["recall_interval"] and row["recall_interval"][0] >= _GOOD]
    good += _some([f"Recognizes {_recall(row)}." for row in strong], "labels")
    poor = sorted((row for row in known if row["recall"] < _WEAK), key=lambda row: row["recall"])
    weak += _some([f"Recognizes only {_recall(row)}." for row in poor], "labels")
    unsure = [row["label"] for row in known if row not in strong and row not in poor]
    if unsure:
        weak.append(
            "Neither clearly good nor poor on the test clips (more of them, by more people and from more places, would "
            f"tell): {_names(unsure)}."
        )
    often = [item for item in confusions if item[2] >= 2 and item[2] >= 0.1 * item[3]]
    weak += _some([f"{true} is taken for {other} in {n} of {of} clips." for true, other, n, of in often], "pairs")
    names = [row["label"] for row in poor] + [true for true, *_ in often]
    if names:
        following.append(
            f"Listen to the worst mistakes below; then add recordings of {_names(list(dict.fromkeys(names)))}, by "
            "other people and from other places."
        )


def _robustness(run: RunResults, weak: list[str]) -> None:
    known = [(row.recall, row.condition) for row in run.robustness if row.recall is not None]
    plain = next((recall for recall, condition in known if condition == "as recorded"), None)
    if plain:
        worst, condition = min(known, key=lambda row: row[0])
        if worst < 0.7 * plain:
            weak.append(f"{condition}: finds {_percent(worst)} of the calls in place of {_percent(plain)}.")


def _boards(run: RunResults, good: list[str], weak: list[str]) -> None:
    fits = [row.board for row in run.boards if row.fits]
    if fits:
        good.append(f"Fits {_names(fits)}.")
    if too_big := [row.board for row in run.boards if not row.fits]:
        weak.append(f"Does not fit {_names(too_big)}.")


def _data(run: RunResults, weak: list[str], following: list[str]) -> None:
    few = [row.label for row in run.data.rows if row.recordings < _FEW_RECORDINGS] if run.data else []
    if few:
        weak.append(f"Learned from fewer than {_FEW_RECORDINGS} recordings: {_names(few)}.")
        following.append(f"More recordings of {_names(few)} will help most.")


def most_confused(labels: tuple[str, ...], table: np.ndarray) -> list[tuple[str, str, int, int]]:
    """Return (true, predicted, clips, clips of the true label) of the wrong cells, the most frequent first.

    ``table`` : (labels, labels) int64, clips by true (row) and predicted label.
    """
    counts = table.sum(axis=1)
    rows, columns = np.nonzero(table * (1 - np.eye(len(table), dtype=int)))
    found = [(labels[i], labels[j], int(table[i, j]), int(counts[i])) for i, j in zip(rows, columns, strict=True)]
    return sorted(found, key=lambda item: (-item[2], -item[2] / item[3], item[0], item[1]))


def _recall(row: dict[str, Any]) -> str:
    low, high = row["recall_interval"] or (None, None)
    return f"{row['label']} in {_range((row['recall'], low, high), _percent)} of its {row['clips']} test clips"


def _range(value: _Range, text: Callable[[float], str]) -> str:
    middle, low, high = value
    return text(middle) if low is None or high is None else f"{text(middle)} ({text(low)} to {text(high)})"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _names(names: list[str]) -> str:
    shown = names[:_MOST]
    return ", ".join(shown) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def _some(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _MOST
    return lines[:_MOST] + ([f"... and {more} more {what} (tables below)."] if more > 0 else [])
