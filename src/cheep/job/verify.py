# SPDX-License-Identifier: MIT
"""A second network for a detector: thresholds of both stages together, and its copy beside the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from cheep.device.bundle import VERIFY, ModelBundle, load_bundle
from cheep.errors import CheepError
from cheep.evaluate.outcome import Calibration
from cheep.evaluate.streaming import ScoredRecording
from cheep.evaluate.verifying import WEIGHTS, Pair, always_second, choose_ask, measure_choice
from cheep.files import atomic_folder
from cheep.runs import MANIFEST


def score_both(
    bundle: ModelBundle, second: ModelBundle, score: Callable[[ModelBundle], Sequence[ScoredRecording]]
) -> Pair:
    """Return held-out recordings as ``score`` hears them with each of two networks, each on every window.

    Raises
    ------
    CheepError
        ``second`` cannot verify ``bundle``.
    """
    always = always_second(bundle, second)
    return Pair(bundle, second, tuple(score(bundle)), tuple(score(always)))


def find_both(pair: Pair, calibrate: Callable[[ModelBundle, Sequence[ScoredRecording]], Calibration]) -> Calibration:
    """Return the calibration of two networks, thresholds of both stages chosen together.

    For each weight of the first network the mean of both is calibrated as if every window were verified; the weight
    with which most events are found stays. Then the second network is asked as seldom as costs hardly any of these
    events. This is done on one half of the groups of recordings; thresholds and all that is stated come from the other
    half, with that. Where there are too few groups, one and the same recordings serve for both
    (``VerifyChoice.chosen_on`` is 0 then).

    Parameters
    ----------
    pair : Pair
    calibrate : callable
        Finds thresholds, smoothing and hold-off of a detector on recordings as it scores them.
    """
    halves = pair.halves()
    choosing, stating = halves or (pair, pair)
    found = []
    for weight in WEIGHTS:
        config = choosing.always(weight)
        result = calibrate(choosing.with_config(config), choosing.rows(config))
        found.append((sum(item.recall.value for item in result.labels if item.recall is not None), weight, result))
    _, weight, result = max(found, key=lambda item: item[0])
    config = choose_ask(choosing, result.detector.model_copy(update={"verify": None}), weight).config
    result = calibrate(stating.with_config(config), stating.rows(config))
    groups = len({item.group for item in choosing.first_scores}) if halves else 0
    return result.with_verify(measure_choice(stating, config, result.detector, groups))


def keep_second(bundle: ModelBundle, second: ModelBundle) -> Path:
    """Copy the second network and its manifest to the folder ``verify`` beside the detector's manifest; return it.

    Raises
    ------
    CheepError
        The second network has no manifest.
    """
    manifest = second.path.parent / MANIFEST
    if not manifest.is_file():
        raise CheepError(f"{second.path.parent}: no {MANIFEST}; give a run with an int8 model (cheep train-qat)")
    folder = bundle.path.parent / VERIFY
    if folder.is_dir() and load_bundle(folder).model.sha256 == second.model.sha256:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    with atomic_folder(folder) as partial:
        shutil.copy(second.path, partial)
        shutil.copy(manifest, partial)
    return folder
