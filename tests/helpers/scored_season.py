# SPDX-License-Identifier: MIT
"""A season of made-up scores (no sound): two sites, some nights, calls at known places."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from cheep.device.bundle import load_bundle
from cheep.season import Season
from cheep.season.events import detections_of
from cheep.season.schema import Recording
from cheep.season.store import Part, write_part
from cheep.season.tables import make_tables
from cheep.season.verdicts import Verdict
from tone_model import write_tone_run

LABEL = "low"
MINUTES = 10


def scored_season(folder: Path, nights: int = 6, seed: int = 1) -> tuple[Season, dict[tuple[str, float], bool]]:
    """Write a season; return it and the truth: is there a call in the clip of 3 s, by (recording, start)."""
    run = write_tone_run(folder / "run")
    season = Season.create(folder / "season")
    model = season.add_model(load_bundle(run))
    rng = np.random.default_rng(seed)
    truth: dict[tuple[str, float], bool] = {}
    for site in ("creek", "ridge"):
        for night in range(nights):
            begin = datetime.datetime(2026, 5, 28, 20) + datetime.timedelta(days=night)
            clips = MINUTES * 20
            there = rng.random(clips) < (0.06 if site == "creek" else 0.02)
            n = int((MINUTES * 60 - model.window_s) / model.stride_s) + 1
            clip = np.minimum(((np.arange(n) * model.stride_s + model.window_s / 2) / 3).astype(int), clips - 1)
            level = np.where(there, rng.normal(1.0, 1.5, clips), rng.normal(-4.0, 1.2, clips))
            cricket = rng.random(clips) < (0.04 if night == 2 else 0.0)
            level = np.where(cricket, rng.normal(2.0, 0.5, clips), level)
            logit = level[clip] + rng.normal(0, 0.2, n)
            raw = np.clip(np.rint(logit / model.scale) + model.zero_point, -128, 127).astype(np.int8)
            scores = np.full((n, len(model.labels)), -128, np.int8)
            scores[:, model.labels.index(LABEL)] = raw
            stamp = int((begin - datetime.datetime(1970, 1, 1)).total_seconds() * 1000)
            row = Recording(
                f"{len(truth):016x}", str(folder / "card"), f"{site}/{begin:%Y%m%d_%H%M%S}.WAV", site=site,
                start_utc=stamp, start_local=stamp, length_s=MINUTES * 60.0, sample_rate_hz=16000,
            )  # fmt: skip
            part = Part(row, detections_of(model, row, scores), model.settings, n)
            write_part(season.part_path(model.model, row), model, scores, part)
            truth |= {(row.recording, 3.0 * i): bool(value) for i, value in enumerate(there)}
    with season.writing():
        make_tables(season)
    return season, truth


def answers(items, truth: dict[tuple[str, float], bool], asks=None) -> list[Verdict]:
    """Return a true verdict on each item of a plan."""
    asks = [0] * len(items) if asks is None else asks
    return [
        Verdict(item.recording, item.label, item.start_s, item.end_s,
                "right" if truth[item.recording, item.start_s] else "wrong", ask=ask)
        for item, ask in zip(items, asks, strict=True)
    ]  # fmt: skip
