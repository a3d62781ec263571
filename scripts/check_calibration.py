# SPDX-License-Identifier: MIT
"""Does calibration keep its promise on real recordings? Calibrate on some groups, count on others.

  python scripts/check_calibration.py --model runs/fold-0 runs/fold-1 ... --data DIR    each fold's own held-out groups
  python scripts/check_calibration.py --model runs/birds --data DIR --groups 60 --half 1 --max-false-alarms 60/h

DIR holds one folder per set with ``LABEL/*.flac`` and ``metadata.csv`` (file, label, split_group, ...). Every set named
by --background gives background recordings; ``bird_bg/bird`` gives calls. Groups that the run's dataset.csv trained on
(or validated with) are left out; clips whose note hints at a bird as well. All background clips of a group make one
recording, all bird clips another: a group is what is drawn. A second of a bird clip counts as a call where its
win1s_snr_lt4k_db is at least 12, else it is left out of all counts. The groups are drawn into two parts again and
again: thresholds come from one, false alarms per hour from the other. --half 0 or 1 takes every group whose name's
sha256 begins with an even or odd byte: methods were chosen on half 0 and are judged on half 1.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import read_audio
from cheep.device.bundle import ModelBundle, load_bundle
from cheep.errors import CheepError
from cheep.evaluate.calibration import calibrate, parse_rate
from cheep.evaluate.matching import IGNORE, Annotation, add_counts, count_events, match_events
from cheep.evaluate.streaming import Output, ScoredRecording, ScoreTiming, best_scorer, detect, score_blocks

CALL_SNR_DB = 12.0
NO_BACKGROUND = {"bird", "rooster", "children_playing", "street_music", "unlabelled"}  # may hold birds


def main() -> int:
    """Score once, then draw halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, nargs="+", required=True, help="run folders of detectors of 'bird'")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--background", nargs="+", default=["bird_bg", "esc10", "us8k_subset", "fsdd_digits", "soundscapes"]
    )
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--groups", type=int, nargs="+", default=[0], help="to calibrate on (0: half of them)")
    parser.add_argument("--half", type=int, choices=(0, 1), help="use only this half of the groups")
    parser.add_argument("--max-false-alarms", nargs="+", default=["60/h"])
    parser.add_argument("--smoothing", type=int, nargs="+", default=[1, 2, 3], help="candidates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        return _run(args)
    except CheepError as error:
        print(error, file=sys.stderr)
        return error.exit_status


def _run(args: argparse.Namespace) -> int:
    targets = [parse_rate(text) for text in args.max_false_alarms]
    recordings: list[ScoredRecording] = []
    seen: set[str] = set()
    bundles = [load_bundle(path) for path in args.model]
    bundle = bundles[0]
    for path, one in zip(args.model, bundles, strict=True):
        if one.scale.kind != bundle.scale.kind or one.labels != bundle.labels:
            raise CheepError(f"{path}: its scores are of another kind or other labels than those of {args.model[0]}")
        scored = score_all(one, args.data, args.background, used_groups(path) | seen, seen)
        recordings += [
            dataclasses.replace(item, scores=bundle.scale.rescaled(item.scores, one.scale)) for item in scored
        ]
    if args.half is not None:
        recordings = [item for item in recordings if _half(item.group) == args.half]
    groups = sorted({item.group for item in recordings})
    hours = sum(item.duration_s for item in recordings) / 3600
    calls = sum(a.label != IGNORE for item in recordings for a in item.annotations)
    print(f"{len(groups)} groups, {hours:.2f} h, {calls} calls, never trained on", file=sys.stderr)
    rows = []
    for count in args.groups:
        for target in targets:
            rows += campaign(bundle, recordings, groups, count or len(groups) // 2, target, args)
            if not args.json:
                for row in rows[-9:]:
                    print(f"{row['name']:48} {row['value']:9.3f} {row['unit']}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0


def campaign(
    bundle: ModelBundle,
    recordings: list[ScoredRecording],
    groups: list[str],
    count: int,
    target: float,
    args: argparse.Namespace,
) -> list[dict]:
    """Calibrate on ``count`` groups, count on as many hours as the others have; again and again."""
    timing = ScoreTiming.of(bundle)
    output = Output.of(bundle)
    rng = np.random.default_rng(args.seed)
    found_rows, below, above = [], 0, 0
    for _ in range(args.draws):
        chosen = {groups[i] for i in rng.permutation(len(groups))[:count]}
        first = [item for item in recordings if item.group in chosen]
        second = [item for item in recordings if item.group not in chosen]
        hours = sum(item.duration_s for item in second) / 3600
        found = calibrate(
            first,
            output,
            bundle.detector,
            target,
            smoothing=args.smoothing,
            hold_off=[2],
            rng=rng,
            draws=2,
            new_hours=hours,
        )
        label = found.labels[0]
        parts = []
        for item in second:
            events = detect(item.scores, found.detector, output.labels, timing, output.scale)
            parts.append(count_events(match_events(events, item.annotations), item.duration_s / 3600, label.label))
        counts = add_counts(parts)
        below += counts.false_alarms_per_hour < label.new_rate[0]
        above += counts.false_alarms_per_hour > label.new_rate[1]
        found_rows.append(
            (label.rate.value, *label.new_rate, counts.false_alarms_per_hour, counts.recall or 0.0, label.hours, hours)
        )
    expected, low, high, measured, recall, hours, new_hours = np.mean(found_rows, axis=0)
    name = f"calibration.{count}_groups.{target:g}_per_hour"
    rate, share = "false alarms/h", "share of draws"
    values = {
        "hours": (hours, "h"),
        "new_hours": (new_hours, "h"),
        "expected": (expected, rate),
        "measured": (measured, rate),
        "foretold_low": (low, rate),
        "foretold_high": (high, rate),
        "inside": (1 - (below + above) / args.draws, share),
        "above": (above / args.draws, share),
        "recall": (recall, "share of calls"),
    }
    return [{"name": f"{name}.{key}", "value": float(v), "unit": unit} for key, (v, unit) in values.items()]


def _half(group: str) -> int:
    return hashlib.sha256(group.encode()).digest()[0] & 1


def used_groups(run: Path) -> set[str]:
    """Return the groups that training or validation of a run has seen."""
    with (run / "dataset.csv").open(newline="", encoding="utf-8") as stream:
        return {row["group"] for row in csv.DictReader(stream) if row["split"] != "test"}


def score_all(
    bundle: ModelBundle, data: Path, sets: list[str], used: set[str], seen: set[str]
) -> list[ScoredRecording]:
    """Return scored recordings, made of whole groups that ``used`` does not name; ``seen`` takes their names."""
    clips: dict[tuple[str, bool], list[tuple[Path, list[float]]]] = defaultdict(list)
    for name in sets:
        for row in _table(data / name / "metadata.csv"):
            group = row["split_group"]
            if group in used:
                continue
            seen.add(group)
            if name == "bird_bg" and row["label"] == "bird":
                snr = [float(value) if value else -99.0 for value in row["win1s_snr_lt4k_db"].split(";")]
                clips[group, True].append((data / name / row["file"], snr))
            elif row["label"] not in NO_BACKGROUND and "hints at" not in row.get("note", ""):
                clips[group, False].append((data / name / row["file"], []))
    scorer, _ = best_scorer(bundle)
    rate = bundle.features.sample_rate_hz
    out = []
    for (group, birds), items in sorted(clips.items()):
        pcm, truth = [], []
        for path, snr in items:
            begin = sum(map(len, pcm)) / rate
            pcm.append(read_audio(path, rate))
            for second, value in enumerate(snr):
                truth.append(Annotation("bird" if value >= CALL_SNR_DB else IGNORE, begin + second, begin + second + 1))
        scores, samples = score_blocks(bundle, scorer, pcm)
        name = f"{group}: {'bird' if birds else 'background'}"
        out.append(ScoredRecording(name, group, samples / rate, scores, tuple(truth)))
    return out


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    sys.exit(main())
