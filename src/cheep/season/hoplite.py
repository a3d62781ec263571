# SPDX-License-Identifier: MIT
"""A season's embeddings and verdicts for perch-hoplite, where that is installed: its search and its notebooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.season.embed import Place, embeddings_of, kept_places
from cheep.season.export import Exported, file_of
from cheep.season.schema import USABLE, ModelRow
from cheep.season.store import Season
from cheep.season.verdicts import judge, read_verdicts

_BATCH = 1000


def export_hoplite(
    season: Season, target: Path, *, model: ModelRow, progress: Callable[[int, int], None] | None = None
) -> Exported:
    """Write a database of perch-hoplite (SQLite and USearch) into a new folder.

    In it: the embedding of every detection's first window and of all windows that the review has embedded, recordings
    with their times, sites as deployments, and what people judged as annotations.

    Raises
    ------
    CheepError
        perch-hoplite is not installed, the folder holds something, or there is nothing to embed.
    """
    usearch, kinds = _package()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheepError(f"{target}: is there already; name a new folder")
    rows = {row["recording"]: row for row in season.recordings().to_pylist() if row["status"] in USABLE}
    found = season.detections(model.model).to_pylist()
    places: list[Place] = [(item["recording"], item["first_window"] * model.stride_s) for item in found]
    places = [place for place in dict.fromkeys([*places, *kept_places(season, model)]) if place[0] in rows]
    if not places:
        raise CheepError(f"{season.folder}: no detection of {model.model} and no embedding; scan it (cheep scan) first")
    vectors, problems = embeddings_of(season, model, places, progress)
    good = ~np.isnan(vectors).any(axis=1)
    if not good.any():
        raise CheepError(f"{season.folder}: nothing could be embedded: {problems[0]}")
    config = usearch.get_default_usearch_config(embedding_dim=vectors.shape[1])
    database = usearch.SQLiteUSearchDB.create(str(target), usearch_cfg=config)
    recordings = _recordings(database, rows, sorted({name for name, _ in places}))
    windows = [
        {"recording_id": recordings[name], "offsets": [float(start), float(start) + model.window_s]}
        for (name, start), is_good in zip(places, good, strict=True)
        if is_good
    ]
    kept = vectors[good]
    for first in range(0, len(windows), _BATCH):
        database.insert_windows_batch(windows[first : first + _BATCH], kept[first : first + _BATCH])
    for judgement in judge(read_verdicts(season.folder).verdicts).values():
        clip = judgement.clip
        if clip.recording in recordings:
            kind = {True: kinds.POSITIVE, False: kinds.NEGATIVE, None: kinds.UNCERTAIN}[judgement.present]
            who = ", ".join(sorted({answer.reviewer for answer in judgement.answers}))
            database.insert_annotation(
                recordings[clip.recording], [clip.start_ms / 1000, clip.end_ms / 1000], clip.label, kind, who, "skip"
            )
    database.commit()
    return Exported(1, len(windows), tuple(problems))


def _recordings(database: Any, rows: dict[str, dict[str, Any]], names: list[str]) -> dict[str, int]:
    """Insert sites and recordings; return the number of each recording."""
    sites, out = {}, {}
    for name in names:
        row = rows[name]
        if row["site"] not in sites:
            sites[row["site"]] = database.insert_deployment(row["site"], "season", row["latitude"], row["longitude"])
        out[name] = database.insert_recording(str(file_of(row)), row["start_local"], sites[row["site"]])
    return out


def _package() -> tuple[Any, Any]:
    try:
        from perch_hoplite.db import datatypes, sqlite_usearch_impl
    except ImportError as error:
        raise CheepError(
            f"a database for perch-hoplite is written by that package: pip install perch-hoplite ({error})"
        ) from None
    return sqlite_usearch_impl, datatypes.LabelType
