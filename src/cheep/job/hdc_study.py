# SPDX-License-Identifier: MIT
"""What the head costs in accuracy, step by step, on a trained run: the numbers of the validation report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import FeatureConfig, TrainConfig
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError
from cheep.files import needed, read_json
from cheep.hdc.config import HdcConfig
from cheep.hdc.estimator import HdcClassifier, refine
from cheep.hdc.export import sizes
from cheep.hdc.extractor import Extractor, cut_at_embedding
from cheep.hdc.learner import HdcLearner
from cheep.hdc.model import HdcModel
from cheep.job.windows import load_windows
from cheep.models.saved import load_keras

SPLITS = ("train", "val", "test")
PASSES = 10  # of rehearsal, as CHEEP_HDC_APP_PASSES


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A split: windows through the float network and through the int8 network.

    Attributes
    ----------
    float_embedding, float_scores
        (n, n_dims) and (n, classes) float32 of the Keras model.
    embedding, scores
        (n, n_dims) int8 of the extractor, (n, classes) int8 of the whole int8 model.
    target, clip
        (n,) class index; id of the clip or recording.
    """

    float_embedding: np.ndarray
    float_scores: np.ndarray
    embedding: np.ndarray
    scores: np.ndarray
    target: np.ndarray
    clip: np.ndarray


@dataclasses.dataclass(frozen=True)
class Study:
    """A run's splits and its extractor."""

    labels: tuple[str, ...]
    features: FeatureConfig
    extractor: Extractor
    model_bytes: int
    splits: dict[str, Embedded]


@dataclasses.dataclass(frozen=True)
class NewClasses:
    """Windows of classes that the network has never seen, as int8 and float embeddings: training and test clips."""

    labels: tuple[str, ...]
    train: Embedded
    test: Embedded


def load_study(run: Path) -> Study:
    """Compute (or read again) the embeddings of a run that has been trained and quantized.

    Raises
    ------
    CheepError
        The run is not trained or quantized, or has fewer than two softmax classes.
    """

    training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
    if training["activation"] != "softmax":
        raise CheepError(
            f"{run}: one species against the background; a hyperdimensional head needs two or more labels (softmax)"
        )
    features = FeatureConfig.parse(training["features"], str(run / runs.TRAINING))
    config = TrainConfig.parse(training["train"], str(run / runs.TRAINING))
    tflite = needed(run / runs.INT8_TFLITE, runs.QAT_COMMAND).read_bytes()
    extractor = cut_at_embedding(tflite)
    windows = load_windows(run, features, config)
    splits = _embed_splits(run, windows, extractor)
    return Study(tuple(windows.plan.labels), features, extractor, len(tflite), splits)


def load_new_classes(run: Path, others: Path) -> NewClasses:
    """Embed the recordings of another run folder (only its ``dataset.csv`` is used) with the network of ``run``."""

    training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
    features = FeatureConfig.parse(training["features"], str(run / runs.TRAINING))
    config = TrainConfig.parse(training["train"], str(run / runs.TRAINING))
    tflite = needed(run / runs.INT8_TFLITE, runs.QAT_COMMAND).read_bytes()
    windows = load_windows(others, features, config)
    splits = _embed_splits(run, windows, cut_at_embedding(tflite))
    return NewClasses(tuple(windows.plan.labels), splits["train"], splits["test"])


def _embed_splits(run: Path, windows: Any, extractor: Extractor) -> dict[str, Embedded]:
    from cheep.compiler import CompiledModel
    from cheep.features import quantize
    from cheep.tf_runtime import import_tf

    keras = import_tf().keras
    network = load_keras(run / runs.FLOAT_MODEL)
    both = keras.Model(network.input, [network.get_layer("embedding").output, network.output])
    whole = CompiledModel(run / runs.INT8_TFLITE)
    scale = load_bundle(run / runs.INT8_TFLITE).scale
    splits = {}
    for name in SPLITS:
        part = windows.splits[name]
        if not len(part):
            raise CheepError(f"{run}: no windows in split {name!r}; split again with {runs.SPLIT_COMMAND}")
        x = part.all()
        float_embedding, float_scores = both.predict(x[..., None], batch_size=512, verbose=0)
        q = quantize(x, whole.inputs[0].scale, whole.inputs[0].zero_point)
        splits[name] = Embedded(
            float_embedding.reshape(len(x), -1),
            float_scores,
            extractor.embed(q),
            scale.probabilities(whole.scores(q)),
            part.targets.argmax(axis=1),
            part.clip,
        )
    return splits


def _by_clip(scores: np.ndarray, part: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Return, by clip, which class (clips,) int has the largest sum of scores, and which one it is."""
    ids, inverse = np.unique(part.clip, return_inverse=True)
    total = np.zeros((len(ids), scores.shape[1]))
    np.add.at(total, inverse, scores)
    target = np.zeros(len(ids), int)
    target[inverse] = part.target
    return total.argmax(axis=1), target


def accuracies(scores: np.ndarray, part: Embedded) -> dict[str, float]:
    """Return window and clip accuracy (a clip's scores are the mean of its windows').

    ``scores`` : (windows, classes) int8, int32 or float.
    """
    scores = np.asarray(scores, np.float64)
    found, target = _by_clip(scores, part)
    return {
        "window_accuracy": float(np.mean(scores.argmax(axis=1) == part.target)),
        "clip_accuracy": float(np.mean(found == target)),
        "clips_right": int(np.sum(found == target)),
        "clips": len(target),
    }


def train_head(study: Study, config: HdcConfig, part: Embedded | None = None) -> HdcModel:
    """Train a head on the int8 embeddings of the training split, or of ``part``."""
    part = study.splits["train"] if part is None else part
    names = np.array(study.labels)[part.target]
    classifier = HdcClassifier(**config.to_dict()).fit(part.embedding, names)
    fitted = classifier.model(study.extractor.sha256, study.extractor.scale, study.extractor.zero_point)
    order = [fitted.labels.index(label) for label in study.labels]  # the network's order
    return dataclasses.replace(
        fitted,
        prototypes=fitted.prototypes[order],
        labels=study.labels,
        reminders=None if fitted.reminders is None else fitted.reminders[order],
    )


def join(*parts: Embedded) -> Embedded:
    """Return the windows of several splits as one."""
    names = [field.name for field in dataclasses.fields(Embedded)]
    return Embedded(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def rows_of(part: Embedded, rows: np.ndarray) -> Embedded:
    """Return some windows of a split; ``rows`` : (k,) int64 or a (windows,) bool mask."""
    return Embedded(*(getattr(part, field.name)[rows] for field in dataclasses.fields(Embedded)))


def steps(
    study: Study, base: HdcConfig, instructions: Callable[[HdcModel, bool], int] | None = None
) -> list[dict[str, Any]]:
    """Return one row per step from the float head to the 1-bit head: accuracy on the test split, bytes.

    ``instructions`` counts those of one classification by a head (with its projection as a table or not); the rows of
    heads then hold them.
    """
    test = study.splits["test"]
    rows = [
        {"step": "float network, softmax", **accuracies(test.float_scores, test), "bytes": 0},
        {"step": "int8 network, softmax", **accuracies(test.scores, test), "bytes": study.model_bytes},
        {"step": "float network, float HDC", **accuracies(_float_hdc(study, base), test), "bytes": 0},
    ]
    for projection, form, table in (
        ("gaussian", "int8", True),
        ("hadamard", "int8", False),
        ("hadamard", "bipolar", False),
        ("hadamard", "binary", False),
    ):
        config = base.model_copy(update={"projection": projection, "form": form})
        model = train_head(study, config)
        counted = {} if instructions is None else {"instructions": instructions(model, table)}
        rows.append(
            {
                "step": f"int8 network, {form} HDC, {projection}" + (" table" if table else ""),
                **accuracies(model.scores(test.embedding), test),
                "bytes": sizes(model, len(study.extractor.data), 0, table)["total"],
                **counted,
            }
        )
    return rows


def _float_hdc(study: Study, config: HdcConfig) -> np.ndarray:
    """Scores of the test split with everything in floating point: Gaussian projection, no rounding anywhere."""
    train, test = study.splits["train"], study.splits["test"]
    rng = np.random.default_rng(config.seed)
    matrix = rng.normal(size=(train.float_embedding.shape[1], config.hyper))
    center = train.float_embedding.mean(axis=0)
    deviation = train.float_embedding.std(axis=0)
    deviation = np.maximum(deviation, 0.25 * np.sqrt(np.mean(deviation**2)))
    hv = [np.clip(((p.float_embedding - center) / deviation) @ matrix, -4 * 8, 4 * 8) for p in (train, test)]
    classes = np.arange(len(study.labels))
    sums = (train.target[None] == classes[:, None]).astype(float) @ hv[0]
    sums = refine(sums, hv[0], train.target, config).astype(float)
    unit = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return hv[1] @ unit.T / np.linalg.norm(hv[1], axis=1, keepdims=True)


def against_hyper(study: Study, base: HdcConfig, values: Sequence[int]) -> list[dict[str, Any]]:
    """Return accuracy on the test split for hypervectors of each length, int8 and 1-bit."""
    test = study.splits["test"]
    rows = []
    for hyper in values:
        for form in ("int8", "binary"):
            model = train_head(study, base.model_copy(update={"hyper": hyper, "form": form}))
            rows.append({"hyper": hyper, "form": form, **accuracies(model.scores(test.embedding), test)})
    return rows


def draw_clips(part: Embedded, cls: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the windows of ``n`` random clips of class ``cls``: rows of ``part``, (k,) int64."""
    clips = np.unique(part.clip[part.target == cls])
    if len(clips) < n:
        raise CheepError(f"class {cls}: {len(clips)} training clips; {n} are asked for")
    return np.flatnonzero(np.isin(part.clip, rng.choice(clips, n, replace=False)))


def against_examples(study: Study, base: HdcConfig, values: Sequence[int], draws: int = 10) -> list[dict[str, Any]]:
    """Return accuracy on the test split when prototypes are bundles of 1, 5, ... clips per class: mean and spread.

    Clips are drawn from training and validation split: bundling has nothing to validate.
    """
    part, test = join(study.splits["train"], study.splits["val"]), study.splits["test"]
    bundled = base.model_copy(update={"epochs": 0})
    rows = []
    for n in values:
        found = []
        for draw in range(draws):
            rng = np.random.default_rng([base.seed, n, draw])
            chosen = np.concatenate([draw_clips(part, c, n, rng) for c in range(len(study.labels))])
            model = train_head(study, bundled, rows_of(part, chosen))
            found.append(accuracies(model.scores(test.embedding), test)["clip_accuracy"])
        rows.append({"examples": n, "clip_accuracy": float(np.mean(found)), "spread": float(np.std(found))})
    return rows


def few_shot(
    study: Study, new: NewClasses, base: HdcConfig, n: int, draws: int = 10, softmax: bool = True
) -> dict[str, Any]:
    """Add new classes from ``n`` clips each: accuracy on old, new and all test clips, beside retraining softmax.

    The device learns window by window into two slots beside the fixed prototypes (``bundle``), and rehearses after each
    class (``hdc``). The softmax head for comparison is trained again on the float embeddings of all old training
    windows and the same new clips.
    """
    old = study.splits["test"]
    n_old = len(study.labels)
    model = train_head(study, base)
    both = Embedded(
        np.vstack([old.float_embedding, new.test.float_embedding]),
        np.zeros(0),
        np.vstack([old.embedding, new.test.embedding]),
        np.zeros(0),
        np.concatenate([old.target, new.test.target + n_old]),
        np.concatenate([old.clip, new.test.clip + 1_000_000]),
    )
    results: dict[str, list[dict[str, float]]] = {"bundle": [], "hdc": [], "softmax": []}
    for draw in range(draws):
        rng = np.random.default_rng([base.seed, n, draw])
        chosen = [draw_clips(new.train, c, n, rng) for c in range(len(new.labels))]
        for kind, passes in (("bundle", 0), ("hdc", PASSES)):
            learner = HdcLearner(model, len(new.labels))
            for name, rows in zip(new.labels, chosen, strict=True):
                index = learner.add_class(name[:15])
                for row in rows:
                    learner.learn(index, new.train.embedding[row])
                learner.rehearse(passes)
            results[kind].append(_old_new(learner.scores(both.embedding), both, n_old))
        if softmax:
            again = _softmax_again(study, new, np.concatenate(chosen), both)
            results["softmax"].append(_old_new(again, both, n_old))
    before = accuracies(model.scores(old.embedding), old)["clip_accuracy"]
    out: dict[str, Any] = {"examples": n, "draws": draws, "old_before": before}
    for kind, found in results.items():
        if not found:
            continue
        for key in ("old", "new", "all"):
            values = [f[key] for f in found]
            out[f"{kind}_{key}"], out[f"{kind}_{key}_spread"] = float(np.mean(values)), float(np.std(values))
    return out


def _softmax_again(study: Study, new: NewClasses, chosen: np.ndarray, test: Embedded) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    old = study.splits["train"]
    x = np.vstack([old.float_embedding, new.train.float_embedding[chosen]])
    y = np.concatenate([old.target, new.train.target[chosen] + len(study.labels)])
    scaler = StandardScaler().fit(x)
    head = LogisticRegression(max_iter=300, class_weight="balanced").fit(scaler.transform(x), y)
    return head.predict_proba(scaler.transform(test.float_embedding))


def _old_new(scores: np.ndarray, part: Embedded, n_old: int) -> dict[str, float]:
    found, target = _by_clip(np.asarray(scores, np.float64), part)
    right = found == target
    return {"old": right[target < n_old].mean(), "new": right[target >= n_old].mean(), "all": right.mean()}
