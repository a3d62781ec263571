# SPDX-License-Identifier: MIT
"""From recordings to a split manifest: measure, cut, select, split, on every core."""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cheep.config.data import GROUPINGS, BuildConfig, SplitConfig, plain_name
from cheep.datasets.bird_names import scientific_of, species_of
from cheep.datasets.build_findings import MOST_BAD, Findings, refuse_bad, refuse_unreadable, warn_of_lost
from cheep.datasets.labels.boxes import UNKNOWN, Box
from cheep.datasets.manifest import Manifest
from cheep.datasets.measuring import Measured, measure_file, measurements
from cheep.datasets.sources.recording import Recording
from cheep.datasets.split import assign_splits, check_split
from cheep.datasets.windows import NOTHING_THERE, Window, choose_windows
from cheep.errors import CheepError
from cheep.parallel import map_each

log = logging.getLogger(__name__)
ALONE = "recording:"  # begins the group of a recording of which nothing else is known
BEHIND_THE_END = "annotated behind the end of the file"
TOO_FEW = "annotated: nothing there (too few without a background label)"


@dataclasses.dataclass
class BuildResult:
    """The manifest, the windows left out (same columns, ``split`` empty), counts by reason, unreadable files."""

    manifest: Manifest
    left_out: Manifest
    reasons: dict[str, int]
    bad_files: list[str]


def build_manifest(
    recordings: Sequence[Recording],
    config: BuildConfig,
    folder: Path | str = ".",
    boxes: dict[Path, list[Box]] | None = None,
    progress: Callable[[int, int], None] | None = None,
    jobs: int | None = None,
    train_only: Sequence[Recording] = (),
) -> BuildResult:
    """Cut ``recordings`` into examples and split them.

    Parameters
    ----------
    recordings
        Weakly labelled files, or marked stretches of files (``strong``).
    folder
        Where the manifest will be written: its paths are relative to it.
    boxes
        Annotations by audio file (an empty list: annotated, with no box).
    progress
        Called with (files done, files).
    jobs
        Worker processes; default: one per core.
    train_only
        Recordings that are never validated or tested on (synthetic or borrowed ones); of the same labels.

    Raises
    ------
    CheepError
        No recordings, an unreadable file (unless ``skip_bad``), a label that cannot be split.
    GateError
        A recording, file content or group of ``train_only`` is in validation or test.
    """
    if not recordings:
        raise CheepError("no recordings: give a folder that holds one folder per label, or --csv")
    labels = {recording.label for recording in recordings}
    _refuse_strangers(train_only, labels)
    recordings = [*recordings, *(dataclasses.replace(recording, split="train") for recording in train_only)]
    boxes, others = _known_labels(boxes or {}, recordings, config)
    tainted = _naming_others(recordings, config)
    group_of = _grouping(recordings, config.group_by)
    by_file: dict[Path, list[Recording]] = {}
    for recording in recordings:
        by_file.setdefault(recording.path, []).append(recording)
    folder = Path(folder)
    kept: list[dict[str, object]] = []
    out: list[dict[str, object]] = []
    reasons: collections.Counter[str] = collections.Counter()
    bad: dict[Path, str] = {}
    fates: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    found = Findings()
    tasks = measurements(by_file, config)
    for path, outcome in zip(by_file, map_each(measure_file, tasks, jobs=jobs, progress=progress), strict=True):
        if isinstance(outcome.error, CheepError):
            bad[path] = str(outcome.error)
            if config.skip_bad:
                log.warning("left out: %s", outcome.error)
            elif len(bad) == MOST_BAD:
                refuse_bad(bad)
            continue
        measured = outcome.value
        marks = found.of_file(path, measured, boxes.get(path))
        for recording in by_file[path]:
            windows = _windows(recording, measured, config, marks, others)
            if marks is None and path in boxes:
                windows = [dataclasses.replace(window, label="", reason=BEHIND_THE_END) for window in windows]
            if recording.path in tainted:
                windows = [_left_out(window, f"also names {tainted[recording.path]}") for window in windows]
            for window in windows:
                fates[recording.label][window.reason] += 1
                row = _row(recording, window, measured, group_of(recording), folder)
                (kept if window.label else out).append(row)
    if not config.skip_bad:
        refuse_bad(bad)
    found.say(len(boxes), boxes, others)
    kept, dropped = _without_few_negatives(kept, labels, config)
    out += dropped
    for row in (*kept, *out):
        reasons[str(row["reason"])] += 1
    manifest = Manifest.from_rows(kept, folder)
    refuse_unreadable(recordings, bad)
    if kept:
        read = [item for item in recordings if item.path not in bad]
        warn_of_lost(read, manifest, boxes if config.box_labels else {}, fates)
        manifest = _split(manifest, config.split)
    else:
        assign_splits(manifest, config.split)  # raises: nothing to split
    return BuildResult(manifest, Manifest.from_rows(out, folder), dict(sorted(reasons.items())), list(bad.values()))


def _refuse_strangers(train_only: Sequence[Recording], labels: set[str]) -> None:
    for recording in train_only:
        if recording.label not in labels:
            raise CheepError(
                f"{recording.path}: label {recording.label!r} (--train-only) is none of the data set's: "
                f"{', '.join(sorted(labels))}"
            )


def _split(manifest: Manifest, config: SplitConfig) -> Manifest:
    """Split what no recording has settled already; what is to be cross-validated stays open."""
    names = np.array(manifest.column("split"), object)
    settled = np.array(names != "", bool)
    if config.cross_validate:
        return manifest
    if settled.all():
        check_split(manifest, config)
        return manifest
    if settled.any():
        shares = {name: 0.0 for name in ("val", "test") if name in names}
        config = config.model_copy(update=shares)
    names[~settled] = assign_splits(manifest.select(~settled), config).column("split")
    manifest = manifest.with_column("split", names.tolist())
    check_split(manifest, config)
    return manifest


def _without_few_negatives(
    rows: list[dict[str, object]], labels: set[str], config: BuildConfig
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Part the annotated negatives of a data set without background from the rest, where they are too few to split."""
    background = config.windows.background
    mine = [row for row in rows if row["label"] == background]
    if background in labels or len({row["recording"] for row in mine}) > 2:
        return rows, []
    few = [row for row in mine if row["reason"] == NOTHING_THERE]
    if len(few) < len(mine):
        return rows, []
    return [row for row in rows if row["label"] != background], [{**row, "reason": TOO_FEW} for row in few]


def _known_labels(
    boxes: dict[Path, list[Box]], recordings: Sequence[Recording], config: BuildConfig
) -> tuple[dict[Path, list[Box]], frozenset[str]]:
    """Give boxes the spelling of the recordings' labels; return also the labels that are none of theirs.

    Any of a box's names may be that of a label or of its species: scientific, common, a code.
    """
    names = {
        plain_name(name): item.label for item in recordings for name in (item.english, item.species, item.label) if name
    }

    by_list = {scientific_of(name): label for name, label in names.items() if scientific_of(name)}
    listed: dict[str, str] = {}

    def known(box: Box) -> str:
        for name in (box.label, *box.names):
            if label := names.get(plain_name(name)):
                return label
        for name in (box.label, *box.names):
            species = species_of(name)
            label = by_list.get(scientific_of(name)) or by_list.get(scientific_of(species)) or names.get(species or "-")
            if label:
                listed[name] = label
                return label
        return box.label

    result = {path: [dataclasses.replace(box, label=known(box)) for box in items] for path, items in boxes.items()}
    if listed:
        same = ", ".join(f"{name} = {label}" for name, label in sorted(listed.items()))
        log.warning("names in annotations that mean a label by Cheep's list of birds: %s", same)
    met = {box.label for items in result.values() for box in items if box.label}
    return result, frozenset(met & {UNKNOWN} if config.box_labels else met - set(names.values()))


def _naming_others(recordings: Sequence[Recording], config: BuildConfig) -> dict[Path, str]:
    """Recordings that name, beside their own species, one that is a label here: no negatives for that label."""
    targets = {
        plain_name(name): item.label
        for item in recordings
        for name in (item.label, item.species)
        if name and not config.windows.is_background(item.label)
    }
    named: dict[Path, str] = {}
    for item in recordings:
        for name in item.also:
            label = targets.get(plain_name(name))
            if label is not None and label != item.label:
                named[item.path] = label
    return named


def _left_out(window: Window, reason: str) -> Window:
    return dataclasses.replace(window, label="", reason=reason) if window.label else window


def _windows(
    recording: Recording, measured: Measured, config: BuildConfig, boxes: list[Box] | None, others: frozenset[str]
) -> list[Window]:
    end_s = measured.duration_s if recording.end_s is None else min(recording.end_s, measured.duration_s)
    begin_s = recording.begin_s
    if begin_s >= end_s:
        raise CheepError(
            f"{recording.path}: the marked stretch starts at {begin_s:g} s, the file ends at {measured.duration_s:g} s"
        )
    length = config.windows.window_s
    if recording.strong and end_s - begin_s < length:  # a short mark: the window around its middle
        begin_s = max(0.0, min((begin_s + end_s - length) / 2, measured.duration_s - length))
        end_s = min(begin_s + length, measured.duration_s)
    return choose_windows(
        measured.levels,
        recording.label,
        config.windows,
        begin_s,
        end_s,
        recording.strong,
        boxes,
        measured.speech,
        others,
        measured.zeros,
    )


def _row(recording: Recording, window: Window, measured: Measured, group: str, folder: Path) -> dict[str, object]:
    return {
        "path": _relative(recording.path, folder),
        "label": window.label or recording.label,
        "start_s": window.start_s,
        "duration_s": window.duration_s,
        "recording": recording.recording,
        "recordist": recording.recordist,
        "licence": recording.licence,
        "attribution": recording.attribution,
        "split": recording.split,
        "sha256": measured.sha256,
        "group": group,
        "fold": recording.fold,
        "source": recording.source,
        "snr_db": window.snr_db,
        "reason": window.reason,
        **({"also": ";".join(recording.also)} if recording.also else {}),
    }


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder).replace(os.sep, "/")


def _grouping(recordings: Sequence[Recording], group_by: str) -> Callable[[Recording], str]:
    """Return what stays together for one recording: always more than or equal to the recording itself."""
    if not group_by:
        group_by = "group" if any(recording.group for recording in recordings) else "recordist"
    names = group_by.split("+")
    for name in names:
        if name not in ("recordist", "recording", "site", "date", "group"):
            raise CheepError(f"group_by={group_by!r}: must be one of {', '.join(GROUPINGS)}")
    without = sum(not all(str(getattr(item, name)).strip() for name in names) for item in recordings)
    if group_by not in ("recordist", "group") and without == len(recordings):
        raise CheepError(f"group_by={group_by!r}: the recordings have no {group_by} (map a column with --columns)")
    if without and group_by not in ("recordist", "group"):
        log.warning(
            "%d of %d recordings have no %s: each of them is a group of its own", without, len(recordings), group_by
        )

    def group_of(recording: Recording) -> str:
        parts = [str(getattr(recording, name)).strip().lower() for name in names]
        return "|".join(parts) if all(parts) else ALONE + recording.recording

    return group_of
