# SPDX-License-Identifier: MIT
"""Score logs of devices in a season: what they have heard themselves, as recordings without sound."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from cheep.audio.folders import files_below
from cheep.datasets.recorders import RecorderFacts
from cheep.datasets.score_log import SUFFIX, ScoreLog, Stretch, read_score_log
from cheep.season.events import detections_of
from cheep.season.scan import Item, Scanned
from cheep.season.schema import OK, UNREADABLE, ModelRow, Recording, storable
from cheep.season.sites import Placing, place
from cheep.season.store import Part, Season, write_part

CONTAINER = "CHSL"


def logs_below(folder: Path) -> list[Path]:
    """Return the score logs of a folder and below, sorted."""
    return sorted(path for path in files_below(folder) if is_score_log(path) and not path.name.startswith("."))


def is_score_log(path: Path) -> bool:
    """Whether a file is one, by its suffix."""
    return path.suffix.lower() == SUFFIX


def add_score_log(season: Season, model: ModelRow, placing: Placing, item: Item) -> list[Scanned]:
    """Take a device's score log into the season: each stretch without a gap is a recording. The caller holds the lock.

    What the season has is left as it is. What cannot be taken (another network, no whole block) comes back as
    ``unreadable`` with its reason, and nothing of it is kept.
    """
    try:
        log = read_score_log(item.source)
        status = item.source.stat()
    except OSError as error:
        return [_refused(item, error.strerror or str(error))]
    out: list[Scanned] = []
    reason = _missing(log)
    others: dict[str, int] = {}
    for stretch in log.stretches:
        if why := _why_not(stretch, model):
            others[why] = others.get(why, 0) + len(stretch.scores)
            continue
        out.append(_add(season, model, placing, item, stretch, (status.st_size, status.st_mtime_ns), reason))
        reason = ""
    out += [_refused(item, f"{count} windows {why}") for why, count in others.items()]
    if not log.stretches:
        out.append(_refused(item, reason or "no whole block"))
    return out


def _missing(log: ScoreLog) -> str:
    parts = [f"{log.lost_bytes} bytes are of no whole block"] if log.lost_bytes else []
    parts += [f"{log.newer} blocks are of a later version"] if log.newer else []
    return "; ".join(parts)


def _why_not(stretch: Stretch, model: ModelRow) -> str:
    if not model.sha256.startswith(stretch.model):
        return f"of the network {stretch.model}, not {model.sha256[:8]}: scan with that one (--model)"
    if stretch.scores.shape[1] != len(model.labels):
        return f"of {stretch.scores.shape[1]} labels, the network has {len(model.labels)}"
    stride_s = stretch.stride_samples / stretch.sample_rate_hz
    if abs(stride_s - model.stride_s) > 1e-9:
        return f"every {stride_s:g} s, the season's are every {model.stride_s:g} s: another season (--season)"
    return ""


def _add(
    season: Season, model: ModelRow, placing: Placing, item: Item, stretch: Stretch, state: tuple[int, int], reason: str
) -> Scanned:
    facts = RecorderFacts(
        device=stretch.device,
        time=stretch.start,
        time_source="audiomoth",
        battery_v=stretch.battery_v,
        temperature_c=stretch.temperature_c,
    )
    values: dict[str, Any] = dataclasses.asdict(place(placing, facts, Path(item.folder), item.path))
    values = {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}
    about = f"{stretch.model} {stretch.device} {stretch.start.isoformat()} {stretch.scores.shape}".encode()
    digest = hashlib.blake2b(about + stretch.scores.tobytes(), digest_size=16).hexdigest()
    name = f"{digest}\0{item.path}"
    folder, path = item.key
    row = Recording(
        recording=hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest(),
        folder=folder,
        path=path,
        bytes=state[0],
        mtime_ns=state[1],
        digest=digest,
        length_s=(len(stretch.scores) - 1) * model.stride_s + model.window_s,
        silent_s=0.0,
        sample_rate_hz=stretch.sample_rate_hz,
        channels=1,
        container=CONTAINER,
        battery_v=stretch.battery_v,
        temperature_c=stretch.temperature_c,
        status=OK,
        reason=reason,
        **values,
    )
    target = season.part_path(model.model, row)
    found = detections_of(model, row, stretch.scores)
    made = not target.is_file()
    if made:
        write_part(target, model, stretch.scores, Part(row, found, model.settings, len(stretch.scores)))
    return Scanned(row.recording, row.path, OK, reason, row.length_s, len(found), made, str(target))


def _refused(item: Item, reason: str) -> Scanned:
    return Scanned("", item.key[1], UNREADABLE, reason, 0.0, 0, True, "")
