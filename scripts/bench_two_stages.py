# SPDX-License-Identifier: MIT
"""The bird task with a second network behind the first (bench_accuracy.py --verify): what both give, and cost.

The two are trained on the same folds. Weight, ``ask``, ``idle`` and thresholds are chosen on the other folds, never on
the one that is judged. The second network is asked about at most a third of the background, so that a fold takes
minutes; what it said is kept beside the first network's scores.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_bird import BIRD, EVENT_RECALL, Counted, Streamed, operating_points
from cheep import runs
from cheep.audio import read_audio
from cheep.bench.sizes import asked_at_a_time, second_window, size_report, two_stages
from cheep.boards.budget import load_on, needs_compiled, with_second
from cheep.boards.data import find_board
from cheep.compiler import compile_model
from cheep.config import FeatureConfig
from cheep.config.detector import VerifyConfig
from cheep.detector import probability
from cheep.device.bundle import cannot_verify, load_bundle, with_verifier
from cheep.device.verify import VerifyStage
from cheep.errors import CheepError
from cheep.evaluate.intervals import grouped_proportion
from cheep.evaluate.streaming import Output, best_scorer
from cheep.evaluate.verifying import WEIGHTS, Pair, alone
from cheep.files import atomic_write

HEARD_SHARE = 0.35  # of the background's windows: what the second network hears in this benchmark
SHARES = (0.25, 0.1, 0.05, 0.02)  # of the background that is asked about: what is tried
CHOSEN_BY = (10.0, 5.0, 1.0)  # false alarms an hour: the mean of recall there is what a setting is chosen by
MOST_LOST = 0.005  # of that mean, for asking less
HEARD = "verified.npz"
BOARD, SMALL_BOARD = "esp32s3", "audiomoth"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Both networks on the held-out recordings of one fold; ``second_scores`` of what is asked about at most."""

    pair: Pair
    kinds: list[str]

    @property
    def background(self) -> np.ndarray:
        """Return the first network's logits on background, (windows,)."""
        return self._values(self.pair.first_scores, self.pair.bundle)

    @functools.cached_property
    def floor(self) -> float:
        """Return the probability from which on the second network has heard the windows."""
        return _ask(self.background, HEARD_SHARE)

    def said(self) -> np.ndarray:
        """Return the second network's logits on the background that it has heard, (n,)."""
        floor = self.config(0.0, self.floor, 0.0)
        rows = [
            two.scores[mask, self.pair.second.labels.index(BIRD)]
            for one, two, mask in zip(self.pair.first_scores, self.pair.second_scores, self.pair.asked(floor),
                                      strict=True)
            if not one.annotations
        ]  # fmt: skip
        return self.pair.second.own_scale.values(np.concatenate(rows))

    def config(self, weight: float, ask: float, idle: float) -> VerifyConfig:
        """Return the settings of this fold's two networks: ``ask`` a probability, ``idle`` a logit of the second."""
        scale = self.pair.second.own_scale
        raw = int(np.clip(np.rint(idle / scale.scale) + scale.zero_point, -128, 127))
        ask = max(ask, self.floor)
        return VerifyConfig(network=self.pair.second.model.sha256, ask=(ask,), idle=(raw,), weight=weight)

    @functools.cached_property
    def _counted(self) -> dict[str, Counted]:
        return {}

    def counted(self, config: VerifyConfig) -> Counted:
        """Return what the detector of both does at every threshold."""
        key = config.to_json()
        if key not in self._counted:
            bundle = self.pair.with_config(config)
            self._counted[key] = Counted(
                Streamed(self.pair.rows(config), self.kinds, Output.of(bundle), bundle.detector)
            )
        return self._counted[key]

    @staticmethod
    def _values(items: Sequence[Any], bundle: Any) -> np.ndarray:
        rows = [item.scores[:, 0] for item in items if not item.annotations]
        return bundle.own_scale.values(np.concatenate(rows))


def check_second(first: FeatureConfig, second: FeatureConfig, where: str) -> None:
    """Say before any training that the second recipe cannot stand behind the first."""
    problem = cannot_verify(first, second)
    if problem:
        raise CheepError(f"--verify {where}: {problem}")


def load_fold(first: Path, second: Path, root: Path) -> Fold:
    """Return both networks' scores on a fold; the second one hears what it has not heard yet."""
    streamed = Streamed.load(first / "streamed.npz", first / runs.INT8_TFLITE)
    bundle, verifier = alone(load_bundle(first)), load_bundle(second)
    if bundle.labels != (BIRD,) or BIRD not in verifier.labels or bundle.own_scale.kind != "logit":
        raise CheepError(f"{first}, {second}: labels {', '.join(bundle.labels)} and {', '.join(verifier.labels)}; two "
                         "stages are judged of one label, as logits")  # fmt: skip
    rows = np.concatenate([item.scores[:, 0] for item in streamed.recordings if not item.annotations])
    ask = _ask(bundle.own_scale.values(rows), HEARD_SHARE)
    config = VerifyConfig(network=verifier.model.sha256, ask=(ask,), idle=(-128,), weight=0.0)
    made_from = f"{bundle.model.sha256} {verifier.model.sha256} {ask:.9f}"
    kept = first / HEARD
    if not _is_of(kept, made_from):
        stage = VerifyStage(with_verifier(bundle, verifier, config), best_scorer(verifier)[0])
        said = []
        for number, item in enumerate(streamed.recordings):
            stage.reset()
            said.append(stage.push(read_audio(root / item.name, bundle.features.sample_rate_hz), item.scores))
            if number % 100 == 0:
                print(f"{first.name}: second network, {number} of {len(streamed.recordings)} recordings",
                      file=sys.stderr, flush=True)  # fmt: skip
        with atomic_write(kept) as stream:
            np.savez_compressed(stream, made_from=made_from, scores=np.concatenate(said))
    with np.load(kept) as data:
        ends = np.cumsum([len(item.scores) for item in streamed.recordings])
        parts = np.split(data["scores"], ends[:-1])
    items = tuple(dataclasses.replace(item, scores=part) for item, part in zip(streamed.recordings, parts, strict=True))
    return Fold(Pair(bundle, verifier, tuple(streamed.recordings), items), streamed.kinds)


def judge(folds: Sequence[Fold]) -> tuple[list[Counted], dict[str, tuple[float, str]]]:
    """Return what both networks do on each fold with the settings chosen on the others, and the figures besides."""
    if len(folds) < 2:
        raise CheepError("--verify: two folds at least: what is judged on one is chosen on the others (--folds)")
    chosen = [_choose([other for other in folds if other is not fold]) for fold in folds]
    configs = [fold.config(*settings) for fold, settings in zip(folds, chosen, strict=True)]
    counted = [fold.counted(config) for fold, config in zip(folds, configs, strict=True)]
    out: dict[str, tuple[float, str]] = {}
    for number, (weight, ask, idle) in enumerate(chosen):
        out[f"fold{number}.weight"] = (weight, "of the first network")
        out[f"fold{number}.ask"] = (ask, "probability")
        out[f"fold{number}.idle"] = (idle, "logit")
    share = _share(folds, configs)
    out |= {f"verified_share{end}": (value, "1") for end, value in share.items()}
    out |= _transferred(folds, chosen)
    return counted, out | costs(folds[0].pair, configs[0], share[""])


def costs(pair: Pair, config: VerifyConfig, share: float) -> dict[str, tuple[float, str]]:
    """Return memory, instructions and days on a board that runs both, where ``share`` of the windows are verified."""
    bundle, board, small = pair.with_config(config), find_board(BOARD), find_board(SMALL_BOARD)
    report, once = size_report(bundle, board), second_window(bundle)
    modes = report["instructions_per_second"]
    first = {k: v for k, v in modes.get("incremental", modes["window"]).items() if k != "total"}
    total = two_stages(first, once, bundle, share)["total"]
    compiled = report["backends"]["compiled"]
    need = with_second(needs_compiled(compile_model(bundle.path), bundle.features, len(bundle.labels)), bundle)
    fits = need.ram_bytes <= small.free_ram_bytes and need.flash_bytes <= small.free_flash_bytes
    day = load_on(total, board, bundle.features.sample_rate_hz)
    return {
        "ram_bytes": (compiled["ram_bytes"], "B"),
        "flash_bytes": (compiled["flash_bytes"], "B"),
        f"{BOARD}.fits": (float(compiled["fits"]), "1: yes"),
        f"{SMALL_BOARD}.fits": (float(fits), "1: yes"),
        "first.instructions_per_second": (sum(first.values()), "1/s of audio"),
        "second.instructions_per_window": (sum(once.values()), "1"),
        "instructions_per_second": (total, "1/s of audio"),
        f"{BOARD}.verified_window": (asked_at_a_time(once, bundle, board), "of a stride"),
        f"{BOARD}.duty": (day["duty"], "1"),
        f"{BOARD}.days": (day["battery_days"], "days"),
    }


def _choose(others: Sequence[Fold]) -> tuple[float, float, float]:
    """Return weight, ``ask`` and ``idle`` with which the most events are found; asked as seldom as costs little."""
    idle = float(np.median(np.concatenate([fold.said() for fold in others])))
    background = np.concatenate([fold.background for fold in others])
    asks = [_ask(background, share) for share in SHARES]

    def found(weight: float, ask: float) -> float:
        recall = operating_points([fold.counted(fold.config(weight, ask, idle)) for fold in others], draws=1).recall
        return float(np.mean([recall[rate][0] for rate in CHOSEN_BY]))

    weight = max(WEIGHTS, key=lambda weight: found(weight, asks[0]))
    best = found(weight, asks[0])
    ask = asks[0]
    for less in itertools.takewhile(lambda less: found(weight, less) >= best - MOST_LOST, asks[1:]):
        ask = less
    return weight, ask, idle


def _share(folds: Sequence[Fold], configs: Sequence[VerifyConfig]) -> dict[str, float]:
    """Return the share of the background's windows that is verified, with its interval by group."""
    masks, groups = [], []
    for fold, config in zip(folds, configs, strict=True):
        for item, mask in zip(fold.pair.first_scores, fold.pair.asked(config), strict=True):
            if not item.annotations:
                masks.append(mask)
                groups += [item.group] * len(mask)
    share = grouped_proportion(np.concatenate(masks), groups)
    assert share is not None
    ends = {".low": share.low, ".high": share.high}
    return {"": share.value, **{end: value for end, value in ends.items() if value is not None}}


def _transferred(folds: Sequence[Fold], chosen: Sequence[tuple[float, float, float]]) -> dict[str, tuple[float, str]]:
    """Return false alarms and recall where the threshold, too, is that with which the other folds find 80 %."""
    alarms = hours = events = found = 0.0
    for fold, settings in zip(folds, chosen, strict=True):
        others = [other.counted(other.config(*settings)) for other in folds if other is not fold]
        grid = np.unique(np.concatenate([other.thresholds for other in others]))
        recall = sum(other.at(grid)[1].sum(axis=1) for other in others) / sum(other.events.sum() for other in others)
        threshold = grid[np.flatnonzero(recall >= EVENT_RECALL)[-1:]]
        own = fold.counted(fold.config(*settings))
        wrong, right = own.at(threshold)
        alarms, found = alarms + float(wrong.sum()), found + float(right.sum())
        hours, events = hours + float(own.hours.sum()), events + float(own.events.sum())
    name = f"other_folds_threshold_of_{EVENT_RECALL * 100:.0f}_recall"
    return {f"{name}.recall": (found / events, "1"), f"{name}.false_alarms_per_hour": (alarms / hours, "1/h")}


def _ask(logits: np.ndarray, share: float) -> float:
    """Return the probability that this share of ``logits`` reaches."""
    return float(probability(float(np.quantile(logits, 1 - share))))


def _is_of(path: Path, made_from: str) -> bool:
    if not path.is_file():
        return False
    with np.load(path) as data:
        return str(data["made_from"]) == made_from
