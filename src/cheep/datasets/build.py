# SPDX-License-Identifier: MIT
"""From recordings to a split manifest: measure, cut, select, split, on every core."""

from __future__ import annotations

import collections
import dataclasses
import logging
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from cheep.audio import iter_audio, scan
from cheep.config.data import GROUPINGS, ActivityConfig, BuildConfig, SplitConfig, plain_name
from cheep.datasets.activity import LevelMeter, Levels
from cheep.datasets.bird_names import scientific_of
from cheep.datasets.labels.boxes import UNKNOWN, Box
from cheep.datasets.manifest import Manifest
from cheep.datasets.sources import Recording
from cheep.datasets.speech import SpeechMeter
from cheep.datasets.split import assign_splits, check_split
from cheep.datasets.windows import NOTHING_THERE, Window, choose_windows
from cheep.errors import CheepError
from cheep.features.digests import sha256_of
from cheep.parallel import map_each

log = logging.getLogger(__name__)

BEHIND_THE_END = "annotated behind the end of the file"
TOO_FEW = "annotated: nothing there (too few without a background label)"


@dataclasses.dataclass
class BuildResult:
    """The manifest, the windows left out (same columns, ``split`` empty), counts by reason, unreadable files."""

    manifest: Manifest
    left_out: Manifest
    reasons: dict[str, int]
    bad_files: list[str]


@dataclasses.dataclass(frozen=True)
class _Measured:
    sha256: str
    levels: Levels | None
    duration_s: float
    speech: tuple[tuple[float, float], ...]
    zeros: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()


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
    for recording in train_only:
        if recording.label not in labels:
            raise CheepError(
                f"{recording.path}: label {recording.label!r} (--train-only) is none of the data set's: "
                f"{', '.join(sorted(labels))}"
            )
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
    found = _Findings()
    tasks = _measurements(by_file, boxes, config)
    for path, outcome in zip(by_file, map_each(measure_file, tasks, jobs=jobs, progress=progress), strict=True):
        if isinstance(outcome.error, CheepError):
            if not config.skip_bad:
                raise CheepError(f"{outcome.error}; --skip-bad leaves out all files that cannot be read")
            bad[path] = str(outcome.error)
            log.warning("left out: %s", outcome.error)
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
    found.say(len(boxes), boxes, others)
    kept, dropped = _without_few_negatives(kept, labels, config)
    out += dropped
    for row in (*kept, *out):
        reasons[str(row["reason"])] += 1
    manifest = Manifest.from_rows(kept, folder)
    _refuse_unreadable(recordings, bad)
    if kept:
        read = [item for item in recordings if item.path not in bad]
        _warn_of_lost(read, manifest, boxes if config.box_labels else {}, fates)
        manifest = _split(manifest, config.split)
    else:
        assign_splits(manifest, config.split)  # raises: nothing to split
    return BuildResult(manifest, Manifest.from_rows(out, folder), dict(sorted(reasons.items())), list(bad.values()))


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


class _Findings:
    """What was met in the files and has to be said once at the end."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._silent: list[tuple[Path, float, float]] = []
        self._late: list[tuple[Path, float, float]] = []  # one per box
        self._lost: set[Path] = set()

    def of_file(self, path: Path, measured: _Measured, boxes: list[Box] | None) -> list[Box] | None:
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
            if label := by_list.get(scientific_of(name)):
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
    recording: Recording, measured: _Measured, config: BuildConfig, boxes: list[Box] | None, others: frozenset[str]
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


def _row(recording: Recording, window: Window, measured: _Measured, group: str, folder: Path) -> dict[str, object]:
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
        return "|".join(parts) if all(parts) else f"recording:{recording.recording}"

    return group_of


def _refuse_unreadable(recordings: Sequence[Recording], bad: Collection[Path]) -> None:
    for label in sorted({item.label for item in recordings}):
        paths = {item.path for item in recordings if item.label == label}
        if paths.issubset(bad):
            raise CheepError(f"label {label!r}: none of its {len(paths)} file(s) can be read: replace or remove them")


def _warn_of_lost(
    recordings: Sequence[Recording],
    manifest: Manifest,
    boxes: dict[Path, list[Box]],
    fates: dict[str, collections.Counter[str]],
) -> None:
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


# -- measuring, in worker processes -----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What to measure of a file: levels for activity, and announcements (by voice)."""

    path: Path
    sample_rate_hz: int
    activity: ActivityConfig
    levels: bool
    speech: bool


def measure_file(task: Measurement) -> _Measured:
    """Hash, length, activity and announcements of one file, in bounded memory; CheepError where it is unreadable."""
    digest = sha256_of(task.path)
    if not task.levels:
        heard = scan(task.path)
        return _Measured(digest, None, heard.duration_s, (), heard.zeros, heard.notes)
    notes: list[str] = []
    meter = LevelMeter(task.sample_rate_hz, task.activity)
    speech = SpeechMeter(task.sample_rate_hz) if task.speech else None
    samples = 0
    for block in iter_audio(task.path, task.sample_rate_hz, notes=notes):
        samples += len(block)
        meter.push(block)
        if speech is not None:
            speech.push(block)
    stretches = speech.stretches() if speech is not None else ()
    levels = meter.levels()
    return _Measured(digest, levels, samples / task.sample_rate_hz, stretches, levels.zeros, tuple(notes))


def _measurements(
    by_file: dict[Path, list[Recording]], boxes: dict[Path, list[Box]], config: BuildConfig
) -> list[Measurement]:
    windows = config.windows
    tasks = []
    for path, group in by_file.items():
        weak = any(not recording.strong and not windows.is_background(recording.label) for recording in group)
        levels = (windows.selection and weak) or windows.gaps
        speech = levels and windows.announcements and weak
        tasks.append(Measurement(path, config.sample_rate_hz, windows.activity, levels, speech))
    return tasks
