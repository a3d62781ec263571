# SPDX-License-Identifier: MIT
"""One fold of bench_accuracy.py: train, quantize, measure; each finished step is kept, and taken up again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from bench_bird import (
    BIRD,
    Counted,
    Streamed,
    stream_recordings,
)
from cheep import runs
from cheep.audio import probe, read_audio
from cheep.config import FeatureConfig, RunFile
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.soft import SOFT_LABELS, write_soft
from cheep.device.bundle import load_bundle
from cheep.ears import Ears
from cheep.ears.papers import PAPERS, sign
from cheep.ears.soften import soften
from cheep.errors import CheepError
from cheep.evaluate.streaming import best_scorer, score_blocks
from cheep.evaluate.windows import WindowScores, summarize
from cheep.features.cache import centre_in_silence
from cheep.files import plain, read_json, write_json
from cheep.job.quantize import quantize_run
from cheep.job.scores import int8_scores
from cheep.job.train import train_network
from cheep.job.windows import load_windows
from cheep.provenance import code_digest
from cheep.tflite.tflm import TflmModel
from cheep.training.data import load_cache, window_set

STATE = "bench.json"  # of a fold: what it was made from, what is done
STREAMED = "streamed.npz"  # scores of the bird task's held-out recordings


def run_fold(
    manifest: Manifest,
    recipe: RunFile,
    folder: Path,
    cache: Path,
    field: Manifest | None,
    float_only: bool = False,
    ears: Ears | None = None,
    measured: bool = True,
) -> dict[str, Any]:
    """Train the recipe on one split; return the metrics of float, QAT and int8, sizes, and field scores.

    ``ears`` make the soft labels of the training windows, where the recipe has a ``train.soft_weight``; they hear
    nothing that is judged.

    Without ``measured`` nothing is streamed (a second network, which is heard behind the first). ``float_only`` stops
    after the float network: enough to compare choices, in half of the time. Each step that is finished is kept in
    ``folder`` (``bench.json``), and taken up by the next call with the same settings and data; teachers, too.

    Raises
    ------
    CheepError
        ``folder`` holds a training of other settings or data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    if not (folder / "features").is_symlink():
        (folder / "features").symlink_to(cache.resolve(), target_is_directory=True)
    gap = np.array([reason == "gap" for reason in _column(manifest, "reason")])
    test = np.array([split == "test" for split in manifest.column("split")])
    state = _taken_up(folder, manifest.select(~(gap & test)), recipe, ears)
    done = state["seconds"]
    if "train" not in done:
        begin = time.monotonic()
        if ears is not None:
            soften_fold(folder, ears, cache)
        train_network(folder, recipe.features, recipe.train, on_epoch=epochs(folder.name))
        done["train"] = time.monotonic() - begin
        write_json(folder / STATE, state)
    if float_only:
        return {"metrics": read_json(folder / runs.TRAINING, STATE)["metrics"], "seconds": done["train"]}
    if "quantize" not in done:
        begin = time.monotonic()
        quantize_run(folder, recipe.quantize, on_epoch=epochs(f"{folder.name}, int8"))
        done["quantize"] = time.monotonic() - begin
        write_json(folder / STATE, state)
    if not measured:
        return {"seconds": done["train"] + done["quantize"]}
    heard = without_gaps(manifest.of_split("test"))
    measured_by = [_measuring_code(), "" if field is None else digest(list(field.rows()))]
    if state.get("measured_by") != measured_by:
        print(f"{folder.name}: measuring", file=sys.stderr, flush=True)
        state["result"] = plain(measure(folder, heard, recipe, cache, field))
        state["measured_by"] = measured_by
        write_json(folder / STATE, state)
    result = {**state["result"], "seconds": done["train"] + done["quantize"]}
    if recipe_is_bird(heard):
        result["counted"] = Counted(Streamed.load(folder / STREAMED, folder / runs.INT8_TFLITE))
    return result


def soften_fold(folder: Path, ears: Ears, cache: Path) -> None:
    """Write the soft labels of a fold's training windows; what was heard is kept in ``cache``, for every fold."""
    if (folder / SOFT_LABELS).is_file():
        return
    print(f"{folder.name}: {ears.about.title} hears the training windows", file=sys.stderr, flush=True)
    manifest = load_manifest(folder / runs.DATASET)
    said = soften(manifest, ears, cache, progress=_heard(folder.name))
    for text in said.problems:
        print(text, file=sys.stderr)
    print(f"{folder.name}: a probe is right on {said.accuracy:.3f} of groups it has not heard", file=sys.stderr)
    write_soft(folder / SOFT_LABELS, manifest, said.labels, said.values)
    sign(folder / PAPERS, ears.about, "taught soft labels")


def _heard(text: str) -> Callable[[int, int], None]:
    said = [time.monotonic()]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - said[0] > 25:
            said[0] = time.monotonic()
            print(f"{text}: heard {done} of {total} recordings", file=sys.stderr, flush=True)

    return progress


def epochs(text: str) -> Callable[[int, int, dict[str, float]], None]:
    """Return what a training calls after each epoch: a line at the first, the last, and every 25 s between."""
    said = [0.0]

    def on_epoch(epoch: int, total: int, numbers: dict[str, float]) -> None:
        if numbers and (time.monotonic() - said[0] > 25 or epoch == total):
            said[0] = time.monotonic()
            print(f"{text}: epoch {epoch} of {total}, loss {numbers['loss']:.3f}", file=sys.stderr, flush=True)

    return on_epoch


def measure(folder: Path, heard: Manifest, recipe: RunFile, cache: Path, field: Manifest | None) -> dict[str, Any]:
    """Return what the trained networks in ``folder`` reach on ``heard``; scores of the bird task are kept beside."""
    result = json.loads((folder / runs.EVALUATION).read_text())
    result["memory"] = _compiled_memory(folder / runs.INT8_TFLITE, recipe.features)
    result["streamed"] = streamed_accuracy(folder, heard)
    wide = full_band(heard, recipe.features.sample_rate_hz)
    result["narrow_windows"] = len(heard) - len(wide)
    result["full_band"] = result["metrics"]["int8"]["test"] if len(wide) else None
    if 0 < len(wide) < len(heard):
        result["full_band"] = summarize(field_scores(folder, wide, recipe, cache))
    if field is not None:
        result["field"] = summarize(field_scores(folder, field, recipe, cache))
    if recipe_is_bird(heard):
        stream_recordings(folder / runs.INT8_TFLITE, heard).save(folder / STREAMED)
    return result


def without_gaps(manifest: Manifest) -> Manifest:
    """Return the windows without the quiet gaps of bird recordings, which are for training only."""
    return manifest.select(np.array([reason != "gap" for reason in _column(manifest, "reason")], bool))


def recipe_is_bird(heard: Manifest) -> bool:
    """Say whether these windows are the bird task's."""
    return set(heard.column("label")) == {BIRD, "background"}


def _taken_up(folder: Path, data: Manifest, recipe: RunFile, ears: Ears | None) -> dict[str, Any]:
    """Return the state of a fold's folder, and write its data set where it is new."""
    made_from = {
        "features": recipe.features.to_dict(),
        "train": recipe.train.to_dict(),
        "quantize": recipe.quantize.to_dict(),
        "data": digest(list(data.rows())),
        **({} if ears is None else {"ears": ears.key}),
    }
    code = code_digest("cheep.job.train", "cheep.job.quantize")
    if (folder / STATE).is_file():
        state = read_json(folder / STATE, "bench_accuracy.py")
        other = [name for name in made_from if state["made_from"].get(name) != plain(made_from[name])]
        if other and state["seconds"]:
            raise CheepError(
                f"{folder}: holds a training with other {' and '.join(other)}; give another --keep, or remove it"
            )
        if not other and state["code"] != code:
            print(f"{folder.name}: taken up; it was trained by an earlier state of the code", file=sys.stderr)
        if not other:
            return state
    data.write(folder / runs.DATASET)
    state = {"made_from": plain(made_from), "code": code, "seconds": {}}
    write_json(folder / STATE, state)
    return state


def digest(value: Any) -> str:
    """Return a digest of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _measuring_code() -> str:
    own = [Path(__file__), Path(__file__).with_name("bench_bird.py")]
    return digest([code_digest("cheep.evaluate.streaming", "cheep.job.scores"), *(path.read_text() for path in own)])


def field_scores(folder: Path, field: Manifest, recipe: RunFile, cache: Path) -> WindowScores:
    """Return the int8 scores of recordings that are no part of the data set."""
    windows = load_windows(folder, recipe.features, recipe.train)
    part = window_set(field, load_cache(field, recipe.features, cache), windows.plan)
    bundle = load_bundle(folder / runs.INT8_TFLITE)
    outside = dataclasses.replace(windows, splits={"field": part})
    return int8_scores(TflmModel(bundle.path), outside, bundle.scale)["field"]


def full_band(test: Manifest, sample_rate_hz: int) -> Manifest:
    """Return the windows of recordings made at the features' rate or above.

    A recording made at a lower rate has empty upper bands: a network may tell by them where a sound comes from.
    """
    rate = {path: probe(test.folder / path).sample_rate_hz for path in set(test.column("path"))}
    return test.select(np.array([rate[path] >= sample_rate_hz for path in test.column("path")], bool))


def forest_accuracy(manifest: Manifest, features: FeatureConfig, cache: Path) -> float:
    """Return the clip accuracy of a random forest on log-mel statistics, fitted on the same split (train and val)."""
    from sklearn.ensemble import RandomForestClassifier

    data = load_cache(manifest, features.model_copy(update={"compression": "db"}), cache)
    names = manifest.column("path")
    _, first = np.unique(np.array(names), return_index=True)
    x, y, test = [], [], []
    labels, split = manifest.column("label"), manifest.column("split")
    for row in first:
        begin, count = data.spans[names[row]]
        columns = data.columns[begin : begin + count]
        statistics = [columns.mean(0), columns.std(0), *np.percentile(columns, [10, 50, 90], axis=0)]
        x.append(np.concatenate(statistics))
        y.append(labels[row])
        test.append(split[row] == "test")
    x, y, test = np.array(x), np.array(y), np.array(test)
    forest = RandomForestClassifier(500, random_state=1, n_jobs=2).fit(x[~test], y[~test])
    return float(forest.score(x[test], y[test]))


def streamed_accuracy(folder: Path, test: Manifest) -> float | None:
    """Return the share of clips whose strongest score, streamed through the device's path, is their label's.

    A window every ``stride_frames`` columns, as on the device; the class with the highest score anywhere in the clip is
    the answer. A clip shorter than a window stands in silence. None for a detector of one label.
    """
    bundle = load_bundle(folder / runs.INT8_TFLITE)
    if len(bundle.labels) == 1:
        return None
    scorer, _ = best_scorer(bundle)
    right = []
    for path, label in {row["path"]: row["label"] for row in test.rows()}.items():
        pcm = read_audio(test.folder / path, bundle.features.sample_rate_hz)
        pcm = centre_in_silence(pcm, bundle.features.window_samples)
        scores, _ = score_blocks(bundle, scorer, [pcm])
        right.append(bundle.labels[int(bundle.scale.values(scores).max(axis=0).argmax())] == label)
    return float(np.mean(right))


def _compiled_memory(path: Path, features: FeatureConfig) -> dict[str, int]:
    """Return the RAM of the compiled network: whole windows (with the window itself), and column by column."""
    from cheep.compiler import compile_model

    try:
        compiled = compile_model(path)
    except CheepError:
        return {}
    out = {"ram_bytes": compiled.memory_bytes + features.window_frames * features.n_mels}
    if compiled.stream:
        out["stream_ram_bytes"] = compiled.stream["memory_bytes"]
    return out


def _column(manifest: Manifest, name: str) -> list[str]:
    return manifest.column(name) if name in manifest.columns else [""] * len(manifest)
