# SPDX-License-Identifier: MIT
"""The papers of a detector: which other people's models judged or taught what it learned from.

``ears.json`` lies beside a manifest (``dataset.csv``) or a season's tables, ``NAME.ears.json`` beside annotations. They
follow the data into the model: into its metadata and ``manifest.json`` (``training.judged_by``), ``NOTICE.txt`` beside
the files of the firmware, and the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cheep.ears.about import About
from cheep.files import read_json, write_json

PAPERS = "ears.json"
NOTICE = "NOTICE.txt"
KEY = "judged_by"  # in the model's metadata, among "training"
Paper = Mapping[str, Any]


def papers_beside(path: Path) -> list[dict[str, Any]]:
    """Return the papers of a manifest, a run or season folder, or a table of annotations; empty: there are none."""
    found = []
    for place in (path.with_suffix(f".{PAPERS}"), (path if path.is_dir() else path.parent) / PAPERS):
        if place.is_file():
            found += read_json(place, "cheep dataset teacher")
    return merged(found)


def add_papers(path: Path, papers: Iterable[Paper]) -> None:
    """Add papers to the file ``path``; the same model doing the same counts once. Nothing is written for none."""
    papers = list(papers)
    if papers:
        known = read_json(path, "cheep dataset teacher") if path.is_file() else []
        write_json(path, merged([*known, *papers]))


def sign(path: Path, about: About, did: str) -> dict[str, Any]:
    """Add to the file ``path`` what a model did (judged labels, ...); return the paper."""
    paper = about.lineage(did)
    add_papers(path, [paper])
    return paper


def merged(papers: Iterable[Paper]) -> list[dict[str, Any]]:
    """Return papers without repetitions, in their order."""
    return list({(paper["sha256"], paper["did"]): dict(paper) for paper in papers}.values())


def papers_of_model(metadata: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the papers in a model's metadata or its manifest."""
    return list(((metadata or {}).get("training") or {}).get(KEY) or [])


def sentences(papers: Sequence[Paper]) -> list[str]:
    """Return a sentence per paper."""
    return [f"{item['model']} (sha256 {item['sha256'][:12]}) {item['did']}; {item['means']}." for item in papers]


def not_for_sale(papers: Sequence[Paper]) -> str:
    """Return a warning where a licence forbids commercial use, else ""."""
    names = sorted({f"{item['model']} ({item['licence']})" for item in papers if not item["commercial_use"]})
    if not names:
        return ""
    return f"not for commercial use without asking: {', '.join(names)} judged or taught what this detector learned from"


def notice(papers: Sequence[Paper]) -> str:
    """Return the NOTICE that travels with the detector's files."""
    lines = ["What this detector learned from was judged or taught by models of other people.", ""]
    for item in papers:
        lines += [f"{item['model']}, licence {item['licence']}", f"  sha256 {item['sha256']}", f"  {item['did']}",
                  f"  {item['means']}", ""]  # fmt: skip
    warning = not_for_sale(papers)
    return "\n".join([*lines, *([f"Warning: {warning}."] if warning else [])]).rstrip() + "\n"
