# SPDX-License-Identifier: MIT
"""Verdicts from and to the files that others use: Raven, Audacity, BirdNET-Analyzer's folders, Whombat, CSV.

A reader takes tables that Cheep wrote, and those that people have: a selection or label without a word about right or
wrong is a person's mark, and so a verdict "right" with its box.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cheep.audio.folders import files_below
from cheep.datasets.labels.boxes import Box
from cheep.datasets.labels.columns import DURATION, END, FILE, LABEL, START
from cheep.datasets.labels.files import is_label_track, parse_audacity
from cheep.datasets.numbers import seconds_field
from cheep.datasets.tables import Table, first_of, read_table, read_table_text
from cheep.errors import CheepError
from cheep.files import write_csv, write_text
from cheep.season.lookup import Found, Recordings
from cheep.season.plan import ToDo
from cheep.season.verdicts import ANSWERS, Clip, MarkedBox, Verdict, VerdictLog, judge, read_verdicts

KINDS = ("raven", "audacity", "birdnet", "whombat", "csv")

_CSV = (
    *("file", "recording", "start_s", "end_s", "label", "verdict", "other", "reviewer", "at", "ask", "plan", "note"),
    *("low_hz", "high_hz"),
)
_RAVEN = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin File", "Begin Path", "Label", "Verdict", "Other", "Reviewer", "Ask"),
)
_VERDICT = ("verdict", "answer", "review", "reviewed", "correct", "valid", "validation", "verified", "manual verdict")
_WORDS = {
    "right": ("right", "correct", "true", "yes", "y", "1", "pos", "positive", "tp", "valid", "confirmed"),
    "wrong": ("wrong", "incorrect", "false", "no", "n", "0", "neg", "negative", "fp", "invalid", "rejected"),
    "unsure": ("unsure", "uncertain", "unknown", "unk", "?", "maybe"),
}
_SEGMENT = re.compile(r"(?P<score>[01]\.\d+)_\d+_(?P<stem>.+)_(?P<start>\d+(?:\.\d+)?)s_(?P<end>\d+(?:\.\d+)?)s\.\w+")
_SEGMENT_FOLDERS = {"positive": "right", "negative": "wrong"}
_SCORED = re.compile(r"(?P<label>.+) [01]\.\d+")  # as cheep season export audacity writes detections
_SCORES = ("score", "confidence", "match ratio")
BOX = "box"


def read_verdict_files(source: Path, recordings: Recordings, labels: Iterable[str] = ()) -> Found:
    """Read verdicts from a file or a folder of any known kind, told by its content.

    Parameters
    ----------
    source
        A table, a label track, a Whombat file (``.json``), a folder of such, or BirdNET-Analyzer's folder of segments
        (``SPECIES/Positive``, ``SPECIES/Negative``).
    recordings
        Of the season.
    labels
        Of the model: a Whombat clip that is done and lacks one of them is a verdict "wrong" about it.

    Raises
    ------
    CheepError
        Nothing there is of any known kind, or something in it is wrong.
    """
    found = Found()
    if source.is_file():
        _read_file(source, recordings, labels, found)
        return found
    if not source.is_dir():
        raise CheepError(f"{source}: no such file or folder (verdicts to read)")
    known = 0
    for path in files_below(source):
        if path.parent.name.lower() in _SEGMENT_FOLDERS and _SEGMENT.fullmatch(path.name):
            _read_segment(path, recordings, found)
        elif path.suffix.lower() in (".txt", ".csv", ".tsv", ".json"):
            _read_file(path, recordings, labels, found)
        else:
            continue
        known += 1
    if not known:
        raise CheepError(f"{source}: no tables, label tracks or segments with a verdict in it")
    return found


def import_verdicts(season: Path, reviewer: str, found: Found) -> tuple[int, int]:
    """Add what was read to a season, those that it has already left out; return (added, known before).

    A row's own reviewer stays; ``reviewer`` stands for rows without one.
    """
    have = {(item.clip, item.ask, item.answer, item.other, item.reviewer) for item in read_verdicts(season).verdicts}
    by_reviewer: dict[str, list[Verdict]] = collections.defaultdict(list)
    known = 0
    for item in found.verdicts:
        name = item.reviewer or reviewer
        if (item.clip, item.ask, item.answer, item.other, name) in have:
            known += 1
        else:
            by_reviewer[name].append(item)
    for name, items in by_reviewer.items():
        VerdictLog(season, name).add_all(items)
    return sum(map(len, by_reviewer.values())), known


def answers_from_annotations(
    questions: Iterable[ToDo], boxes: Mapping[str, Sequence[Box]], least_s: float = 0.2
) -> list[Verdict]:
    """Answer a plan's questions from annotations of whole recordings, in which every call is marked.

    Parameters
    ----------
    questions
        Those about recordings without annotations stay open.
    boxes
        Of each recording that was annotated; none in it means that nothing is there.
    least_s
        A clip holds a call of which at least this much (or all of it, where it is shorter) lies in it.
    """
    out = []
    for question in questions:
        item = question.item
        if item.recording not in boxes:
            continue
        marked = [
            box
            for box in boxes[item.recording]
            if box.label == item.label
            and min(box.end_s, item.end_s) - max(box.start_s, item.start_s) >= min(least_s, box.end_s - box.start_s)
        ]
        cut = tuple(
            MarkedBox(max(box.start_s, item.start_s), min(box.end_s, item.end_s), box.label, box.low_hz, box.high_hz)
            for box in marked
        )
        answer = "right" if marked else "wrong"
        out.append(
            Verdict(item.recording, item.label, item.start_s, item.end_s, answer, boxes=cut, ask=question.ask,
                    source="annotations")
        )  # fmt: skip
    return out


def write_verdict_files(
    kind: str, target: Path, verdicts: Iterable[Verdict], recordings: Recordings, scores: Mapping[Clip, float] = {}
) -> list[Path]:
    """Write verdicts as another program reads them; return the files.

    Parameters
    ----------
    kind
        One of :data:`KINDS`: Raven selection tables and Audacity label tracks, a file a recording; BirdNET-Analyzer's
        folders of segments (sound is cut); a Whombat project (AOEF); one CSV.
    target
        The folder; for ``csv`` and ``whombat`` the file.
    scores
        Probability by clip, for the names of the segments (0 where there is none).
    """
    verdicts = list(verdicts)
    if kind == "csv":
        write_csv(target, _CSV, _csv_rows(verdicts, recordings))
        return [target]
    if kind == "whombat":
        from cheep.season.whombat import write_whombat

        if target.suffix.lower() != ".json":
            raise CheepError(f"{target}: a Whombat project is a .json file; name it so (--output {target}.json)")
        write_whombat(target, verdicts, recordings)
        return [target]
    if kind == "birdnet":
        return list(_write_segments(target, verdicts, recordings, scores))
    if kind not in KINDS:
        raise CheepError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    render = _raven_text if kind == "raven" else _audacity_text
    suffix = ".Table.1.selections.txt" if kind == "raven" else ".txt"
    by_recording: dict[str, list[Verdict]] = collections.defaultdict(list)
    for item in verdicts:
        by_recording[item.recording].append(item)
    written = []
    for recording, items in by_recording.items():
        written.append(target / (recordings.name(recording) + suffix))
        write_text(written[-1], render(items, recordings.path(recording)))
    return written


# -- tables ----------------------------------------------------------------------------------


def _csv_rows(verdicts: Iterable[Verdict], recordings: Recordings) -> Iterator[list[object]]:
    for item in verdicts:
        about = [str(recordings.path(item.recording)), item.recording]
        told = [item.reviewer, item.at, item.ask, item.plan, item.note]
        yield [*about, item.start_s, item.end_s, item.label, item.answer, item.other, *told, None, None]
        for box in item.boxes:
            yield [*about, box.start_s, box.end_s, box.label, BOX, "", *told, box.low_hz, box.high_hz]


def _raven_text(verdicts: Iterable[Verdict], path: Path) -> str:
    lines = ["\t".join(_RAVEN)]

    def add(start: float, end: float, low: float | None, high: float | None, *rest: str) -> None:
        band = ("" if value is None else f"{value:.1f}" for value in (low, high))
        cells = (
            str(len(lines)),
            "Spectrogram 1",
            "1",
            f"{start:.6f}",
            f"{end:.6f}",
            *band,
            path.name,
            str(path),
            *rest,
        )
        lines.append("\t".join(cell.replace("\t", " ") for cell in cells))

    for item in verdicts:
        said = (item.reviewer, str(item.ask))
        add(item.start_s, item.end_s, None, None, item.label, item.answer, item.other, *said)
        for box in item.boxes:
            add(box.start_s, box.end_s, box.low_hz, box.high_hz, box.label, BOX, "", *said)
    return "\n".join(lines) + "\n"


def _audacity_text(verdicts: Iterable[Verdict], path: Path) -> str:
    del path
    lines = []
    for item in verdicts:
        text = f"{item.label}: {item.answer}" + (f" {item.other}" if item.other else "")
        lines.append(f"{item.start_s:.6f}\t{item.end_s:.6f}\t{text}")
        for box in item.boxes:
            lines.append(f"{box.start_s:.6f}\t{box.end_s:.6f}\t{box.label}: {BOX}")
            if box.low_hz is not None and box.high_hz is not None:
                lines.append(f"\\\t{box.low_hz:.6f}\t{box.high_hz:.6f}")
    return "\n".join(lines) + "\n"


def _read_file(path: Path, recordings: Recordings, labels: Iterable[str], found: Found) -> None:
    if path.suffix.lower() == ".json":
        from cheep.season.whombat import read_whombat

        read_whombat(path, recordings, labels, found)
        return
    text, _ = read_table_text(path)
    if is_label_track(text.split("\n", 1)[0]):
        _read_audacity(path, text, recordings, labels, found)
    else:
        _read_rows(read_table(path), recordings, found)


def _read_audacity(path: Path, text: str, recordings: Recordings, labels: Iterable[str], found: Found) -> None:
    recording = recordings.find(path.stem, path)
    known = set(labels)
    boxes = parse_audacity(path, text)
    if recording is None:
        found.passed_over["of recordings that the season does not have"] += len(boxes)
        return
    rows: list[tuple[Verdict | None, Box | None]] = []
    for box in boxes:
        label, _, said = box.label.rpartition(": ")
        word, _, other = said.partition(" ")
        if label and (word in (*ANSWERS, BOX)):
            rows.append((Verdict(recording, label, box.start_s, box.end_s, word, other=other), box)
                        if word != BOX else (None, dataclasses.replace(box, label=label)))  # fmt: skip
        elif (scored := _SCORED.fullmatch(box.label)) and scored["label"] in known:
            found.passed_over["detections without a verdict"] += 1
        elif box.label:
            rows.append((_mark(recording, box, "audacity"), None))
    _join(rows, "audacity", found)


def _read_rows(table: Table, recordings: Recordings, found: Found) -> None:
    """Read a Raven table or a CSV: verdicts, or marks where no column says a verdict."""
    place = table.places()
    start, end, duration = (first_of(place, names) for names in (START, END, DURATION))
    files = ("recording", "begin path", "begin file", first_of(place, FILE))
    label, verdict = first_of(place, LABEL), first_of(place, _VERDICT)
    if not (start and (end or duration) and label):
        raise CheepError(
            f"{table.path}:{table.header_line}: needs columns for start, end and label (it has "
            f"{', '.join(table.header)[:200]})"
        )
    if not verdict and (score := first_of(place, _SCORES)):
        raise CheepError(
            f"{table.path}:{table.header_line}: has a column {score!r} and none of verdicts: these are a model's "
            "detections, no person's marks; add a column verdict (right, wrong, unsure)"
        )
    source = "raven" if "begin time (s)" in place else "csv"
    rows: list[tuple[Verdict | None, Box | None]] = []
    for line, cells in table.rows:

        def cell(name: str, cells: tuple[str, ...] = cells) -> str:
            return cells[place[name]] if name in place else ""

        recording = _recording_of([cell(name) for name in files if name], table.path, recordings)
        if recording is None:
            found.passed_over["of recordings that the season does not have"] += 1
            continue
        begin = seconds_field(cell(start), table.path, line, start)
        stop = seconds_field(cell(end or duration), table.path, line, end or duration) + (0 if end else begin)
        low, high = (
            _hertz(cell(a) or cell(b)) for a, b in (("low freq (hz)", "low_hz"), ("high freq (hz)", "high_hz"))
        )
        box = Box(begin, stop, cell(label), low, high)
        said = cell(verdict).lower() if verdict else ""
        if said == BOX:
            rows.append((None, box))
            continue
        if verdict and not said:
            found.passed_over["without a verdict"] += 1
            continue
        try:
            given = _mark(recording, box, source) if not verdict else Verdict(
                recording, box.label, begin, stop, _answer(said, cell("other")), other=cell("other"))  # fmt: skip
        except CheepError as error:
            raise CheepError(f"{table.path}:{line}: {error}") from None
        told: dict[str, Any] = {key: cell(key) for key in ("reviewer", "at", "plan", "note") if cell(key)}
        ask = int(cell("ask")) if cell("ask").isdigit() else 0
        rows.append((dataclasses.replace(given, ask=ask, **told), None))
    _join(rows, source, found)


def _recording_of(cells: list[str], path: Path, recordings: Recordings) -> str | None:
    """Return the recording of a row: of its first cell that names one, or of the table's own name."""
    named = [text for text in cells if text]
    for name in named or [re.sub(r"\.Table\.\d+.*$", "", path.stem)]:
        if (recording := recordings.find(name, path)) is not None:
            return recording
    return None


def _answer(word: str, other: str) -> str:
    if word == "other" or (other and word not in _WORDS["right"]):
        return "other"
    for answer, words in _WORDS.items():
        if word in words:
            return answer
    raise CheepError(f"verdict {word!r}: must be right, wrong, unsure or other (or yes, no, 1, 0, correct, ...)")


def _mark(recording: str, box: Box, source: str) -> Verdict:
    marked = MarkedBox(box.start_s, box.end_s, box.label, box.low_hz, box.high_hz)
    return Verdict(recording, box.label, box.start_s, box.end_s, "right", boxes=(marked,), source=source)


def _join(rows: Iterable[tuple[Verdict | None, Box | None]], source: str, found: Found) -> None:
    """Add verdicts; a box without one belongs to the verdict before it."""
    for verdict, box in rows:
        if verdict is not None:
            found.verdicts.append(dataclasses.replace(verdict, source=source))
        elif box is not None and found.verdicts:
            marked = MarkedBox(box.start_s, box.end_s, box.label, box.low_hz, box.high_hz)
            last = found.verdicts[-1]
            found.verdicts[-1] = dataclasses.replace(last, boxes=(*last.boxes, marked))
        else:
            found.passed_over["boxes without a verdict"] += 1


def _hertz(text: str) -> float | None:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


# -- BirdNET-Analyzer's segments -------------------------------------------------------------


def _read_segment(path: Path, recordings: Recordings, found: Found) -> None:
    match = _SEGMENT.fullmatch(path.name)
    assert match is not None
    recording = recordings.find(match["stem"])
    if recording is None:
        found.passed_over["of recordings that the season does not have"] += 1
        return
    answer = _SEGMENT_FOLDERS[path.parent.name.lower()]
    start, end = float(match["start"]), float(match["end"])
    found.verdicts.append(Verdict(recording, path.parent.parent.name, start, end, answer, source="birdnet"))


def _write_segments(
    target: Path, verdicts: list[Verdict], recordings: Recordings, scores: Mapping[Clip, float]
) -> Iterator[Path]:
    """Cut the clips; those of which nobody is sure lie beside the two folders, as BirdNET-Analyzer leaves them."""
    from cheep.audio import read_span, write_wav

    parts = {True: ("Positive",), False: ("Negative",), None: ()}
    for number, (clip, judgement) in enumerate(judge(verdicts).items(), 1):
        path = recordings.path(clip.recording)
        pcm, rate = read_span(path, clip.start_ms / 1000, clip.end_ms / 1000)
        times = "_".join(f"{ms / 1000:.3f}".rstrip("0").rstrip(".") + "s" for ms in (clip.start_ms, clip.end_ms))
        name = f"{scores.get(clip, 0.0):.3f}_{number}_{recordings.name(clip.recording)}_{times}.wav"
        out = target.joinpath(clip.label, *parts[judgement.present], name)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_wav(out, pcm, rate)
        yield out
