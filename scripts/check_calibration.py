"""Does calibration keep its promise on real recordings? Calibrate on one half of the groups, measure on the other.

  python scripts/check_calibration.py --model runs/birds --data DIR --draws 100 --max-false-alarms 30/h
  python scripts/check_calibration.py --model runs/fold-0 runs/fold-1 ... --data DIR    each fold's own held-out groups

DIR holds one folder per set with ``LABEL/*.flac`` and ``metadata.csv`` (file, label, split_group, ...). Every set named
by --background gives background recordings; ``bird_bg/bird`` gives calls. Groups that the run's dataset.csv trained on
(or validated with) are left out. Whole groups are joined to recordings of half a minute or more, with a bird clip
after every third background clip; a second of a bird clip counts as a call where its win1s_snr_lt4k_db is at least 12,
else it is left out of all counts. The recordings are drawn into two halves again and again: thresholds come from one,
false alarms per hour from the other.
"""

from __future__ import annotations

import argparse
import csv
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
from cheep.evaluate.field import evaluate_field
from cheep.evaluate.intervals import prediction_interval
from cheep.evaluate.matching import IGNORE, Annotation
from cheep.evaluate.streaming import Output, ScoredRecording, ScoreTiming, best_scorer, score_blocks

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
    parser.add_argument("--max-false-alarms", default="30/h")
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
    target = parse_rate(args.max_false_alarms)
    recordings: list[ScoredRecording] = []
    seen: set[str] = set()
    bundles = [load_bundle(path) for path in args.model]
    bundle = bundles[0]
    for path, one in zip(args.model, bundles, strict=True):
        same = (one.output.scale, one.output.zero_point) == (bundle.output.scale, bundle.output.zero_point)
        if not same or one.labels != bundle.labels:
            raise CheepError(f"{path}: its scores have another scale or other labels than those of {args.model[0]}")
        recordings += score_all(one, args.data, args.background, used_groups(path) | seen, args.seed, seen)
    hours = sum(item.duration_s for item in recordings) / 3600
    calls = sum(a.label != IGNORE for item in recordings for a in item.annotations)
    print(f"{len(recordings)} recordings, {hours:.2f} h, {calls} calls, never trained on", file=sys.stderr)
    timing = ScoreTiming.of(bundle)
    output = Output(bundle.labels, bundle.output.scale, bundle.output.zero_point, timing)
    rng = np.random.default_rng(args.seed)
    rates, promised, recalls, inside, predicted = [], [], [], 0, 0
    for _ in range(args.draws):
        order = rng.permutation(len(recordings))
        first, second = ([recordings[i] for i in part] for part in np.array_split(order, 2))
        found = calibrate(
            first, output, bundle.detector, target, smoothing=args.smoothing, hold_off=[2], rng=rng, draws=100
        )
        label = found.labels[0]
        result = evaluate_field(
            second, bundle.labels, found.detector, timing, output.scale, output.zero_point, rng=rng, draws=10
        )
        counts = result.rows[0].counts
        rates.append(counts.false_alarms_per_hour)
        recalls.append(counts.recall)
        promised.append((label.rate.value, label.rate.low, label.rate.high))
        # The other half has few hours itself: its count must lie in the interval for so many hours.
        low, high = prediction_interval(label.observed + 0.5, label.hours, counts.hours, label.dispersion)
        predicted += low <= counts.false_alarms <= high
        inside += label.rate.low <= counts.false_alarms_per_hour <= label.rate.high
    expected, low, high = np.mean(promised, axis=0)
    rows = [
        {"name": "calibration.target", "value": target, "unit": "false alarms/h"},
        {"name": "calibration.expected", "value": float(expected), "unit": "false alarms/h"},
        {"name": "calibration.interval_low", "value": float(low), "unit": "false alarms/h"},
        {"name": "calibration.interval_high", "value": float(high), "unit": "false alarms/h"},
        {"name": "calibration.measured", "value": float(np.mean(rates)), "unit": "false alarms/h"},
        {"name": "calibration.recall", "value": float(np.mean(recalls)), "unit": "share of calls"},
        {"name": "calibration.inside_interval", "value": inside / args.draws, "unit": "share of draws"},
        {"name": "calibration.inside_prediction", "value": predicted / args.draws, "unit": "share of draws"},
        {"name": "calibration.hours_per_half", "value": hours / 2, "unit": "h"},
    ]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['name']:32} {row['value']:9.3f} {row['unit']}")
    return 0


def used_groups(run: Path) -> set[str]:
    """Return the groups that training or validation of a run has seen."""
    with (run / "dataset.csv").open(newline="", encoding="utf-8") as stream:
        return {row["group"] for row in csv.DictReader(stream) if row["split"] != "test"}


def score_all(
    bundle: ModelBundle, data: Path, sets: list[str], used: set[str], seed: int, seen: set[str]
) -> list[ScoredRecording]:
    """Return scored recordings of half a minute or more, made of whole groups; ``seen`` takes their names."""
    rng = np.random.default_rng(seed)
    quiet, birds = defaultdict(list), []
    for name in sets:
        for row in _table(data / name / "metadata.csv"):
            if row["split_group"] in used:
                continue
            seen.add(row["split_group"])
            doubtful = row.get("note") and row["label"] != "no_bird"
            if row["label"] not in NO_BACKGROUND and not doubtful:
                quiet[row["split_group"]].append((data / name / row["file"], None))
            elif name == "bird_bg" and row["label"] == "bird":
                snr = [float(value) if value else -99.0 for value in row["win1s_snr_lt4k_db"].split(";")]
                birds.append((data / name / row["file"], snr))
    birds = [birds[i] for i in rng.permutation(len(birds))]
    groups = sorted(quiet)
    clips: list[list[tuple[Path, list[float] | None]]] = [[]]
    length = 0.0
    for group in (groups[i] for i in rng.permutation(len(groups))):
        clips[-1] += quiet[group]
        length += sum(_seconds(path) for path, _ in quiet[group])
        if length >= 30:
            clips.append([])
            length = 0.0
    scorer, _ = best_scorer(bundle)
    rate = bundle.features.sample_rate_hz
    out = []
    for number, part in enumerate(item for item in clips if item):
        mixed = []
        for i, clip in enumerate(part):
            mixed.append(clip)
            if i % 3 == 2 and birds:
                mixed.append(birds.pop())
        pcm, truth = [], []
        for path, snr in mixed:
            begin = sum(map(len, pcm)) / rate
            pcm.append(read_audio(path, rate))
            for second, value in enumerate(snr or ()):
                truth.append(Annotation("bird" if value >= CALL_SNR_DB else IGNORE, begin + second, begin + second + 1))
        scores, samples = score_blocks(bundle, scorer, pcm)
        name = f"recording {number}"
        out.append(ScoredRecording(name, name, samples / rate, scores, tuple(truth)))
    return out


def _seconds(path: Path) -> float:
    import soundfile

    return float(soundfile.info(str(path)).duration)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    sys.exit(main())
