# SPDX-License-Identifier: MIT
"""Detections of a season as other programs read them, and as sound."""

from __future__ import annotations

import collections
import csv
import dataclasses
import datetime
import functools
import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from cheep.audio import read_span, write_wav
from cheep.audio.remote import url_of
from cheep.errors import CheepError
from cheep.files import atomic_path, write_csv, write_text
from cheep.parallel import map_each
from cheep.season.schema import USABLE, ModelRow
from cheep.season.store import Season

KINDS = ("csv", "raven", "audacity", "birdnet", "kaleidoscope", "clips")
_BATCH = 4096
_RAVEN = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin File", "Begin Path", "Label", "Score"),
)
_CSV = (
    *("site", "deployment", "device", "file", "date", "time", "start_utc", "start_s", "end_s", "label", "score"),
    *("latitude", "longitude", "recording", "model"),
)
_BIRDNET = ("Start (s)", "End (s)", "Scientific name", "Common name", "Confidence", "File")
_KALEIDOSCOPE = (
    *("INDIR", "FOLDER", "IN FILE", "CHANNEL", "OFFSET", "DURATION", "Fmin", "Fmax", "DATE", "TIME", "HOUR"),
    *("AUTO ID", "MATCH RATIO", "MANUAL ID"),
)
_CLIPS = ("clip", "clip_start_s", *_CSV)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which detections: labels and sites (none: all), and the least score, 0..1."""

    labels: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    least: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise CheepError(f"min_score={self.least:g}: must lie in 0..1 (--min-score)")


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written: files, detections, and what could not be."""

    files: int
    detections: int
    problems: tuple[str, ...] = ()


def export_detections(
    season: Season,
    kind: str,
    target: Path,
    *,
    model: ModelRow,
    wanted: Wanted | None = None,
    context_s: float = 1.0,
    most: int = 0,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write the detections of one model.

    Parameters
    ----------
    kind
        ``csv`` and ``kaleidoscope``: one table; ``birdnet``: one table as BirdNET-Analyzer writes it; ``raven`` and
        ``audacity``: a file per recording; ``clips``: sound, with a table of the clips.
    target
        The file (csv, birdnet, kaleidoscope), or the folder.
    context_s, most
        For clips: sound before and after the detection, s; at most so many of each label, those of the highest scores
        (0: all).

    Raises
    ------
    CheepError
        Unknown kind, label or site; a file that cannot be written. Clips whose recording cannot be read are counted.
    """
    wanted = wanted or Wanted()
    if kind not in KINDS:
        raise CheepError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    for label in wanted.labels:
        if label not in model.labels:
            raise CheepError(f"--label {label}: the model has {', '.join(model.labels)}")
    found = detections_by_recording(season, model, wanted)
    if kind in ("raven", "audacity"):
        return _per_recording(kind, target, model, found)
    if kind == "clips":
        return _clips(target, found, context_s, most, jobs, progress)
    counts: collections.Counter[str] = collections.Counter()

    def rows() -> Iterator[Sequence[Any]]:
        for recording, detections in found:
            counts["detections"] += len(detections)
            yield from (_ROWS[kind](recording, item, model) for item in detections)

    header = {"csv": _CSV, "birdnet": _BIRDNET, "kaleidoscope": _KALEIDOSCOPE}[kind]
    _stream_csv(target, header, rows())
    return Exported(1, counts["detections"])


def detections_by_recording(
    season: Season, model: ModelRow, wanted: Wanted
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield (recording, its detections), both as mappings by column, in the order of the tables, in bounded memory."""
    recordings = {row["recording"]: row for row in _recordings(season)}
    for site in wanted.sites:
        if not any(row["site"] == site for row in recordings.values()):
            sites = sorted({row["site"] for row in recordings.values()})
            raise CheepError(f"--site {site}: the season has {', '.join(sites)}")
    path = season.table_path("detections")
    if not path.is_file():
        raise CheepError(f"{path}: missing; finish the scan (cheep scan)")
    mine = pc.field("model") == model.model
    if wanted.labels:
        mine &= pc.field("label").isin(wanted.labels)
    if wanted.sites:
        mine &= pc.field("site").isin(wanted.sites)
    if wanted.least:
        mine &= pc.field("score") >= wanted.least
    name = ""
    held: list[dict[str, Any]] = []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH):
            for row in batch.filter(mine).to_pylist():
                if row["recording"] != name:
                    if held:
                        yield recordings[name], held
                    name, held = row["recording"], []
                held.append(row)
    if held:
        yield recordings[name], held


def _recordings(season: Season) -> Iterator[dict[str, Any]]:
    names = ["recording", "site", "deployment", "device", "folder", "path", "start_local", "latitude", "longitude"]
    for batch in season.recordings([*names, "length_s", "status"]).to_batches(_BATCH):
        yield from batch.to_pylist()


def usable_files(season: Season) -> list[Path]:
    """Return the recordings of a season that could be heard, sorted."""
    table = season.recordings(["folder", "path", "status"])
    return sorted(file_of(row) for row in table.to_pylist() if row["status"] in USABLE)


def file_of(recording: dict[str, Any]) -> Path:
    """Return where a recording lies, or lay when it was scanned."""
    return Path(recording["folder"], recording["path"])


def name_of(recording: dict[str, Any]) -> str:
    """Return the same as text: a path, or a URL with both its slashes."""
    path = file_of(recording)
    return url_of(path) or str(path)


# -- tables ----------------------------------------------------------------------------------


def _stream_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with atomic_path(target) as part, open(part, "w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow(header)
        out.writerows(rows)


def _clock(local: datetime.datetime | None) -> tuple[str, str]:
    return ("", "") if local is None else (local.strftime("%Y-%m-%d"), local.strftime("%H:%M:%S"))


def _csv_row(recording: dict[str, Any], item: dict[str, Any], model: ModelRow | None = None) -> list[Any]:
    utc = item["start_utc"]
    return [
        recording["site"],
        recording["deployment"],
        recording["device"],
        name_of(recording),
        *_clock(item["start_local"]),
        "" if utc is None else utc.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        f"{item['start_s']:.3f}",
        f"{item['end_s']:.3f}",
        item["label"],
        f"{item['score']:.4f}",
        recording["latitude"],
        recording["longitude"],
        recording["recording"],
        item["model"],
    ]


def _birdnet_row(recording: dict[str, Any], item: dict[str, Any], model: ModelRow) -> list[Any]:
    times = [f"{item[name]:.3f}" for name in ("start_s", "end_s")]
    return [*times, item["label"], item["label"], f"{item['score']:.4f}", name_of(recording)]


def _kaleidoscope_row(recording: dict[str, Any], item: dict[str, Any], model: ModelRow) -> list[Any]:
    path = Path(recording["path"])
    date, time = _clock(item["start_local"])
    return [
        recording["folder"],
        "" if path.parent == Path() else str(path.parent),
        path.name,
        0,
        f"{item['start_s']:.3f}",
        f"{item['end_s'] - item['start_s']:.3f}",
        *_band(model),
        date,
        time,
        time[:2],
        item["label"],
        f"{item['score']:.4f}",
        "",
    ]


_ROWS = {"csv": _csv_row, "birdnet": _birdnet_row, "kaleidoscope": _kaleidoscope_row}


def _band(model: ModelRow) -> tuple[str, str]:
    return f"{model.features['fmin_hz']:.1f}", f"{model.features['fmax_hz']:.1f}"


def _per_recording(kind: str, target: Path, model: ModelRow, found: Iterable[tuple[dict, list[dict]]]) -> Exported:
    detections, used = 0, set()
    for recording, items in found:
        path = Path(recording["path"])
        name = "_".join(plain_name(part) for part in (*path.parent.parts, path.stem))
        suffix = ".Table.1.selections.txt" if kind == "raven" else ".txt"
        place = target / plain_name(recording["site"])
        out = place / (name + suffix)
        if out in used:  # another folder of the same name
            out = place / f"{name}_{recording['recording']}{suffix}"
        used.add(out)
        write_text(out, _raven(recording, items, model) if kind == "raven" else _audacity(items))
        detections += len(items)
    return Exported(len(used), detections)


def plain_name(text: str) -> str:
    """Return ``text`` as part of a file name on any system."""
    return re.sub(r"[^\w.+-]+", "-", text).strip(".") or "-"


def _raven(recording: dict[str, Any], items: list[dict[str, Any]], model: ModelRow) -> str:
    lines = ["\t".join(_RAVEN)]
    path = file_of(recording)
    for number, item in enumerate(items, 1):
        times = [f"{item[name]:.6f}" for name in ("start_s", "end_s")]
        cells = [str(number), "Spectrogram 1", "1", *times, *_band(model), path.name, name_of(recording)]
        cells += [item["label"], f"{item['score']:.4f}"]
        lines.append("\t".join(cell.replace("\t", " ") for cell in cells))
    return "\n".join(lines) + "\n"


def _audacity(items: list[dict[str, Any]]) -> str:
    lines = [f"{item['start_s']:.6f}\t{item['end_s']:.6f}\t{item['label']} {item['score']:.2f}" for item in items]
    return "\n".join(lines) + "\n"


# -- sound -----------------------------------------------------------------------------------


def _clips(
    target: Path,
    found: Iterable[tuple[dict, list[dict]]],
    context_s: float,
    most: int,
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> Exported:
    if not 0 <= context_s < 3600:
        raise CheepError(f"context_s={context_s:g}: must be 0 to 3600 s (--context)")
    if most < 0:
        raise CheepError(f"most={most}: must be at least 1, or 0 for all (--most)")
    older = sum(1 for path in target.rglob("*") if path.is_file()) if target.is_dir() else 0
    if older:
        raise CheepError(
            f"{target}: holds {older} file(s) already, which could be taken for clips of these detections; name a new "
            "folder, or empty it"
        )
    chosen = _best(found, most)
    tasks = [(recording, tuple(items)) for recording, items in chosen]
    table: list[list[Any]] = []
    problems = []
    work = functools.partial(_cut, target, context_s)
    for (recording, _), outcome in zip(tasks, map_each(work, tasks, jobs=jobs, progress=progress), strict=True):
        if isinstance(outcome.error, CheepError | OSError):
            problems.append(f"{name_of(recording)}: {outcome.error}".replace(f"{name_of(recording)}: " * 2, ""))
        else:
            table += outcome.value
    write_csv(target / "clips.csv", _CLIPS, table)
    return Exported(len(table), len(table), tuple(problems))


def _best(found: Iterable[tuple[dict, list[dict]]], most: int) -> list[tuple[dict, list[dict]]]:
    """Keep the highest scores of each label; of equal ones the earlier in the table."""
    if not most:
        return list(found)
    best: dict[str, list[tuple[float, int, dict, dict]]] = collections.defaultdict(list)
    number = 0
    for recording, items in found:
        for item in items:
            number += 1
            heap, entry = best[item["label"]], (item["score"], -number, recording, item)
            if len(heap) < most:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
    kept = [(-place, recording, item) for heap in best.values() for _, place, recording, item in heap]
    kept.sort(key=lambda entry: entry[0])
    out: list[tuple[dict, list[dict]]] = []
    for _, recording, item in kept:
        if not out or out[-1][0] is not recording:
            out.append((recording, []))
        out[-1][1].append(item)
    return out


def _cut(target: Path, context_s: float, task: tuple[dict[str, Any], tuple[dict[str, Any], ...]]) -> list[list[Any]]:
    """Write the clips of one recording at its own rate; return the rows of the table."""
    recording, items = task
    rows = []
    for item in items:
        begin = max(0.0, item["start_s"] - context_s)
        pcm, rate = read_span(file_of(recording), begin, item["end_s"] + context_s)
        date, time = _clock(item["start_local"])
        parts = [f"{item['score']:.3f}", recording["site"], date.replace("-", ""), time.replace(":", "")]
        parts += [recording["recording"][:8], f"{item['start_s']:.1f}s"]
        name = Path(plain_name(item["label"]), "_".join(plain_name(part) for part in parts if part) + ".wav")
        write_wav(target / name, pcm, rate)
        rows.append([name.as_posix(), f"{begin:.3f}", *_csv_row(recording, item)])
    return rows
