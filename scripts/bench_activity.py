# SPDX-License-Identifier: MIT
"""The activity detector judged: known calls of the synthesized recordings at falling SNR, and labelled soundscapes.

    python scripts/bench_activity.py [--demo DIR] [--field DIR] [--json]

DIR of --demo: a demo data set (made if missing). DIR of --field: folders bird and no_bird. A window of 1 s (hop 0.5 s)
is positive where at least 0.1 s (or half) of a call lies in it. The demo's soundscape also holds look-alikes that are
no calls: they are sounds, so they cost precision by design. Compared with plain energy over the recording's floor in
the whole band, at the threshold that keeps as many windows.
"""

from __future__ import annotations

import argparse
import collections
import csv
import itertools
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import read_audio
from cheep.config import ActivityConfig, WindowConfig
from cheep.datasets.activity import LevelMeter, Levels, least_active_frames, measure_levels
from cheep.datasets.demo import make_demo_dataset
from cheep.datasets.demo_sounds import BACKGROUNDS, VOICES, background, draw_individual, sing
from cheep.datasets.windows import window_starts

RATE = 8000
SNR_DB = (0, 3, 6, 9, 12, 15, 20, 30)


class PlainEnergy(LevelMeter):
    """The comparison: one band from 500 Hz up."""

    def __init__(self) -> None:
        super().__init__(RATE, ActivityConfig())
        self._edges = self._edges[[0, -1]]


def plain_levels(pcm: np.ndarray) -> Levels:
    """Return levels of one wide band."""
    meter = PlainEnergy()
    meter.push(pcm)
    return meter.levels()


def windows_of(pcm: np.ndarray, config: WindowConfig) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Return (starts, level of the detector, level of plain energy) of every window."""
    ours, plain = measure_levels(pcm, RATE, config.activity), plain_levels(pcm)
    starts = window_starts(0, len(pcm) / RATE, config)
    frames = least_active_frames(config.activity)
    levels = [np.array([item.window_db(s, config.window_s, frames) for s in starts]) for item in (ours, plain)]
    return starts, levels[0], levels[1]


def read_events(path: Path) -> dict[str, list[tuple[float, float, float]]]:
    """Return file -> (start_s, end_s, snr_db) of the calls."""
    events = collections.defaultdict(list)
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            events[row["file"]].append((float(row["start_s"]), float(row["end_s"]), float(row["snr_db"])))
    return events


def precision_recall(score: np.ndarray, truth: np.ndarray, threshold: float) -> tuple[float, float]:
    """Return precision and recall of ``score >= threshold``."""
    said = score >= threshold
    hit = (said & truth).sum()
    return float(hit / max(said.sum(), 1)), float(hit / max(truth.sum(), 1))


def judge_demo(folder: Path, config: WindowConfig) -> list[dict]:
    """Return metrics on recordings and on the soundscape of a demo data set."""
    out = []
    for part, files in (
        ("recordings", read_events(folder / "events.csv")),
        ("soundscape", read_events(folder / "soundscape_events.csv")),
    ):
        ours, plain, truth, best_snr = [], [], [], []
        calls = []
        for name, events in sorted(files.items()):
            starts, a, b = windows_of(read_audio(folder / name, RATE), config)
            for start, x, y in zip(starts, a, b, strict=True):
                snr = [
                    e[2]
                    for e in events
                    if min(e[1], start + config.window_s) - max(e[0], start) >= min(0.1, 0.5 * (e[1] - e[0]))
                ]
                ours.append(x), plain.append(y), truth.append(bool(snr)), best_snr.append(max(snr, default=-99))
            for begin, end, snr in events:
                near = [x for start, x in zip(starts, a, strict=True) if min(end, start + 1) - max(begin, start) > 0.05]
                calls.append((snr, max(near, default=-99) >= config.activity.threshold_db))
        ours, plain, truth = np.array(ours), np.array(plain), np.array(truth)
        threshold = config.activity.threshold_db
        precision, recall = precision_recall(ours, truth, threshold)
        other = np.sort(plain)[::-1][max(0, (ours >= threshold).sum() - 1)]
        plain_precision, plain_recall = precision_recall(plain, truth, other)
        out += _lines(part, precision, recall, plain_precision, plain_recall, len(truth), truth.mean())
        for low, high in itertools.pairwise(SNR_DB):
            hits = [hit for snr, hit in calls if low <= snr < high]
            if hits:
                name = f"activity.{part}.calls_found_{low}_{high}_db"
                out.append({"name": name, "value": float(np.mean(hits)), "unit": f"of {len(hits)}"})
    return out


def judge_falling_snr(config: WindowConfig, seconds: float = 90.0, seeds: int = 1) -> list[dict]:
    """Return precision and recall by background and SNR: a call every 4 s or so in one kind of background."""
    out = []
    for kind in BACKGROUNDS:
        for snr_db in (20, 10, 5, 0, -5, -10):
            scores, truth = [], []
            for seed in range(seeds):
                rng = np.random.default_rng([seed, BACKGROUNDS.index(kind), snr_db + 100])
                pcm, events = one_soundscape(kind, snr_db, seconds, rng)
                starts, ours, _ = windows_of(pcm, config)
                scores += ours.tolist()
                truth += [any(min(e, s + 1) - max(b, s) >= min(0.1, 0.5 * (e - b)) for b, e in events) for s in starts]
            precision, recall = precision_recall(np.array(scores), np.array(truth), config.activity.threshold_db)
            unit = f"{len(truth)} windows, {100 * np.mean(truth):.0f} % positive"
            out.append({"name": f"activity.{kind}.{snr_db}_db.precision", "value": precision, "unit": unit})
            out.append({"name": f"activity.{kind}.{snr_db}_db.recall", "value": recall, "unit": unit})
    return out


def one_soundscape(
    kind: str, snr_db: float, seconds: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return int16 samples of one background with calls ``snr_db`` above it (1-4 kHz), and where they are."""
    n = int(seconds * RATE)
    noise = background((kind,), n, rng)
    birds = [draw_individual(voice, rng) for voice in VOICES]
    sound, events, at = np.zeros(n), [], RATE
    while True:
        phrase = sing(birds[int(rng.integers(len(birds)))], rng)
        if at + len(phrase) > n:
            break
        loud = np.flatnonzero(np.abs(phrase) > 0.05 * np.abs(phrase).max())
        power = band_power(phrase[loud[0] : loud[-1] + 1])
        sound[at : at + len(phrase)] += phrase * np.sqrt(band_power(noise) / power * 10 ** (snr_db / 10))
        events.append(((at + loud[0]) / RATE, (at + loud[-1]) / RATE))
        at += len(phrase) + int(rng.uniform(3, 5) * RATE)
    total = noise + sound
    return (total / np.abs(total).max() * 16000).astype(np.int16), events


def band_power(samples: np.ndarray) -> float:
    """Mean power between 1 and 4 kHz."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(power[int(len(power) / 4) :].sum() / len(samples) ** 2) + 1e-20


def judge_field(folder: Path, config: WindowConfig) -> list[dict]:
    """Return metrics on folders bird and no_bird: every window carries its clip's label."""
    ours, plain, truth, clip_hit, clip_truth = [], [], [], [], []
    for label in ("bird", "no_bird"):
        for path in sorted((folder / label).iterdir()):
            _, a, b = windows_of(read_audio(path, RATE), config)
            ours += a.tolist()
            plain += b.tolist()
            truth += [label == "bird"] * len(a)
            clip_hit.append((a >= config.activity.threshold_db).mean())
            clip_truth.append(label == "bird")
    ours, plain, truth = np.array(ours), np.array(plain), np.array(truth)
    threshold = config.activity.threshold_db
    precision, recall = precision_recall(ours, truth, threshold)
    other = np.sort(plain)[::-1][max(0, (ours >= threshold).sum() - 1)]
    plain_precision, plain_recall = precision_recall(plain, truth, other)
    out = _lines("field", precision, recall, plain_precision, plain_recall, len(truth), truth.mean())
    from sklearn.metrics import roc_auc_score

    out.append({"name": "activity.field.auc", "value": float(roc_auc_score(truth, ours)), "unit": "windows"})
    out.append({"name": "activity.field.plain.auc", "value": float(roc_auc_score(truth, plain)), "unit": "windows"})
    clip_hit, clip_truth = np.array(clip_hit), np.array(clip_truth)
    for part in (0.05, 0.2):
        precision, recall = precision_recall(clip_hit, clip_truth, part)
        out.append(
            {"name": f"activity.field.clips_{part:g}.precision", "value": precision, "unit": f"of {len(clip_hit)}"}
        )
        out.append({"name": f"activity.field.clips_{part:g}.recall", "value": recall, "unit": f"of {clip_truth.sum()}"})
    return out


def _lines(part, precision, recall, plain_precision, plain_recall, n, share) -> list[dict]:
    unit = f"{n} windows, {100 * share:.0f} % positive"
    values = {
        "precision": precision,
        "recall": recall,
        "plain.precision": plain_precision,
        "plain.recall": plain_recall,
    }
    return [{"name": f"activity.{part}.{name}", "value": value, "unit": unit} for name, value in values.items()]


def main() -> int:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("datasets/demo"))
    parser.add_argument("--field", type=Path)
    parser.add_argument("--threshold-db", type=float, default=ActivityConfig().threshold_db)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    make_demo_dataset(args.demo)
    activity = ActivityConfig(threshold_db=args.threshold_db, quiet_db=min(6.0, args.threshold_db))
    config = WindowConfig(activity=activity)
    out = (
        judge_falling_snr(config)
        + judge_demo(args.demo, config)
        + (judge_field(args.field, config) if args.field else [])
    )
    if args.json:
        print(json.dumps(out, indent=1))
    else:
        for line in out:
            print(f"{line['name']:<50} {line['value']:.3f}  {line['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
