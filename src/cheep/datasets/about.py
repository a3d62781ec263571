# SPDX-License-Identifier: MIT
"""What a manifest's windows were cut for: a small file beside the CSV, so that none is taken for another.

``dataset.csv`` has ``dataset.about.json`` beside it. A manifest without one (made by hand, or elsewhere) is judged by
the lengths of its examples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from cheep.config import FeatureConfig, Settings
from cheep.datasets.manifest import Manifest
from cheep.errors import CheepError
from cheep.files import read_json, write_json

_TOLERANCE = 0.1  # of a window: 39 columns of 25 ms (0.982 s) are "1 s"


class ManifestAbout(Settings):
    """Rate and windows of a manifest's examples, and why they were chosen."""

    sample_rate_hz: int = Field(ge=2000, le=96000, description="rate at which activity was measured, Hz")
    window_s: float = Field(gt=0, le=60, description="length of an example, s")
    hop_s: float = Field(gt=0, le=60, description="distance of the starts of examples, s")
    group_by: str = Field("", description="what was kept together in a split")
    background: str = Field("background", description="label of the negatives")
    labels: tuple[str, ...] = Field((), description="labels that occur")
    why: tuple[str, ...] = Field((), description="the choices, one sentence each")


def about_path(manifest: Path) -> Path:
    """Return where the file beside a manifest lies."""
    return manifest.with_name(f"{manifest.stem}.about.json")


def write_about(manifest: Path, about: ManifestAbout) -> None:
    """Write the file beside a manifest."""
    write_json(about_path(manifest), about.to_dict())


def read_about(manifest: Path) -> ManifestAbout | None:
    """Return what is known of a manifest, or None where no file lies beside it."""
    path = about_path(manifest)
    if not path.is_file():
        return None
    return ManifestAbout.parse(read_json(path, "cheep split-dataset"), str(path))


def carry_about(manifest: Path, made: Path) -> None:
    """Say of a manifest that was made from another one's rows what is known of that one."""
    about = read_about(manifest)
    if about is not None:
        write_about(made, about)


def rate_of(manifest: Path, given: int | None) -> int:
    """Return the rate that a manifest was cut for, Hz, unless another one is given; 8000 where nothing is known."""
    about = read_about(manifest)
    return given or (about.sample_rate_hz if about is not None else 8000)


def refuse_contradiction(path: Path, manifest: Manifest, features: FeatureConfig) -> None:
    """Refuse features that do not fit the windows of the manifest at ``path``.

    Raises
    ------
    CheepError
        Another rate, or a network window of another length. Without a file beside the manifest only windows shorter
        than its longest example are noticed: they would be cut without a word.
    """
    about = read_about(path)
    fix = "leave rate and window to the run (its run.yaml has them), or split again with"
    if about is not None and features.sample_rate_hz != about.sample_rate_hz:
        raise CheepError(
            f"sample_rate_hz={features.sample_rate_hz}: the windows of {path} were cut for {about.sample_rate_hz} Hz; "
            f"{fix} --sample-rate {features.sample_rate_hz}"
        )
    window_s = about.window_s if about is not None else float(np.max(manifest.duration_s, initial=0.0))
    shorter = features.window_s < (1 - _TOLERANCE) * window_s
    if shorter or (about is not None and features.window_s > (1 + _TOLERANCE) * window_s):
        heard = f"hears only the first {features.window_s:.3g} s" if shorter else f"hears {features.window_s:.3g} s"
        raise CheepError(
            f"window_frames={features.window_frames}: a network of so many columns {heard}, the examples of {path} "
            f"last {window_s:g} s; {fix} --window {features.window_s:.1g}"
        )
