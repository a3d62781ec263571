# SPDX-License-Identifier: MIT
"""What is met while a manifest is built and has to be said: once for each kind, or as an error."""

from __future__ import annotations

import collections
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cheep.datasets.labels.boxes import Box
from cheep.datasets.manifest import Manifest
from cheep.datasets.measuring import Measured
from cheep.datasets.sources.recording import Recording
from cheep.errors import CheepError

log = logging.getLogger(__name__)

MOST_BAD = 20  # so many files that cannot be read are named at once


class Findings:
    """What was met in the files and has to be said once at the end."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._silent: list[tuple[Path, float, float]] = []
        self._late: list[tuple[Path, float, float]] = []  # one per box
        self._lost: set[Path] = set()

    def of_file(self, path: Path, measured: Measured, boxes: list[Box] | None) -> list[Box] | None:
        """Take note of a file, and return its boxes that lie within it (``None``: it has none that does)."""
        self._notes += [f"{path}: {note}" for note in measured.notes]
        silent_s = sum(end - start for start, end in measured.zeros)
        if silent_s:
            self._silent.append((path, silent_s, measured.duration_s))
        if boxes is None:
            return None
        late = [box for box in boxes if box.start_s >= measured.duration_s - 1e-3]
        self._late += [(path, box.start_s, measured.duration_s) for box in late]
        if late and len(late) == len(boxes):
            self._lost.add(path)
            return None
        return [box for box in boxes if box not in late]

    def say(self, annotated: int, boxes: dict[Path, list[Box]], others: frozenset[str]) -> None:
        """Log each kind once; CheepError where most annotations cannot be those of their recordings."""
        if self._notes:
            log.warning("%d file(s) with a wrong header, read to their end: %s", len(self._notes), _some(self._notes))
        if self._silent:
            total = sum(silent for _, silent, _ in self._silent)
            worst = max(self._silent, key=lambda item: item[1] / item[2])
            log.warning(
                "%d file(s) hold exact zeros (%.1f s in sum; %s: %.1f of %.1f s): pauses, no audio; left out",
                len(self._silent), total, worst[0], worst[1], worst[2],
            )  # fmt: skip
        if self._late:
            path, start, end = self._late[0]
            text = (
                f"{len(self._late)} annotation(s) of {len({item[0] for item in self._late})} recording(s) begin behind "
                f"the end (e.g. {path}: {start:g} s, it lasts {end:g} s): times that count on over several files need "
                "Raven's column File Offset (s)"
            )
            if 2 * len(self._lost) > annotated:
                raise CheepError(text)
            log.warning("%s; they are left out", text)
        foreign = collections.Counter(box.label for items in boxes.values() for box in items if box.label in others)
        if foreign:
            named = ", ".join(f"{label} {count}" for label, count in foreign.most_common(5))
            log.warning(
                "annotations name %d label(s) that no recording has; their windows are left out: %s%s "
                "(--rename 'NAME=LABEL' joins one to a label, --box-labels makes them labels)",
                len(foreign), named, ", ..." if len(foreign) > 5 else "",
            )  # fmt: skip


def _some(texts: Sequence[str], most: int = 3) -> str:
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


def refuse_bad(bad: Mapping[Path, str]) -> None:
    """Raise :class:`CheepError` where there are files that cannot be read; ``bad`` says why, of each."""
    if bad:
        least = "at least " if len(bad) >= MOST_BAD else ""
        fix = "mend or remove them; --skip-bad leaves out all files that cannot be read"
        raise CheepError("\n".join((*bad.values(), f"{least}{len(bad)} file(s) cannot be read: {fix}")))


def refuse_unreadable(recordings: Sequence[Recording], bad: Collection[Path]) -> None:
    """Raise :class:`CheepError` where no file of a label can be read."""
    for label in sorted({item.label for item in recordings}):
        paths = {item.path for item in recordings if item.label == label}
        if paths.issubset(bad):
            raise CheepError(f"label {label!r}: none of its {len(paths)} file(s) can be read: replace or remove them")


def warn_of_lost(
    recordings: Sequence[Recording],
    manifest: Manifest,
    boxes: dict[Path, list[Box]],
    fates: dict[str, collections.Counter[str]],
) -> None:
    """Say which recordings have no window; :class:`CheepError` where a label has none.

    ``fates`` count the windows of a label by what became of them.
    """
    # annotations that give a recording other labels may leave none of its own
    recordings = [
        item for item in recordings if not any(box.label not in ("", item.label) for box in boxes.get(item.path, ()))
    ]
    lost = {recording.label for recording in recordings} - set(manifest.labels)
    for label in sorted(lost):
        raise CheepError(f"label {label!r}: every window was left out ({_fate_of(fates[label])}")
    with_windows = set(zip(manifest.column("label"), manifest.column("recording"), strict=True))
    of_others = {name for _, name in with_windows}
    silent, elsewhere = collections.Counter[str](), collections.Counter[str]()
    for label, name in {(r.label, r.recording) for r in recordings} - with_windows:
        (elsewhere if name in of_others else silent)[label] += 1
    for label, count in sorted(silent.items()):
        log.warning("label %r: %d recording(s) have no active window and are left out whole", label, count)
    for label, count in sorted(elsewhere.items()):
        log.warning("label %r: %d recording(s) have no window of it, only some of other labels", label, count)


def _fate_of(reasons: collections.Counter[str]) -> str:
    """What happened to the windows of a label, and what to do: the end of an error message."""
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    most = reasons.most_common(1)[0][0] if reasons else "no activity"
    if most == "no activity" and len(reasons) == 1:
        counted = "no activity found"
    advice = {
        "annotated as another label": "give the annotations' names to --rename 'NAME=LABEL', or --box-labels",
        "not annotated": "the annotations mark nothing in them; leave them out of --annotations",
        "no audio (exact zeros)": "the recordings hold nothing but zeros; record them again",
        "speech-like": "keep speech-like windows with --keep-announcements",
    }.get(
        most,
        "lower --activity-db, widen the band with --low-hz/--high-hz, or keep whole recordings with --no-selection",
    )
    return f"{counted}): {advice}"
