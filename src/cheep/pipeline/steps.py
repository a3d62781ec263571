# SPDX-License-Identifier: MIT
"""The steps of a pipeline: data, training, quantization, evaluation, benchmarking, prediction, deployment."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep import runs
from cheep.config import FeatureConfig, RunFile, TrainConfig
from cheep.datasets.about import refuse_contradiction, write_about
from cheep.datasets.gather import gather
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.split import fold_splits
from cheep.errors import CheepError
from cheep.evaluate.signals import Heard, check_signals
from cheep.evaluate.windows import WindowScores
from cheep.features.digests import sha256_of
from cheep.files import needed, read_json, write_json
from cheep.job import OnStep, no_step
from cheep.job.export import deploy
from cheep.job.quantize import OTHER_ENDS_TFLITE, quantize_run
from cheep.job.scores import int8_scores, keras_scores
from cheep.job.split import about_examples, is_manifest, make_examples
from cheep.job.train import train_network
from cheep.job.windows import load_windows, plan_of
from cheep.models.saved import load_keras
from cheep.pipeline import foreign
from cheep.pipeline.cache import StepCache, content_key

BENCHMARK, RESULTS = "benchmark.json", "results.json"
Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclasses.dataclass
class Context:
    """One pipeline: settings, the folder of results, the cache, and the keys of the steps done so far."""

    config: RunFile
    run: Path
    cache: StepCache
    say: Say = lambda text: None
    progress: Progress | None = None
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None
    on_step: OnStep = no_step
    keys: dict[str, str] = dataclasses.field(default_factory=dict)
    executed: list[str] = dataclasses.field(default_factory=list)
    cached: list[str] = dataclasses.field(default_factory=list)

    def note(self, step: str, cached: bool) -> None:
        """Record whether a step was run or taken from the cache, and say so."""
        (self.cached if cached else self.executed).append(step)
        self.say(f"{step}: {'unchanged, taken from the cache' if cached else 'done'}")

    @property
    def features(self) -> FeatureConfig:
        """The features: of the model where one is given, else of the run file."""
        manifest = self.run / runs.MANIFEST
        if self.config.run.model and manifest.is_file():
            return FeatureConfig.parse(read_json(manifest, "cheep run")["features"], str(manifest))
        return self.config.features

    @property
    def training(self) -> TrainConfig:
        """The training: of the model where it is known, else of the run file."""
        path = self.run / runs.TRAINING
        if path.is_file():
            return TrainConfig.parse(read_json(path, runs.TRAIN_COMMAND)["train"], str(path))
        return self.config.train


def data_step(context: Context) -> None:
    """Make the examples; ``dataset.csv`` of the run refers to the recordings, or to what was made of them."""
    config = context.config
    listed = None if is_manifest(config.data) else gather(config.data)
    if listed is None:
        refuse_contradiction(Path(config.data.csv), load_manifest(config.data.csv), config.features)
    inputs: dict[str, Any] = {
        "data": config.data.to_dict(),
        "voices": config.voices.to_dict() if config.voices else None,
        "recordings": sha256_of(Path(config.data.csv)) if listed is None else [
            [str(item.path.resolve()), sha256_of(item.path), item.label, item.split, item.fold, item.group]
            for item in (*listed.recordings, *listed.calibration)
        ],
        "annotations": [sha256_of(path) for name in config.data.annotations for path in _files(Path(name))],
    }  # fmt: skip
    key = content_key("data", inputs, "cheep.job.split")
    context.keys["data"] = key

    def make(folder: Path) -> None:
        made = make_examples(config.data, folder, config.voices, gathered=listed, on_file=context.progress)
        made.manifest.write(folder / runs.DATASET)
        if made.calibration is not None:
            made.calibration.write(folder / runs.CALIBRATION)

    place, cached = context.cache.build("data", key, make)
    use_examples(context, load_manifest(place / runs.DATASET))
    if (place / runs.CALIBRATION).is_file():
        load_manifest(place / runs.CALIBRATION).write(context.run / runs.CALIBRATION)
    context.note("data", cached)


def use_examples(context: Context, manifest: Manifest) -> None:
    """Make ``manifest`` the examples of the run."""
    manifest.write(context.run / runs.DATASET)
    write_about(context.run / runs.DATASET, about_examples(manifest, context.config.data))
    _share_features(context)


def folds_of(context: Context) -> list[tuple[str, Manifest]]:
    """Return the examples of the run once per fold, each fold the test set once."""
    return list(fold_splits(load_manifest(context.run / runs.DATASET), context.config.data.split))


def training_step(context: Context) -> None:
    """Train the float network."""
    config, features = context.config.train, context.config.features
    key = content_key("training", [context.keys["data"], features.to_dict(), config.to_dict()], "cheep.job.train")
    context.keys["training"] = key
    names = (runs.FLOAT_MODEL, runs.FLOAT_TFLITE, runs.TRAINING)

    if context.config.deploy.board:
        from cheep.boards.budget import check_network

        check_network(context.config.deploy.board, config, features, plan_of(context.run, config))

    def make() -> None:
        result, _ = train_network(context.run, features, config, context.progress, context.on_epoch, context.on_step)
        if result.interrupted:
            raise KeyboardInterrupt

    context.note("training", context.cache.files("training", key, context.run, names, make))
    if "quantize" not in context.config.run.steps:
        _say_accuracy(context, read_json(context.run / runs.TRAINING, "cheep run")["metrics"])


def quantization_step(context: Context) -> None:
    """Make the int8 model, by fine-tuning (QAT) or by calibration on real windows (PTQ)."""
    q = context.config.quantize
    model_key = context.keys.get("training") or _file_key(context.run / runs.FLOAT_MODEL)
    made_with = (context.features, context.training)
    may_fire_on = context.config.evaluate.may_fire_on
    inputs = [model_key, context.keys.get("data"), q.to_dict(), *(settings.to_dict() for settings in made_with)]
    inputs.append(" ".join(may_fire_on))
    key = content_key("quantization", inputs, "cheep.job.quantize")
    context.keys["quantization"] = key
    names = (runs.INT8_TFLITE, runs.MANIFEST, runs.EVALUATION, OTHER_ENDS_TFLITE)

    def make() -> None:
        result, _ = quantize_run(
            context.run, q, context.progress, context.on_epoch, made_with, may_fire_on, context.on_step
        )
        if result is not None and result.interrupted:
            raise KeyboardInterrupt

    context.note("quantization", context.cache.files("quantization", key, context.run, names, make))
    evaluation = read_json(context.run / runs.EVALUATION, "cheep run")
    check_signals([Heard.from_dict(item) for item in evaluation["signals"]], may_fire_on)
    _say_accuracy(context, evaluation["metrics"])
    if q.folder:
        target = Path(q.folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (context.run / name).is_file():
                shutil.copyfile(context.run / name, target / name)


def _say_accuracy(context: Context, metrics: dict[str, Any]) -> None:
    """Say what the networks made so far reach, where no step of the run evaluates them (whose table says it)."""
    if any(step.startswith("evaluate") for step in context.config.run.steps):
        return
    for name in ("float", "int8"):
        parts = metrics.get(name, {})
        said = [f"{parts[split]['clip_accuracy']:.3f} of {parts[split]['clips']} {text} clips"
                for split, text in (("test", "test"), ("val", "validation"))
                if parts.get(split, {}).get("clip_accuracy") is not None]  # fmt: skip
        if said:
            context.say(f"clip accuracy, {name}: {', '.join(said)}")


def evaluation_step(context: Context, int8: bool) -> dict[str, Any]:
    """Return clip and patch metrics with intervals of the float or the int8 model, computed anew."""
    from cheep.pipeline.judge import judge

    config = context.config
    name = "int8" if int8 else "float"
    model = context.run / (runs.INT8_TFLITE if int8 else runs.FLOAT_MODEL)
    needed(model, "cheep run with a chain that trains or quantizes")
    inputs = [name, sha256_of(model), context.keys.get("data"), config.evaluate.to_dict(), context.features.to_dict()]
    key = content_key("evaluation", inputs, "cheep.pipeline.judge", "cheep.job.scores")

    def make() -> None:
        write_json(context.run / f"evaluation_{name}.json", judge(model_scores(context, int8), config.evaluate))

    file = f"evaluation_{name}.json"
    context.note(f"evaluation ({name})", context.cache.files("evaluation", key, context.run, (file,), make))
    return read_json(context.run / file, "cheep run")


def model_scores(context: Context, int8: bool) -> dict[str, WindowScores]:
    """Return the scores of the float or int8 model on each split that has windows."""
    manifest = load_manifest(context.run / runs.DATASET)
    only = "test" if set(manifest.column("split")) == {"test"} else ""
    windows = load_windows(context.run, context.features, context.training, context.progress, only)
    if int8:
        from cheep.device.bundle import load_bundle
        from cheep.tflite.tflm import TflmModel

        bundle = load_bundle(context.run)
        return int8_scores(TflmModel(bundle.path), windows, bundle.own_scale)
    return keras_scores(load_keras(context.run / runs.FLOAT_MODEL), windows)


def benchmarking_step(context: Context, int8: bool = True) -> dict[str, Any]:
    """Return bytes, RAM, flash and instructions of the model on the emulated Cortex-M4F (int8), or bytes (float)."""
    if not int8:
        path = needed(context.run / runs.FLOAT_TFLITE, "cheep run with a chain that trains")
        values = {"float": {"model_bytes": path.stat().st_size}}
        context.note("benchmarking (float: the device runs int8 only; size)", False)
        return values
    model = needed(context.run / runs.INT8_TFLITE, "cheep run with a chain that quantizes")
    key = content_key("benchmarking", [sha256_of(model)], "cheep.compiler.measure")

    def make() -> None:
        write_json(context.run / BENCHMARK, {"int8": _measure(model)})

    context.note("benchmarking", context.cache.files("benchmarking", key, context.run, (BENCHMARK,), make))
    return read_json(context.run / BENCHMARK, "cheep run")


def deployment_step(context: Context) -> list[Path]:
    """Write the firmware's headers (and the compiled network) of the int8 model."""
    settings = context.config.deploy
    folder = Path(settings.folder or context.run / "generated")
    files = deploy(
        context.run, folder, compiled=settings.backend == "compiled", threshold=settings.threshold, board=settings.board
    )
    context.note("deployment", False)
    return files


def use_model(context: Context) -> None:
    """Bring ``run.model`` into the run folder."""
    path = Path(context.config.run.model)
    known = (runs.FLOAT_MODEL, runs.FLOAT_TFLITE, runs.TRAINING, runs.INT8_TFLITE, runs.MANIFEST, runs.EVALUATION)
    if path.is_dir():
        found = [name for name in known if (path / name).is_file()]
        if not found:
            raise CheepError(f"run.model={path}: holds no model ({', '.join(known)}); give a run folder")
        for name in found:
            shutil.copyfile(path / name, context.run / name)
    elif path.suffix in (".h5", ".keras"):
        foreign.bring_keras(path, context.config, context.run, context.say)
    elif path.suffix == ".tflite":
        foreign.bring_tflite(path, context.config, context.run, context.say)
    else:
        raise CheepError(f"run.model={path}: must be a run folder, a .h5, .keras or .tflite file")
    context.keys["training"] = _file_key(context.run / runs.FLOAT_MODEL)


def _measure(model: Path) -> dict[str, Any]:
    from cheep.compiler import DEFAULT_PREFIX, compile_bytes
    from cheep.compiler.measure import measure, random_inputs

    data = model.read_bytes()
    compiled = compile_bytes(data, DEFAULT_PREFIX, model.name, True)
    measured = measure(compiled, random_inputs(compiled, 2), 2)
    return {
        "model_bytes": len(data),
        "instructions": measured.instructions,
        "ram_bytes": measured.ram_bytes,
        "flash_bytes": measured.flash_bytes,
        "stack_bytes": measured.stack_bytes,
    }


def _share_features(context: Context) -> None:
    """Let all runs of a cache share one folder of features."""
    shared = (context.cache.folder / "features").resolve()
    shared.mkdir(parents=True, exist_ok=True)
    link = context.run / "features"
    if not link.exists():
        try:
            link.symlink_to(os.path.relpath(shared, context.run.resolve()), target_is_directory=True)
        except OSError:  # no symbolic links here: features are computed again
            link.mkdir()


def _file_key(path: Path) -> str:
    return sha256_of(path)[:20] if path.is_file() else ""


def _files(path: Path) -> list[Path]:
    return sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
