# SPDX-License-Identifier: MIT
"""What window selection, background gaps and the teacher pass are worth, on held-out recordists.

    python scripts/bench_selection.py DIR/xc_species3/metadata.csv --field DIR/soundscapes --out table.json

Cross-validated by recordist (column author, or --group-column). In each fold the same network is trained on five
variants of the training data: nothing done, everything done, and everything but one. All variants are tested on the
same windows: every window of the held-out recordings (clip accuracy: mean score of a clip's windows; window accuracy:
windows with activity) and, for false alarms, windows of recordings without the species (--field: folders no_bird).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.config import BuildConfig, FeatureConfig, SplitConfig, TrainConfig, WindowConfig
from cheep.datasets.build import build_manifest
from cheep.datasets.manifest import Manifest
from cheep.datasets.sources.folders import recordings_in_noise_folder
from cheep.datasets.sources.lists import recordings_in_csv
from cheep.datasets.sources.recording import Recording
from cheep.datasets.teacher import TeacherConfig, teach, window_statistics

VARIANTS = {
    "nothing": (False, False, False),
    "all three": (True, True, True),
    "all but selection": (False, True, True),
    "all but gaps": (True, False, True),
    "all but teacher": (True, True, False),
}


def every_window(recordings: list[Recording], rate: int) -> Manifest:
    """Return all windows of ``recordings`` with level, fate and reason, whatever the selection says."""
    windows = WindowConfig(gaps=True, gaps_per_recording=1000)
    config = BuildConfig(sample_rate_hz=rate, windows=windows, split=SplitConfig(val=0.1, test=0.1))
    built = build_manifest(recordings, config)
    return Manifest.from_rows([*built.manifest.rows(), *built.left_out.rows()])


def true_label(manifest: Manifest, recordings: list[Recording]) -> np.ndarray:
    """Return (n,) the label of each row's recording: gaps carry the background's in the manifest."""
    label = {item.path.resolve(): item.label for item in recordings}
    return np.array([label[manifest.audio_path(row).resolve()] for row in range(len(manifest))])


def variant(windows: Manifest, species: np.ndarray, use: tuple[bool, bool, bool], statistics: np.ndarray, seed: int):
    """Return ``(rows, labels)`` that one variant trains on."""
    selection, gaps, teacher = use
    reason = np.array(windows.column("reason"))
    keep = np.ones(len(windows), bool) if not selection else reason == "active"
    label = species.astype(object)
    if gaps:
        keep |= reason == "quiet gap"
        label[reason == "quiet gap"] = "background"
    elif selection:
        keep &= reason == "active"
    rows = np.flatnonzero(keep & (np.array(windows.column("split")) != "test"))
    if teacher:
        part = windows.select(rows).with_column("label", label[rows].tolist())
        found = teach(part, TeacherConfig(seed=seed, trees=100), jobs=1, statistics=statistics[rows])
        rows = np.delete(rows, found.doubtful)
    return rows, label[rows]


def main() -> int:
    """Run the study and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--group-column", default="author")
    parser.add_argument("--field", type=Path, help="folder with a folder no_bird of recordings")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--model", default="sepconv_m", help="a network, or forest: fast, and less noisy")
    parser.add_argument("--sample-rate", type=int, default=8000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from sklearn.model_selection import StratifiedGroupKFold

    recordings = recordings_in_csv(args.csv, columns={"group": args.group_column})
    windows = every_window(recordings, args.sample_rate)
    species = true_label(windows, recordings)
    features = TeacherConfig(sample_rate_hz=args.sample_rate).features()
    statistics, _ = window_statistics(windows, features)
    names = sorted(set(species))
    groups = np.unique(np.array(windows.column("group")), return_inverse=True)[1]
    field = None
    if args.field:
        noise = recordings_in_noise_folder(args.field / "no_bird", "background")
        field = Manifest.from_rows(
            [
                {"path": str(r.path), "label": "background", "start_s": s, "duration_s": 1.0}
                for r in noise
                for s in range(9)
            ]
        )
    rows = []
    y = np.searchsorted(names, species)
    with tempfile.TemporaryDirectory() as folder:
        if args.model == "forest":
            learner = Forest(windows, field, features, statistics)
        else:
            learner = Network(windows, field, features, args.model, args.epochs, Path(folder))
        splitter = StratifiedGroupKFold(args.folds, shuffle=True, random_state=1)
        for fold, (train, test) in enumerate(splitter.split(y, y, groups)):
            inner = StratifiedGroupKFold(5, shuffle=True, random_state=2)
            val = train[next(inner.split(y[train], y[train], groups[train]))[1]]
            split = np.full(len(windows), "train", object)
            split[val], split[test] = "val", "test"
            here = windows.with_column("split", split.tolist())
            for name, use in VARIANTS.items():
                for seed in range(1, args.seeds + 1):
                    begin = time.monotonic()
                    chosen, labels = variant(here, species, use, statistics, seed)
                    learner.learn(here, chosen, labels, seed)
                    result = score(learner.scores(test, names), here.select(test), y[test])
                    if field is not None:
                        result["field_alarms"] = float((learner.field_scores(names).max(axis=1) >= 0.5).mean())
                    result |= {"fold": fold, "variant": name, "seed": seed, "windows": len(chosen)}
                    rows.append(result)
                    print(f"{result} {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
                    if args.out:
                        args.out.write_text(json.dumps(rows, indent=1))
    show(rows)
    return 0


class Forest:
    """A random forest on the log-mel statistics of a window."""

    def __init__(self, windows: Manifest, field: Manifest | None, features: FeatureConfig, statistics: np.ndarray):
        self._x = statistics
        self._field = window_statistics(field, features)[0] if field is not None else None

    def learn(self, here: Manifest, rows: np.ndarray, labels: np.ndarray, seed: int) -> None:
        """Fit on ``rows``; validation windows are training windows here."""
        from sklearn.ensemble import RandomForestClassifier

        self._model = RandomForestClassifier(200, class_weight="balanced", min_samples_leaf=2, random_state=seed)
        self._model.fit(self._x[rows], labels.astype(str))

    def _of(self, x: np.ndarray, names: list[str]) -> np.ndarray:
        return self._model.predict_proba(x)[:, [self._model.classes_.tolist().index(name) for name in names]]

    def scores(self, rows: np.ndarray, names: list[str]) -> np.ndarray:
        """Return (n, names) probabilities of windows."""
        return self._of(self._x[rows], names)

    def field_scores(self, names: list[str]) -> np.ndarray:
        """Return (n, names) probabilities of the field windows."""
        return self._of(self._field, names)


class Network:
    """The project's float network and training loop."""

    def __init__(
        self, windows: Manifest, field: Manifest | None, features: FeatureConfig, model: str, epochs: int, folder: Path
    ):
        from cheep.training.data import load_cache

        self._windows, self._field, self._features = windows, field, features
        self._name, self._epochs = model, epochs
        self._cache = load_cache(windows, features, folder / "a")
        self._field_cache = load_cache(field, features, folder / "b") if field is not None else None

    def learn(self, here: Manifest, rows: np.ndarray, labels: np.ndarray, seed: int) -> None:
        """Train on the train windows among ``rows``; the val windows choose the epoch."""
        from cheep.models import build_model
        from cheep.tf_runtime import import_tf
        from cheep.training.data import LabelPlan, window_set
        from cheep.training.loop import fit

        keras = import_tf().keras
        keras.backend.clear_session()
        chosen = here.select(rows).with_column("label", labels.tolist())
        config = TrainConfig(model=self._name, epochs=self._epochs, seed=seed)
        self._plan = LabelPlan.of(chosen, config)
        sets = [window_set(chosen.of_split(part), self._cache, self._plan) for part in ("train", "val")]
        keras.utils.set_random_seed(seed)
        shape = (self._features.window_frames, self._features.n_mels)
        self._model = build_model(self._name, shape, len(self._plan.labels), self._plan.activation, config.dropout)
        fit(self._model, *sets, config)

    def _of(self, part: Manifest, cache, names: list[str]) -> np.ndarray:
        from cheep.training.data import window_set

        x = window_set(part, cache, self._plan).all()[..., None]
        return self._model.predict(x, batch_size=512, verbose=0)[:, [self._plan.labels.index(name) for name in names]]

    def scores(self, rows: np.ndarray, names: list[str]) -> np.ndarray:
        """Return (n, names) scores of windows."""
        return self._of(self._windows.select(rows), self._cache, names)

    def field_scores(self, names: list[str]) -> np.ndarray:
        """Return (n, names) scores of the field windows."""
        return self._of(self._field, self._field_cache, names)


def score(scores: np.ndarray, test: Manifest, truth: np.ndarray) -> dict[str, float]:
    """Return clip and window accuracy on the same windows for every variant."""
    active = np.array(test.column("reason")) == "active"
    codes, _ = test.codes("path")
    hits = []
    for code in np.unique(codes):
        mine = codes == code
        hits.append(scores[mine].mean(axis=0).argmax() == truth[mine][0])
    return {
        "clip_accuracy": float(np.mean(hits)),
        "clips": len(hits),
        "window_accuracy": float((scores.argmax(axis=1) == truth)[active].mean()),
        "gap_alarms": float((scores[np.array(test.column("reason")) == "quiet gap"].max(axis=1) >= 0.5).mean())
        if (np.array(test.column("reason")) == "quiet gap").any()
        else float("nan"),
    }


def show(rows: list[dict]) -> None:
    """Print the means over folds and seeds, weighted by clips, with the deviation over folds of the difference."""
    base = {(r["fold"], r["seed"]): r["clip_accuracy"] for r in rows if r["variant"] == "all three"}
    print("variant             windows  clip accuracy  against all three      window accuracy  field alarms")
    for name in VARIANTS:
        mine = [r for r in rows if r["variant"] == name]
        if not mine:
            continue
        weight = [r["clips"] for r in mine]
        difference = np.array(
            [r["clip_accuracy"] - base[r["fold"], r["seed"]] for r in mine if (r["fold"], r["seed"]) in base]
        )
        error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else float("nan")
        alarms = np.mean([r.get("field_alarms", np.nan) for r in mine])
        print(
            f"{name:<18}  {np.mean([r['windows'] for r in mine]):7.0f}  "
            f"{np.average([r['clip_accuracy'] for r in mine], weights=weight):13.3f}  "
            f"{difference.mean():+9.3f} +- {error:.3f}  "
            f"{np.average([r['window_accuracy'] for r in mine], weights=weight):19.3f}  {alarms:12.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
