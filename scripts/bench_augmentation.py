# SPDX-License-Identifier: MIT
"""What each augmentation is worth on field recordings: bird against background with each one alone, and without each.

  python scripts/bench_augmentation.py --data DIR [--folds 0,1] [--epochs 20] [--json]

DIR is laid out as for bench_accuracy.py. Every variant trains the same float network from the same seed on the same
fold; the test windows are of recordings never trained on, the field is the labelled soundscapes (one site, test only).
Copies (response, distance, mix) double the training recordings; the others act in every epoch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_accuracy as data
from bench_bird import bird_windows, jura_windows
from cheep import runs
from cheep.audio.augment import WaveformAugment
from cheep.config import AugmentConfig, FeatureConfig, TrainConfig, load_run_file
from cheep.datasets.manifest import Manifest
from cheep.errors import CheepError
from cheep.evaluate.windows import WindowScores, roc_auc
from cheep.job.windows import load_windows
from cheep.models import build_model
from cheep.tf_runtime import seed_everything
from cheep.training.copies import add_copies
from cheep.training.data import load_cache, window_set
from cheep.training.loop import fit

OFF = {"gain_db": 0, "tilt_db": 0, "band_db": 0, "shift_frames": 0, "mix_probability": 0, "mask_frames": 0,
       "mask_bands": 0, "mixup_alpha": 0}  # fmt: skip
ON: dict[str, dict[str, Any]] = {
    "gain": {"gain_db": 6},
    "tilt": {"tilt_db": 6},
    "shift": {"shift_frames": 8},
    "mix (columns)": {"mix_probability": 0.5, "mix_snr_db": (-5, 20)},
    "SpecAugment": {"mask_frames": 6, "mask_bands": 6},
    "mixup": {"mixup_alpha": 0.2},
}
NO_COPIES = {"response_probability": 0, "distance_probability": 0, "mix_probability": 0, "gain_db": 0}
COPIES: dict[str, dict[str, Any]] = {
    "response (copies)": {"response_probability": 1},
    "distance (copies)": {"distance_probability": 1},
    "mix (copies)": {"mix_probability": 1, "mix_snr_db": (-5, 20)},
}


def variants() -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return (settings in every epoch, settings of copies or None) by name."""
    everything = {key: value for settings in ON.values() for key, value in settings.items()}
    out: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {"none": ({}, None)}
    out |= {name: (settings, None) for name, settings in ON.items()}
    out |= {name: ({}, settings) for name, settings in COPIES.items()}
    out["all in every epoch"] = (everything, None)
    for name, settings in ON.items():
        out[f"all but {name}"] = ({k: v for k, v in everything.items() if k not in settings}, None)
    copies = {"response_probability": 0.7, "distance_probability": 0.5, "mix_probability": 0.5}
    out["all, and copies"] = (everything, copies)
    return out


def run_variant(
    manifest: Manifest,
    field: Manifest,
    changes: tuple[dict[str, Any], dict[str, Any] | None],
    args,
    work: Path,
    name: str,
) -> dict[str, float]:
    """Train one variant on one fold; return the ROC AUC of held-out and of field windows."""
    features = FeatureConfig()
    in_epoch, copied = changes
    folder = work / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    cache = work / "cache"
    cache.mkdir(exist_ok=True)
    if not (folder / "features").exists():
        (folder / "features").symlink_to(cache, target_is_directory=True)
    if copied is not None:
        settings = WaveformAugment(**{**NO_COPIES, **copied})
        manifest = add_copies(manifest, folder / "augmented", features.sample_rate_hz, settings, seed=args.seed)
    manifest.write(folder / runs.DATASET)
    augment = AugmentConfig(**{**OFF, **in_epoch})
    config = TrainConfig(
        model=args.model, epochs=args.epochs, examples_per_epoch=args.examples, augment=augment, seed=args.seed
    )
    windows = load_windows(folder, features, config)
    seed_everything(args.seed)
    plan = windows.plan
    model = build_model(config.model, (features.window_frames, features.n_mels), len(plan.labels), plan.activation)
    fit(model, windows.splits["train"], windows.splits["val"], config)
    outside = window_set(field, load_cache(field, features, cache), plan)
    scores = {}
    for part_name, part in (("test", windows.splits["test"]), ("field", outside)):
        values = model.predict(part.all()[..., None], batch_size=512, verbose=0)
        scores[part_name] = roc_auc(WindowScores(plan.labels, plan.activation, part.targets, values, part.clip))
    return scores


def main() -> int:
    """Run the variants and print a Markdown table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, metavar="DIR")
    parser.add_argument("--folds", default="0", help="folds to train, such as 0,1 (default 0)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--examples", type=int, default=0, help="per epoch; 0: all")
    parser.add_argument("--model", default="sepconv_s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="variants, separated by ;")
    parser.add_argument("--json", action="store_true", help="print a list of name, value, unit")
    args = parser.parse_args()
    try:
        return _run(args)
    except CheepError as error:
        print(f"bench_augmentation.py: {error}", file=sys.stderr)
        return error.exit_status


def _run(args: argparse.Namespace) -> int:
    root = args.data.resolve()
    window_s = FeatureConfig().window_s
    manifest = Manifest.from_rows(bird_windows(root, window_s), root)
    split = load_run_file(data.RECIPES / "bird.yaml").data.split.model_copy(update={"seed": args.seed})
    folds = data.splits(manifest, split)
    field = Manifest.from_rows(jura_windows(root, window_s), root)
    chosen = [int(text) for text in args.folds.split(",")]
    names = list(variants()) if not args.only else [item.strip() for item in args.only.split(";")]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="cheep-bench-") as folder:
        for fold in chosen:
            for name in names:
                began = time.monotonic()
                found = run_variant(folds[fold], field, variants()[name], args, Path(folder) / str(fold), name)
                results[name].append(found)
                took = time.monotonic() - began
                text = f"fold {fold}, {name}: test {found['test']:.4f}, field {found['field']:.4f}, {took:.0f} s"
                print(text, file=sys.stderr, flush=True)
    mean = {name: {k: float(np.mean([v[k] for v in values])) for k in ("test", "field")} for name, values in
            results.items()}  # fmt: skip
    if args.json:
        print(json.dumps([{"name": f"augmentation.{name}.{k}_auc", "value": v, "unit": "1"}
                          for name, values in mean.items() for k, v in values.items()], indent=1))  # fmt: skip
        return 0
    print("| Augmentation | held-out windows, AUC | field, AUC |\n|---|---|---|")
    for name, values in mean.items():
        print(f"| {name} | {values['test']:.4f} | {values['field']:.4f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
