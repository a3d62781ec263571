# SPDX-License-Identifier: MIT
"""Instructions per second of audio of the committed recipes' detectors on the emulated Cortex-M4F, without training.

  python scripts/bench_recipes.py                     front end, network, detector: by columns and by windows
  python scripts/bench_recipes.py --recipes bird esc10 --stride-s 0.5

Networks have random weights, calibrated on random levels: what a run costs does not depend on what the weights are (a
trained network may have channels that say nothing, which cost nothing).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
CLASSES = {
    "bird": 1,
    "bird_32k": 1,
    "bird_8khz": 1,
    "xc_species3": 3,
    "esc10": 10,
    "esc10_small": 10,
    "fsdd_digits": 10,
}


def costs(name: str, n_classes: int, stride_s: float, folder: Path) -> dict[str, int]:
    """Return instructions per second by mode: ``columns`` (where the network allows it) and ``windows``."""
    from cheep.bench.detector import measure_detector
    from cheep.compiler import compile_model
    from cheep.config import DetectorConfig, load_run_file
    from cheep.convert.tflite import calibrated_int8
    from cheep.models import network_for
    from cheep.tf_runtime import import_tf, seed_everything
    from cheep.tflite.model import read_model

    import_tf()
    seed_everything(1)
    run = load_run_file(ROOT / "recipes" / f"{name}.yaml")
    features, train = run.features, run.train
    shape = (features.window_frames, features.n_mels)
    model = network_for(train, features, n_classes)
    levels = np.random.default_rng(1).normal(-50, 15, (64, *shape)).astype(np.float32)
    path = folder / f"{name}.tflite"
    path.write_bytes(calibrated_int8(model, levels))
    compiled, source = compile_model(path), read_model(path).inputs[0]
    columns = round(stride_s * features.sample_rate_hz / features.hop_samples)
    found = {}
    for mode, stream in (("columns", True), ("windows", False)):
        if stream and compiled.stream is None:
            continue
        step = compiled.stream["stride_rows"] if stream else 1
        detector = DetectorConfig(stride_frames=max(step, columns // step * step))
        found[mode] = round(
            measure_detector(compiled, features, detector, source, n_classes, stream=stream).total_per_second
        )
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=CLASSES, default=list(CLASSES))
    parser.add_argument("--stride-s", type=float, default=0.5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.recipes:
            found = costs(name, CLASSES[name], args.stride_s, Path(folder))
            modes = ", ".join(f"by {mode} {value:,}" for mode, value in found.items())
            print(f"{name}: {modes} instructions a second", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
