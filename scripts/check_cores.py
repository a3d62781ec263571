# SPDX-License-Identifier: MIT
"""The same detector's event lines on every core that Debian's compilers and QEMU offer; exit 1 where a byte differs.

  python scripts/check_cores.py --json                       the default network, untrained, on a made sound
  python scripts/check_cores.py --model RUN RECORDING ...    a detector of your own on your recordings

What is not installed is skipped and named; scripts/setup.sh all installs everything.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import read_audio
from cheep.bench.cores import ALL, check_cores, stand_in
from cheep.config import FeatureConfig, TrainConfig
from cheep.errors import CheepError
from cheep.export import load_export

LABELS, SECONDS = 3, 14


def sound(rate_hz: int) -> np.ndarray:
    """Return noise that comes and goes over a rising tone, so that scores move: (n,) int16."""
    rng = np.random.default_rng(5)
    t = np.arange(SECONDS * rate_hz) / rate_hz
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * t / 1.3)
    tone = np.sin(2 * np.pi * (300 + 80 * t) * t)
    return np.rint(2500 * (rng.normal(0, 1, len(t)) * loud + tone * (1 - loud))).clip(-32768, 32767).astype(np.int16)


def untrained(features: FeatureConfig) -> bytes:
    """Return the default network with random weights as an int8 model."""
    from cheep.convert.tflite import calibrated_int8
    from cheep.models import build_model
    from cheep.tf_runtime import seed_everything

    seed_everything(3)
    shape = (features.window_frames, features.n_mels)
    windows = (-60 + 8 * np.random.default_rng(3).standard_normal((64, *shape))).astype(np.float32)
    return calibrated_int8(build_model(TrainConfig().model, shape, LABELS), windows)


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="*", type=Path, help="recordings for --model")
    parser.add_argument("--model", help="run folder or .tflite (default: an untrained network)")
    parser.add_argument("--core", action="append", choices=[core.name for core in ALL], help="this one only (repeat)")
    parser.add_argument("--optimization", default="-O2", metavar="-ON", help="for the compilers (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    if bool(args.model) != bool(args.recording):
        parser.error("--model and recordings go together")
    cores = [core for core in ALL if not args.core or core.name in args.core]

    def say(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
            if args.model:
                export = load_export(args.model)
                rate_hz = export.features.sample_rate_hz
                pcm = np.concatenate([read_audio(path, rate_hz) for path in args.recording])
            else:
                features = FeatureConfig()
                pcm = sound(features.sample_rate_hz)
                export = stand_in(untrained(features), features, pcm, Path(folder))
            result = check_cores(export, pcm, cores, args.optimization, say)
    except CheepError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{result['cores']['equal']} cores give the same {result['lines']} event lines")
    return 1 if result["cores"]["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
