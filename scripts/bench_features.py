# SPDX-License-Identifier: MIT
"""Speed of the front end on this machine against librosa, on one core, as ratios measured in one run.

  python scripts/bench_features.py          a table
  python scripts/bench_features.py --json   a list of {"name", "value", "unit"}

Clips: 3,600 recordings of one second, one call each. Hour: one recording of an hour, one call. librosa computes
melspectrogram + power_to_db with the same settings, center=False, from float32 samples prepared beforehand. Each
figure is the least processor time of --rounds rounds, the two taking turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import librosa  # noqa: E402  (after the number of threads is set)
import numpy as np  # noqa: E402

from cheep.config import FeatureConfig  # noqa: E402
from cheep.errors import CheepError  # noqa: E402
from cheep.features import compute_features, quantize  # noqa: E402


def with_librosa(y: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Return librosa's log-mel columns, (n_mels, frames) float32."""
    mel = librosa.feature.melspectrogram(
        y=y,
        sr=config.sample_rate_hz,
        n_fft=config.fft_size,
        win_length=config.frame_samples,
        hop_length=config.hop_samples,
        center=False,
        n_mels=config.n_mels,
        fmin=config.fmin_hz,
        fmax=config.fmax_hz,
        htk=config.mel_scale == "htk",
        norm="slaney" if config.mel_norm == "slaney" else None,
    )
    return librosa.power_to_db(mel, amin=config.log_floor, top_db=None)


def least_times(functions: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return the least processor time of each function, s; they take turns."""
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            start = time.process_time()
            function()
            best[i] = min(best[i], time.process_time() - start)
    return best


def measure(seconds: int, rounds: int) -> list[dict]:
    """Return the rows of the benchmark for ``seconds`` of audio."""
    config = FeatureConfig()
    rate = config.sample_rate_hz
    rng = np.random.default_rng(0)
    pcm = np.clip(3000 * rng.standard_normal(seconds * rate), -32768, 32767).astype(np.int16)
    samples = pcm.astype(np.float32) / 32768
    clips = [(pcm[i * rate : (i + 1) * rate], samples[i * rate : (i + 1) * rate]) for i in range(seconds)]
    ours, theirs = compute_features(clips[0][0], config), with_librosa(clips[0][1], config).T
    if np.abs(quantize(ours, 0.42, 64).astype(int) - quantize(theirs, 0.42, 64)).max() > 1:
        raise CheepError("librosa and the front end disagree: there is nothing to compare")
    clips_ours, clips_theirs, hour_ours, hour_theirs = least_times(
        [
            lambda: [compute_features(c, config) for c, _ in clips],
            lambda: [with_librosa(y, config) for _, y in clips],
            lambda: compute_features(pcm, config),
            lambda: with_librosa(samples, config),
        ],
        rounds,
    )
    frames = config.frames_of(pcm.size)
    values = {
        "features.clips.ratio_librosa": (clips_theirs / clips_ours, "times faster"),
        "features.hour.ratio_librosa": (hour_theirs / hour_ours, "times faster"),
        "features.clips.us_per_clip": (clips_ours / len(clips) * 1e6, "us"),
        "features.hour.us_per_column": (hour_ours / frames * 1e6, "us"),
        "features.hour.realtime_factor": (seconds / hour_ours, "times real time"),
    }
    return [{"name": name, "value": round(value, 3), "unit": unit} for name, (value, unit) in values.items()]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=int, default=3600, help="length of the audio (3600)")
    parser.add_argument("--rounds", type=int, default=3, help="the least time of so many rounds counts (3)")
    args = parser.parse_args()
    try:
        rows = measure(args.seconds, args.rounds)
    except CheepError as error:
        print(f"bench_features: {error}", file=sys.stderr)
        return error.exit_status
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['name']:35s} {row['value']:>12} {row['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
