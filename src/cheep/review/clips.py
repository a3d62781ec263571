# SPDX-License-Identifier: MIT
"""The clips that a season offers for review, as columns, so that a hundred thousand are filtered and sorted at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from cheep.season import Season
from cheep.season.schema import ModelRow
from cheep.season.verdicts import Clip

#: How a list of clips can be sorted; the last two need embeddings (:mod:`cheep.review.alike`).
ORDERS = ("plan", "score", "low score", "time", "random")
VALUE, LIKE = "value", "like this one"


@dataclasses.dataclass
class Clips:
    """Clips by number: what is reviewed. All columns are (n,).

    Attributes
    ----------
    recording, label, site : int32
        Codes into ``recordings``, ``labels``, ``sites``.
    start_ms, end_ms : int64
        From the start of the recording.
    local_ms : int64
        Start by the clock on the wall there, ms since 1970; -1 where it is not known.
    score : float32
        Probability, 0..1; of a detection the largest smoothed one.
    """

    recordings: list[str]
    labels: list[str]
    sites: list[str]
    recording: np.ndarray
    label: np.ndarray
    site: np.ndarray
    start_ms: np.ndarray
    end_ms: np.ndarray
    local_ms: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)

    def clip(self, number: int) -> Clip:
        """Return what a verdict on a clip is about."""
        names = self.recordings[self.recording[number]], self.labels[self.label[number]]
        return Clip(*names, int(self.start_ms[number]), int(self.end_ms[number]))

    def find(self, wanted: Iterable[Clip]) -> dict[Clip, int]:
        """Return the numbers of clips, of those that are here."""
        wanted = set(wanted)
        codes = {name: code for code, name in enumerate(self.recordings)}
        asked = {codes[clip.recording] for clip in wanted if clip.recording in codes}
        near = np.flatnonzero(np.isin(self.recording, list(asked)))
        return {clip: number for number in near.tolist() if (clip := self.clip(number)) in wanted}


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which clips are wanted. Empty: all. ``state``: ``open``, ``done`` or ``disputed``; dates are YYYY-MM-DD."""

    label: str = ""
    site: str = ""
    state: str = ""
    lowest: float = 0.0
    highest: float = 1.0
    first_date: str = ""
    last_date: str = ""


def detected_clips(season: Season, model: ModelRow) -> Clips:
    """Return the detections of a model as clips; in the order of the table."""
    table = season.detections(model.model)
    columns = {
        name: pa.compute.dictionary_encode(table[name]).combine_chunks() for name in ("recording", "label", "site")
    }
    codes = {name: np.asarray(column.indices, np.int32) for name, column in columns.items()}
    names = {name: column.dictionary.to_pylist() for name, column in columns.items()}
    local = table["start_local"].cast(pa.int64()).fill_null(-1).to_numpy()
    return Clips(
        names["recording"], names["label"], names["site"], codes["recording"], codes["label"], codes["site"],
        np.round(table["start_s"].to_numpy() * 1000).astype(np.int64),
        np.round(table["end_s"].to_numpy() * 1000).astype(np.int64),
        np.asarray(local, np.int64), table["score"].to_numpy().astype(np.float32),
    )  # fmt: skip


def add_clips(clips: Clips, more: Sequence[tuple[Clip, str, float, int]]) -> Clips:
    """Return ``clips`` and further ones: clip, site, score, local start in ms (-1: not known)."""
    columns: dict[str, list[int]] = {"recording": [], "label": [], "site": []}
    names = {"recording": clips.recordings, "label": clips.labels, "site": clips.sites}
    codes = {kind: {name: code for code, name in enumerate(known)} for kind, known in names.items()}
    for clip, site, _, _ in more:
        for kind, name in (("recording", clip.recording), ("label", clip.label), ("site", site)):
            columns[kind].append(codes[kind].setdefault(name, len(codes[kind])))
    joined = {kind: np.concatenate([getattr(clips, kind), np.array(columns[kind], np.int32)]) for kind in columns}
    return Clips(
        list(codes["recording"]), list(codes["label"]), list(codes["site"]),
        joined["recording"], joined["label"], joined["site"],
        np.concatenate([clips.start_ms, np.array([clip.start_ms for clip, *_ in more], np.int64)]),
        np.concatenate([clips.end_ms, np.array([clip.end_ms for clip, *_ in more], np.int64)]),
        np.concatenate([clips.local_ms, np.array([local for *_, local in more], np.int64)]),
        np.concatenate([clips.score, np.array([score for _, _, score, _ in more], np.float32)]),
    )  # fmt: skip


def chosen(clips: Clips, numbers: np.ndarray, wanted: Filter, done: np.ndarray, disputed: np.ndarray) -> np.ndarray:
    """Return those of ``numbers`` that a filter lets through, in their order; ``done``, ``disputed``: (n,) bool."""
    keep = (clips.score[numbers] >= wanted.lowest) & (clips.score[numbers] <= wanted.highest)
    for name, names, codes in (
        (wanted.label, clips.labels, clips.label),
        (wanted.site, clips.sites, clips.site),
    ):
        if name:
            keep &= codes[numbers] == (names.index(name) if name in names else -1)
    days = clips.local_ms[numbers] // 86_400_000
    for text, sign in ((wanted.first_date, 1), (wanted.last_date, -1)):
        if text:
            keep &= sign * days >= sign * int(np.datetime64(text, "D").astype(int))
    if wanted.state:
        state = {"open": ~done, "done": done, "disputed": disputed}[wanted.state]
        keep &= state[numbers]
    return numbers[keep]


def in_order(clips: Clips, numbers: np.ndarray, order: str) -> np.ndarray:
    """Return ``numbers`` (k,) int64 sorted; ``plan`` leaves them as they are, ``random`` is the same each time."""
    if order == "score":
        return numbers[np.argsort(-clips.score[numbers], kind="stable")]
    if order == "low score":
        return numbers[np.argsort(clips.score[numbers], kind="stable")]
    if order == "time":
        return numbers[np.lexsort((clips.start_ms[numbers], clips.recording[numbers], clips.local_ms[numbers]))]
    if order == "random":
        return numbers[np.argsort(np.random.default_rng(0).random(len(clips))[numbers], kind="stable")]
    return numbers
