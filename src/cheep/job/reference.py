# SPDX-License-Identifier: MIT
"""A second opinion on what a detector is judged by: its false alarms, its test recordings, and what would be possible.

Another model's ears hear the strongest false alarms: some of them hold what the annotations do not name. And a probe on
the ears' embeddings, trained and tested on the detector's own split, says how much the recordings allow (the ceiling),
and which test labels are hard to believe.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config.data import LABEL_SEPARATOR, plain_name
from cheep.datasets.contact_sheet import contact_sheet
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.probe import fit_probe
from cheep.datasets.teacher import TeacherConfig, Teaching, teach
from cheep.ears import Ears, hear_manifest, places_of
from cheep.ears.birds import is_bird, means_any_bird
from cheep.errors import CheepError
from cheep.evaluate.field import FieldResult
from cheep.evaluate.windows import WindowScores, summarize
from cheep.files import plain, read_json, write_json, write_text

REFERENCE = "reference.json"  # of a run: what the second opinion says
PAGE = "disputed.html"
MOST = 50
CONFIDENCE = 0.25  # of a second opinion: below it, it says nothing


@dataclasses.dataclass(frozen=True)
class Alarm:
    """A false alarm: where, its label and score (0..1), and what the reference hears there ("": nothing wanted)."""

    file: str
    start_s: float
    end_s: float
    label: str
    score: float
    heard: str
    confidence: float


@dataclasses.dataclass(frozen=True)
class Opinion:
    """What the reference says.

    Attributes
    ----------
    alarms
        The strongest false alarms, the strongest first; None: nobody looked for any.
    ceiling
        Figures of a probe on the test split, as ``evaluation.json`` has the detector's; None: no data set.
    doubted
        Test rows of the data set whose label the probe finds hard to believe, the least plausible first.
    problems
        Recordings that could not be read.
    unknown
        Labels of false alarms that the reference has no word for: nobody judged those.
    """

    alarms: tuple[Alarm, ...] | None = None
    ceiling: dict[str, Any] | None = None
    doubted: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def disputed(self) -> tuple[Alarm, ...]:
        """False alarms in which the reference hears what they were raised for."""
        return tuple(item for item in self.alarms or () if item.heard)


def wanted_places(label: str, labels: Sequence[str]) -> list[int]:
    """Return which labels of a reference mean a detector's label.

    The same name; of ``bird``, every bird's; of the end of names (owl), all that end so. Empty: it has no word for it.
    """
    try:
        return places_of([label], tuple(labels))
    except CheepError:
        if means_any_bird(label):
            return [at for at, other in enumerate(labels) if is_bird(other)]
        return [at for at, other in enumerate(labels) if plain_name(other).endswith(f"_{plain_name(label)}")]


def hear_alarms(
    result: FieldResult,
    ears: Ears,
    kept: Path,
    most: int = MOST,
    progress: Callable[[int, int], None] | None = None,
) -> Opinion:
    """Return the strongest false alarms with what the reference hears in them.

    Raises
    ------
    CheepError
        Not one of them can be heard, or the reference has no word for any of their labels.
    """
    names = sorted({item.label for matching in result.matchings for item in matching.false_alarms})
    places = {name: found for name in names if (found := wanted_places(name, ears.about.labels))}
    unknown = tuple(name for name in names if name not in places)
    if unknown and not places:
        raise CheepError(
            f"{ears.about.title} has no label for {', '.join(unknown)}: it judges labels that bear one of its names "
            "(scientific, common, or the end of one, such as owl), and bird"
        )
    alarms = sorted(
        ((item.score, recording.name, item) for recording, matching in
         zip(result.recordings, result.matchings, strict=True) for item in matching.false_alarms
         if item.label in places),
        key=lambda row: (-row[0], row[1], row[2].start_s),
    )[:most]  # fmt: skip
    if not alarms:
        return Opinion(())
    manifest = Manifest.from_rows(
        {"path": str(Path(name).resolve()), "label": item.label, "start_s": item.start_s,
         "duration_s": max(0.1, item.end_s - item.start_s)}
        for _, name, item in alarms
    )  # fmt: skip
    heard = hear_manifest(manifest, ears, kept, progress)
    out = []
    for (score, name, item), row in zip(alarms, heard.scores, strict=True):
        mine = places[item.label]
        best = mine[int(np.argmax(row[mine]))] if mine and np.isfinite(row).all() else -1
        there = best >= 0 and row[best] >= CONFIDENCE
        what, confidence = (ears.about.labels[best], float(row[best])) if there else ("", 0.0)
        out.append(Alarm(name, item.start_s, item.end_s, item.label, float(score), what, confidence))
    return Opinion(tuple(out), problems=tuple(heard.problems), unknown=unknown)


def ceiling_of(
    run: Path, ears: Ears, progress: Callable[[int, int], None] | None = None, jobs: int | None = None
) -> Opinion:
    """Return what a probe on the ears' embeddings reaches on the run's own split, and which test labels it doubts.

    Raises
    ------
    CheepError
        No data set, windows of several labels, one label, or nothing that can be heard.
    """
    manifest = load_manifest(run / runs.DATASET)
    several = [name for name in manifest.labels if LABEL_SEPARATOR in name]
    if several:
        raise CheepError(f"label {several[0]!r}: a reference judges windows of one label each")
    heard = hear_manifest(manifest, ears, run, progress, jobs)
    there = np.isfinite(heard.embeddings).all(axis=1)
    split, names = np.array(manifest.column("split")), np.array(manifest.column("label"))
    train, test = there & (split != "test"), there & (split == "test")
    labels = manifest.labels
    if not test.any() or len(set(names[train].tolist())) < 2:
        raise CheepError(f"{run / runs.DATASET}: no test windows that can be heard, or fewer than two labels to learn")
    probe = fit_probe(heard.embeddings[train], names[train])
    scores = np.zeros((int(test.sum()), len(labels)))
    scores[:, [labels.index(name) for name in probe.classes_]] = probe.predict_proba(heard.embeddings[test])
    targets = np.stack([names[test] == name for name in labels], axis=1).astype(np.float32)
    clip = manifest.codes("path")[0][test].astype(np.int64)
    figures = summarize(WindowScores(tuple(labels), "softmax", targets, scores, clip))
    told = teach(manifest.with_column("split", [""] * len(manifest)), TeacherConfig(judge="probe", drop=0.5, below=0.5),
                 jobs=jobs, statistics=heard.embeddings)  # fmt: skip
    doubted = tuple(row for row in told.doubtful if test[row])
    return Opinion(ceiling=figures, doubted=doubted, problems=tuple(heard.problems))


def keep_opinion(run: Path, ears: Ears, opinion: Opinion, model_sha256: str) -> Path:
    """Write ``reference.json`` of a run, and the page on which people listen to what is disputed; return the first."""
    path = run / REFERENCE
    before = read_json(path, "cheep evaluate --reference") if path.is_file() else {}
    paper = ears.about.lineage("gave a second opinion")
    if before.get("model_sha256") != model_sha256 or before.get("paper") != paper:
        before = {}
    values = {**before, "model_sha256": model_sha256, "paper": paper}
    if opinion.alarms is not None:
        values["alarms"] = [dataclasses.asdict(item) for item in opinion.alarms]
    if opinion.ceiling is not None:
        values["ceiling"], values["doubted"] = opinion.ceiling, len(opinion.doubted)
    write_json(path, plain(values))
    return path


def disputed_page(run: Path, ears: Ears, opinion: Opinion, sample_rate_hz: int) -> Path | None:
    """Write the page of what is disputed: false alarms, or else test windows; return it, None: nothing is."""
    if opinion.disputed:
        alarms = opinion.disputed
        manifest = Manifest.from_rows(
            {"path": str(Path(item.file).resolve()), "label": f"no {item.label}", "recording": Path(item.file).name,
             "start_s": item.start_s, "duration_s": max(0.1, item.end_s - item.start_s)}
            for item in alarms
        )  # fmt: skip
        heard = sorted({item.heard for item in alarms})
        plausible = np.array([1 - item.confidence for item in alarms], np.float32)
        opinions = np.array([heard.index(item.heard) for item in alarms])
        order = np.argsort(plausible, kind="stable").tolist()
    elif opinion.doubted:
        manifest = load_manifest(run / runs.DATASET).select(np.array(opinion.doubted))
        heard, n = ["something else"], len(opinion.doubted)
        plausible, opinions, order = np.zeros(n, np.float32), np.zeros(n, int), list(range(n))
    else:
        return None
    nobody = np.zeros((len(manifest), 0), np.float32)
    found = Teaching(plausible, opinions, heard, np.zeros(len(manifest), int), order, 0.0, nobody, [])
    about = f"{ears.about.title} does not believe these labels. Listen; it may be wrong, too."
    write_text(run / PAGE, contact_sheet(manifest, found, sample_rate_hz, about=about))
    return run / PAGE
