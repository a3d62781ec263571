# SPDX-License-Identifier: MIT
"""The memory of a training on many hours: python scripts/bench_training_memory.py --hours 1000 --json

Synthetic features in a file as large as those of real recordings (a sparse file: what is not written reads as
silence, page by page, as from a disk), a manifest with a window a second, the real loop: drawing, augmentation,
epochs, validation, the metrics afterwards. Prints the peak resident memory of the process and what it is made of.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from cheep.config import FeatureConfig, TrainConfig
from cheep.datasets.manifest import Manifest, TextColumn
from cheep.features.cache import open_cache
from cheep.training.data import LabelPlan, window_set

LABELS = ("background", "bluetit", "robin")


def main() -> int:
    """Train, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=1000)
    parser.add_argument("--examples", type=int, default=131072, help="of an epoch; 0: every window")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--limit-gb", type=float, default=6.0, help="exit 1 above this")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.hours, args.examples, args.epochs)
    print(json.dumps(found, indent=2) if args.json else "\n".join(f"{key}: {value}" for key, value in found.items()))
    return int(found["training.peak_rss_gb"] > args.limit_gb)


def measure(folder: Path, hours: int, examples: int, epochs: int) -> dict[str, float]:
    """Return peak memory and times."""
    from cheep.evaluate.windows import summarize
    from cheep.job.scores import keras_scores
    from cheep.job.windows import Windows
    from cheep.models import build_model
    from cheep.tf_runtime import seed_everything
    from cheep.training.loop import fit

    features = FeatureConfig()
    manifest = make_manifest(hours)
    per_hour = features.frames_of(3600 * features.sample_rate_hz)
    path = folder / "features.f32"
    write_features(path, hours * per_hour, features.n_mels)
    spans = {f"{hour}.wav": (hour * per_hour, per_hour) for hour in range(hours)}
    cache = open_cache(path, features, spans)
    config = TrainConfig(epochs=epochs, examples_per_epoch=examples, warmup_epochs=0)
    plan = LabelPlan.of(manifest, config)
    splits = {name: window_set(manifest.of_split(name), cache, plan) for name in ("train", "val", "test")}
    windows = Windows(plan, features, splits, manifest)
    sizes = {name: len(part) for name, part in splits.items()}
    watch = Watch()
    seed_everything(1)
    shape = (features.window_frames, features.n_mels)
    model = build_model(config.model, shape, len(plan.labels), plan.activation, config.dropout, config.hears)
    begin = time.monotonic()
    fit(model, splits["train"], splits["val"], config, folder / "checkpoint")
    trained = time.monotonic()
    for scores in keras_scores(model, only(windows, ("val", "test"))).values():
        summarize(scores)
    watch.stop()
    return {
        "training.hours": hours,
        "training.feature_file_gb": round(path.stat().st_size / 1e9, 2),
        **{f"training.windows_{name}": size for name, size in sizes.items()},
        "training.examples_per_epoch": examples or sizes["train"],
        "training.epochs": epochs,
        "training.peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "training.peak_anonymous_gb": round(watch.anonymous / 1e9, 2),
        "training.peak_file_pages_gb": round(watch.file / 1e9, 2),
        "training.fit_s": round(trained - begin, 1),
        "training.scores_s": round(time.monotonic() - trained, 1),
    }


def only(windows, names):
    """Return the same windows with these splits only."""
    import dataclasses

    return dataclasses.replace(windows, splits={name: windows.splits[name] for name in names})


def make_manifest(hours: int) -> Manifest:
    """Return one row a second, recordings of an hour, a tenth each for validation and test."""
    n = hours * 3600
    hour = np.repeat(np.arange(hours, dtype=np.int32), 3600)
    names = [f"{number}.wav" for number in range(hours)]
    second = np.tile(np.arange(3600, dtype=np.int32), hours)
    label = np.where(second % 10 == 0, 1 + hour % 2, 0).astype(np.int32)  # calls are rare
    split = np.array([{8: 1, 9: 2}.get(number % 10, 0) for number in range(hours)], np.int32)
    return Manifest(
        {
            "path": TextColumn(hour, names),
            "recording": TextColumn(hour, names),
            "label": TextColumn(label, list(LABELS)),
            "split": TextColumn(split[hour], ["train", "val", "test"]),
            "start_s": np.minimum(second, 3598).astype(float),
            "duration_s": np.ones(n),
        }
    )


def write_features(path: Path, columns: int, n_mels: int) -> None:
    """Write a sparse file: a hundredth of it is noise, the rest is never written."""
    rng = np.random.default_rng(1)
    block = 4096
    with open(path, "wb") as stream:
        for first in range(0, columns, 100 * block):
            stream.seek(4 * n_mels * first)
            stream.write(rng.normal(-60, 12, (min(block, columns - first), n_mels)).astype(np.float32).tobytes())
        stream.truncate(4 * n_mels * columns)


class Watch:
    """Peaks of anonymous and of file memory (Linux), looked at ten times a second."""

    def __init__(self) -> None:
        self.anonymous = self.file = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            try:
                text = Path("/proc/self/status").read_text()
            except OSError:
                return
            lines = [line.split() for line in text.splitlines() if line.startswith("Rss")]
            told = {line[0]: int(line[1]) * 1024 for line in lines}
            self.anonymous, self.file = max(self.anonymous, told["RssAnon:"]), max(self.file, told["RssFile:"])

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
