# SPDX-License-Identifier: MIT
"""From the recordings that the settings name to examples: cut, selected, split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from cheep import runs
from cheep.config import DataConfig, VoicesConfig
from cheep.datasets.about import ManifestAbout, write_about
from cheep.datasets.build import build_manifest
from cheep.datasets.clips import prepare_clips
from cheep.datasets.files import csv_rows
from cheep.datasets.gather import Gathered, gather
from cheep.datasets.manifest import REQUIRED, Manifest, load_manifest
from cheep.datasets.sources.lists import recordings_in_csv
from cheep.datasets.sources.recording import Recording
from cheep.datasets.split import assign_splits
from cheep.ears.papers import PAPERS, add_papers, papers_beside
from cheep.errors import CheepError
from cheep.job import OnFile


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of a run.

    ``manifest`` holds them with their splits (open ones, where each fold is to be the test set once), ``left_out`` the
    windows that are none, with ``reasons`` counted; ``calibration`` those that int8 ranges are measured on, where they
    are set apart; ``bad_files`` what could not be read.
    """

    manifest: Manifest
    left_out: Manifest | None = None
    calibration: Manifest | None = None
    reasons: dict[str, int] = dataclasses.field(default_factory=dict)
    bad_files: list[str] = dataclasses.field(default_factory=list)


def make_examples(
    config: DataConfig,
    folder: Path,
    voices: VoicesConfig | None = None,
    *,
    gathered: Gathered | None = None,
    on_file: OnFile | None = None,
    jobs: int | None = None,
) -> Examples:
    """Cut the recordings that ``config`` names into examples and split them.

    Parameters
    ----------
    folder
        For what is made of recordings and beside them: prepared clips, synthetic speakers, synthesized background.
    voices
        Synthetic speakers that say the labels, to train on.
    gathered
        The recordings, where the caller has looked them up already (:func:`cheep.datasets.gather.gather`).
    on_file
        Called with (files done, files).
    jobs
        Worker processes; default: one per core.

    Raises
    ------
    CheepError
        What is wrong with the recordings, or a label cannot be split.
    """
    if is_manifest(config):
        return Examples(assign_splits(load_manifest(config.csv), config.split))
    gathered = gather(config) if gathered is None else gathered
    recordings, calibration = gathered.recordings, gathered.calibration
    said = _said(recordings, config, voices, folder) if voices is not None else []
    if config.clips is not None:
        rate = config.sample_rate_hz
        recordings = prepare_clips(recordings, config.clips, rate, folder / "audio", on_file)
        calibration = prepare_clips(calibration, config.clips, rate, folder / "calibration") if calibration else []
    noises = _synthesized(config, folder, on_file)
    built = build_manifest([*recordings, *said, *noises], config, Path(), gathered.boxes, on_file, jobs)
    ranges = build_manifest(calibration, config, Path(), jobs=jobs).manifest if calibration else None
    return Examples(built.manifest, built.left_out, ranges, built.reasons, built.bad_files)


def write_examples(examples: Examples, output: Path, config: DataConfig, why: Sequence[str] = ()) -> str:
    """Write the manifest and what belongs beside it; return the manifest's SHA-256.

    Parameters
    ----------
    output
        Of the manifest; its folder takes the other files.
    config
        What the examples were cut with.
    why
        The choices behind it, one sentence each.
    """
    digest = examples.manifest.write(output)
    if examples.left_out is not None:
        examples.left_out.write(output.with_name(output.stem + ".left_out.csv"))
    if examples.calibration is not None:
        examples.calibration.write(output.with_name(runs.CALIBRATION))
    tables = [Path(name) for name in (config.csv, *config.annotations) if name]
    add_papers(output.with_name(PAPERS), [paper for table in tables for paper in papers_beside(table)])
    write_about(output, about_examples(examples.manifest, config, why))
    return digest


def outdates_model(run: Path, digest: str) -> bool:
    """Is there a network in this run that was trained on other examples than the manifest of this SHA-256?"""
    path = run / runs.TRAINING
    return path.is_file() and digest not in path.read_text(encoding="utf-8", errors="replace")


def about_examples(manifest: Manifest, config: DataConfig, why: Sequence[str] = ()) -> ManifestAbout:
    """Return what lies beside a manifest that was cut with ``config``."""
    return ManifestAbout(
        sample_rate_hz=config.sample_rate_hz,
        window_s=config.windows.window_s,
        hop_s=config.windows.hop_s,
        group_by=config.group_by,
        background=config.windows.background,
        labels=tuple(manifest.labels),
        why=tuple(why),
    )


def is_manifest(config: DataConfig) -> bool:
    """Tell whether the settings name a manifest, whose examples are split again, and not recordings."""
    if not config.csv:
        return False
    try:
        header = next((row for _, row in csv_rows(Path(config.csv))), [])
    except CheepError:  # a list in another encoding
        return False
    return set(REQUIRED) <= {name.strip() for name in header}


def _synthesized(config: DataConfig, folder: Path, on_file: OnFile | None) -> list[Recording]:
    from cheep.datasets.synthetic import synthesize_background

    wanted, rate = config.synthetic_background, config.sample_rate_hz
    if wanted is None:
        return []
    place = folder / "synthetic" / f"{wanted.sha256[:16]}-{rate}"
    return synthesize_background(place, wanted, rate, config.windows.background, on_file)


def _said(recordings: list[Recording], config: DataConfig, voices: VoicesConfig, folder: Path) -> list[Recording]:
    from cheep.datasets.voices import synthesize_words

    words = sorted({item.label for item in recordings if not config.windows.is_background(item.label)})
    table = synthesize_words(words, folder / "voices" / voices.sha256[:16], voices)
    return [dataclasses.replace(item, split="train") for item in recordings_in_csv(table)]
