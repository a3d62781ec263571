# SPDX-License-Identifier: MIT
"""The lists beside downloaded recordings: their metadata, annotations, credits, and what could not be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cheep.datasets.bands import share_above
from cheep.datasets.credits import notice_text
from cheep.datasets.xeno_canto.recording import XcRecording, slug
from cheep.files import write_csv, write_text

METADATA = (
    *("file", "label", "recording", "recordist", "licence", "attribution", "source", "species", "english", "also"),
    *("country", "locality", "latitude", "longitude", "date", "time", "type", "quality", "length_s"),
    *("original_rate_hz", "energy_above", "url", "original_sha256", "sha256", "remarks"),
)


def metadata_row(row: XcRecording, target: Path, note: Mapping[str, Any], sample_rate_hz: int) -> dict[str, Any]:
    """Return the metadata of a recording that is kept at ``target``; ``note`` is what was measured of it."""
    above = share_above(note["band_edges_hz"], note["band_energy"], sample_rate_hz / 2)
    full = note["original_rate_hz"] >= 1.4 * sample_rate_hz
    return {
        "file": f"{target.parent.name}/{target.name}",
        "label": target.parent.name,
        "recording": row.name,
        "recordist": row.recordist,
        "licence": row.licence,
        "attribution": row.attribution,
        "source": "xeno-canto",
        "species": row.species,
        "english": row.english,
        "also": ";".join(row.also),
        "country": row.country,
        "locality": row.locality,
        "latitude": row.latitude,
        "longitude": row.longitude,
        "date": row.date,
        "time": row.time,
        "type": row.sound_type,
        "quality": row.quality,
        "length_s": note["length_s"],
        "original_rate_hz": note["original_rate_hz"],
        "energy_above": f"{above:.3f}" if full else "",
        "url": row.url,
        "original_sha256": note["original_sha256"],
        "sha256": note["sha256"],
        "remarks": row.remarks,
    }


def write_lists(
    folder: Path, rows: Sequence[Mapping[str, Any]], recordings: Sequence[XcRecording], failed: Mapping[str, str]
) -> None:
    """Write metadata.csv, annotations.csv, attribution.csv, NOTICE.txt and problems.csv, each whole.

    ``rows`` are the metadata of what is there, ``failed`` the reasons by name.
    """
    write_csv(folder / "metadata.csv", METADATA, rows)
    credit = ("file", "recording", "recordist", "licence", "url", "attribution")
    write_csv(folder / "attribution.csv", credit, rows)
    write_text(folder / "NOTICE.txt", notice_text(rows))
    write_csv(folder / "problems.csv", ("recording", "reason"), sorted(failed.items()))
    files = {row["recording"]: row["file"] for row in rows}
    boxes = [
        (files[row.name], box.start_s, box.end_s, slug(box.label) if box.label else "", box.low_hz, box.high_hz)
        for row in recordings
        if row.name in files
        for box in row.boxes
    ]
    if boxes:
        header = ("file", "start_s", "end_s", "label", "low_hz", "high_hz")
        boxes.sort(key=lambda box: box[:4])
        write_csv(folder / "annotations.csv", header, boxes)
