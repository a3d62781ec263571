# SPDX-License-Identifier: MIT
"""The same bytes on this machine and on the emulated Cortex-M4F: int8 columns and detector events.

Reads recordings below the given folders (in a fixed order) until ``--minutes`` of audio are collected, computes
columns and events here, runs the same audio through the emulated core for each optimization level in chunks
of 1 to 4,096 samples, and compares every byte. Exit status 1 on a difference.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from cheep.audio import audio_files, read_audio
from cheep.bench.frontend import build_frontend, host_output, run_frontend
from cheep.config import DetectorConfig, FeatureConfig
from cheep.errors import CheepError

SCALE, ZERO_POINT, CLASSES = 0.42, 64, 4


def collect(folders: list[Path], minutes: float, rate_hz: int) -> np.ndarray:
    """Return ``minutes`` of audio, (n,) int16."""
    wanted = int(minutes * 60 * rate_hz)
    files = sorted(path for folder in folders for path in audio_files(folder))
    order = np.random.default_rng(0).permutation(len(files))
    parts, total = [], 0
    for index in order:
        if total >= wanted:
            break
        parts.append(read_audio(files[index], rate_hz))
        total += parts[-1].size
    if total < wanted:
        raise CheepError(f"{folders[0]}: only {total / rate_hz / 60:.1f} minutes of audio (lower --minutes)")
    return np.concatenate(parts)[:wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--levels", nargs="+", default=["O0", "O1", "O2", "O3"], help="optimization levels")
    args = parser.parse_args()
    config = FeatureConfig()
    detector = DetectorConfig(threshold=(0.3, 0.35, 0.4, 0.45), hysteresis=0.05)
    try:
        pcm = collect(args.folder, args.minutes, config.sample_rate_hz)
        expected = host_output(pcm, config, detector, CLASSES, SCALE, ZERO_POINT)
        print(f"{pcm.size} samples, {config.frames_of(pcm.size)} columns, {len(expected)} bytes, "
              f"sha256 {hashlib.sha256(expected).hexdigest()[:16]}")  # fmt: skip
        return compare(pcm, expected, config, detector, args.levels)
    except CheepError as error:
        print(error, file=sys.stderr)
        return error.exit_status


def compare(
    pcm: np.ndarray, expected: bytes, config: FeatureConfig, detector: DetectorConfig, levels: list[str]
) -> int:
    """Run every level; return 1 if any byte differs."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        pcm.astype("<i2").tofile(work / "pcm.raw")
        for level in levels:
            elf = build_frontend(
                work, config, detector, n_classes=CLASSES, scale=SCALE, zero_point=ZERO_POINT, optimization=f"-{level}"
            )
            start = time.monotonic()
            result = run_frontend(elf, work / "pcm.raw", work / "out.bin", count=False, timeout_s=7200)
            same = (work / "out.bin").read_bytes() == expected
            failed |= not same
            verdict = "the same bytes" if same else "DIFFERENT"
            counts = f"{result.values['columns']} columns, {result.values['events']} events"
            print(f"-{level}: {counts}, {verdict} ({time.monotonic() - start:.0f} s)", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
