# SPDX-License-Identifier: MIT
"""Verdicts become examples, examples another model by the same recipe, and the better of the two goes on.

A round is ``SEASON/rounds/NN``: ``clips/`` (the sound of every verdict that it learned from), ``run/`` (a run like any
other: its data set is that of the model before and what the verdicts add) and ``round.json`` (what was learned, what
the judge says, what came of it).

Nights of sites are kept apart: some are for the judge, for good (``rounds/judged.json``); no round learns from them, so
that both models are judged on verdicts that neither has seen.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cheep import runs
from cheep.audio import read_span
from cheep.config import QatConfig, QuantizeConfig
from cheep.config.quantize import PtqConfig
from cheep.datasets.about import carry_about
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.device.bundle import ModelBundle, load_bundle
from cheep.ears.papers import PAPERS, add_papers, papers_beside
from cheep.errors import CheepError
from cheep.files import nothing_left, plain, read_json, write_json
from cheep.job import OnEpoch, OnStep, no_step
from cheep.job.quantize import quantize_run, settings_of_training
from cheep.job.train import train_network
from cheep.season.compare import Comparison, Judged, compare
from cheep.season.export import file_of
from cheep.season.frame import smoothed
from cheep.season.lessons import ROUNDS, Lesson, lessons_manifest, lessons_of, part_groups
from cheep.season.plan import plans, read_plan
from cheep.season.schema import ModelRow
from cheep.season.store import Season
from cheep.season.verdicts import Clip

ROUND = "round.json"
OnClip = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Round:
    """What a round came to."""

    number: int
    folder: Path
    positives: int
    negatives: int
    comparison: Comparison
    promoted: bool
    why: str

    @property
    def run(self) -> Path:
        """The run with the new model."""
        return self.folder / "run"


def learn(
    season: Season,
    run: Path,
    label: str,
    *,
    epochs: int | None = None,
    on_stage: Callable[[str], None] = lambda text: None,
    on_epoch: OnEpoch | None = None,
    on_step: OnStep = no_step,
    on_clip: OnClip = lambda done, total: None,
) -> Round:
    """Train the next model on a run's data and the season's verdicts, judge it, and promote it where it is better.

    Parameters
    ----------
    season
        With verdicts on ``label``.
    run
        The run of the model that the season was scanned with, with its data set.
    label
        What the verdicts are about.
    epochs
        Instead of the recipe's (for a quick look; both stages).
    on_stage, on_epoch, on_step, on_clip
        Called with what happens; ``on_clip``: with (done, total) while both models are judged.

    Raises
    ------
    CheepError
        No verdicts, too few nights, or a run without its data.
    """
    old = load_bundle(run)
    if label not in old.labels:
        raise CheepError(f"--label {label}: not a label of the model ({', '.join(old.labels)})")
    model = _model_of(season, old, label)
    lessons = lessons_of(season, label)
    judged = part_groups(season, {item.group for item in lessons})
    number = 1 + max((int(path.name) for path in (season.folder / ROUNDS).glob("[0-9]*")), default=0)
    folder = season.folder / ROUNDS / f"{number:02d}"
    mine = [item for item in lessons if item.group not in judged]
    on_stage(f"cutting {len(mine)} clips of {len({item.group for item in mine})} nights")
    with nothing_left(folder):
        taught = lessons_manifest(season, model, mine, folder / "clips", run)
        new_run = folder / "run"
        _start_run(season.folder, run, new_run, taught)
        _train(run, new_run, epochs, on_stage, on_epoch, on_step)
        on_stage("judging both models on nights that neither learned from")
        for_judge = [item for item in lessons if item.group in judged]
        comparison = judge_models(season, old, load_bundle(new_run), label, for_judge, on_clip=on_clip)
    promoted, why = comparison.verdict()
    counts = collections.Counter(taught.column("label"))
    background = read_json(new_run / runs.TRAINING, runs.TRAIN_COMMAND).get("background") or "background"
    done = Round(
        number, folder, sum(n for name, n in counts.items() if name != background), counts[background], comparison,
        promoted, why,
    )  # fmt: skip
    _keep(season, done, old, label, len(mine))
    return done


# -- training --------------------------------------------------------------------------------


def _start_run(season: Path, old: Path, new: Path, taught: Manifest) -> None:
    """Write the data set of the round: that of the model before, and what the verdicts add."""
    if not (old / runs.DATASET).is_file():
        raise CheepError(f"{old}: has no {runs.DATASET}: a model learns on from a run with its data set (--run)")
    before = load_manifest(old / runs.DATASET).anchored()
    rows = [*before.rows(), *taught.anchored().rows()]
    new.mkdir(parents=True, exist_ok=True)
    Manifest.from_rows(rows, new).write(new / runs.DATASET)
    carry_about(old / runs.DATASET, new / runs.DATASET)
    add_papers(new / PAPERS, [*papers_beside(old), *papers_beside(season)])


def _train(
    old: Path,
    new: Path,
    epochs: int | None,
    on_stage: Callable[[str], None],
    on_epoch: OnEpoch | None,
    on_step: OnStep,
) -> None:
    """Train by the recipe of the run before, both stages."""
    features, config = settings_of_training(old)
    made = read_json(old / runs.MANIFEST, runs.QAT_COMMAND).get("training", {})
    qat = QatConfig.parse(made.get("qat", {}), f"{old / runs.MANIFEST}: training.qat")
    if epochs is not None:
        config = config.model_copy(update={"epochs": epochs, "warmup_epochs": min(config.warmup_epochs, epochs - 1)})
        qat = qat.model_copy(update={"epochs": max(1, epochs // 2)})
    on_stage("training by the same recipe")
    train_network(new, features, config, on_epoch=on_epoch, on_step=on_step)
    method = "ptq" if "ptq" in made else "qat"
    quantize = (
        QuantizeConfig(method="ptq", ptq=PtqConfig()) if method == "ptq" else QuantizeConfig(method="qat", qat=qat)
    )
    on_stage("quantizing")
    quantize_run(new, quantize, on_epoch=on_epoch, on_step=on_step)


# -- judging ---------------------------------------------------------------------------------


def judge_models(
    season: Season, old: ModelBundle, new: ModelBundle, label: str, lessons: Sequence[Lesson], seed: int = 0,
    on_clip: OnClip = lambda done, total: None,
) -> Comparison:  # fmt: skip
    """Let both models hear the judge's clips, as the device would, and compare; ``on_clip``: as for :func:`learn`.

    Raises
    ------
    CheepError
        There is nothing to judge on.
    """
    weights = _weights_of_plans(season, label)
    rows = []
    for done, item in enumerate(lessons):
        on_clip(done, len(lessons))
        clip = item.clip
        begin, end = clip.start_ms / 1000, clip.end_ms / 1000
        values = {"folder": item.row.folder, "path": item.row.path}
        before_s = min(begin, old.features.window_s)  # the detector smooths over what was before
        pcm, rate = read_span(file_of(values), begin - before_s, end + old.features.window_s)
        scores = tuple(clip_score(bundle, pcm, rate, label, before_s, end - begin) for bundle in (old, new))
        rows.append((bool(item.judgement.present), *scores, weights.get(clip, 1.0), (end - begin) / 3600, item.group))
    if not rows:
        raise CheepError("no sure verdict of a night that is for the judge: verify more clips (cheep review)")
    on_clip(len(rows), len(rows))
    present, before, after, weight, hours, group = zip(*rows, strict=True)
    threshold = detector_logit(old, label)
    return compare(
        Judged(
            np.array(present), np.array(before), np.array(after), np.array(weight), np.array(hours),
            np.array(group), threshold,
        ),
        np.random.default_rng(seed),
    )  # fmt: skip


def clip_score(
    bundle: ModelBundle, pcm: np.ndarray, rate_hz: int, label: str, before_s: float = 0.0, length_s: float = np.inf
) -> float:
    """Return the largest smoothed score (logit) of a label in a clip, heard through the device path.

    Parameters
    ----------
    pcm : (n,) int16
        The clip with what is around it.
    before_s, length_s
        Where in it the clip begins, and its length: those windows count whose middle lies in it.
    """
    from cheep.audio import float_to_int16, int16_to_float, resample
    from cheep.device.engine import Engine
    from cheep.season.store import model_row

    if rate_hz != bundle.features.sample_rate_hz:
        pcm = float_to_int16(resample(int16_to_float(pcm), rate_hz, bundle.features.sample_rate_hz))
    pcm = np.pad(pcm, (0, max(0, bundle.features.window_samples - len(pcm))))
    windows = Engine(bundle, "compiled").push(pcm).windows
    raw = np.stack([window.scores for window in windows]).astype(np.int8)
    row = model_row(bundle)
    values = smoothed(row, raw, label)
    middle = np.arange(len(values)) * row.stride_s + row.window_s / 2
    inside = (middle >= before_s) & (middle < before_s + length_s)
    return float(values[inside].max() if inside.any() else values.max())


def detector_logit(bundle: ModelBundle, label: str) -> float:
    """Return the threshold of a label as a logit."""
    from cheep.detector.scores import logit

    thresholds = bundle.detector.threshold
    value = thresholds[0] if len(thresholds) == 1 else thresholds[bundle.labels.index(label)]
    return float(np.clip(logit(0.5 if value is None else value), -20, 20))


def _weights_of_plans(season: Season, label: str) -> Mapping[Clip, float]:
    """Return how many clips each verdict's clip stands for, by the plan with the most clips about the label."""
    found = [read_plan(season.folder, name) for name in plans(season.folder)]
    mine = sorted((plan for plan in found if plan.label == label), key=lambda plan: len(plan.items))
    return {item.clip: item.weight for item in mine[-1].items} if mine else {}


# -- what is kept ----------------------------------------------------------------------------


def _model_of(season: Season, bundle: ModelBundle, label: str) -> ModelRow:
    """Return the model whose scores tell where in a clip its label is: the run's own, or one that came before it."""
    rows = [row for row in season.models() if label in row.labels]
    own = [row for row in rows if row.sha256 == bundle.model.sha256]
    if not rows:
        raise CheepError(f"{season.folder}: no scores of {label}; scan with the model of this run first (cheep scan)")
    return (own or rows)[0]


def _keep(season: Season, done: Round, old: ModelBundle, label: str, verdicts: int) -> None:
    path = done.run / runs.MANIFEST
    manifest = read_json(path, runs.QAT_COMMAND)
    before = read_json(old.path.parent / runs.MANIFEST, runs.QAT_COMMAND) if (
        old.path.parent / runs.MANIFEST).is_file() else {}  # fmt: skip
    about = {
        "round": done.number,
        "season": season.folder.name,
        "label": label,
        "parent_sha256": old.model.sha256,
        "verdicts": verdicts,
        "positives": done.positives,
        "negatives": done.negatives,
        "judged": done.comparison.to_dict(),
        "promoted": done.promoted,
        "why": done.why,
    }
    manifest["lineage"] = [*(before.get("lineage") or []), plain(about)]
    if done.promoted:
        thresholds = list(manifest["detector"]["threshold"])
        thresholds[manifest["labels"].index(label)] = done.comparison.new_threshold_probability
        manifest["detector"]["threshold"] = thresholds
    write_json(path, manifest)
    write_json(done.folder / ROUND, plain({**about, "sha256": manifest["model"]["sha256"], "run": "run"}))
