"""The steps of a pipeline: data, training, quantization, evaluation, benchmarking, prediction, deployment."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.config import DetectorConfig, FeatureConfig, TrainConfig
from cheep.datasets.manifest import load_manifest
from cheep.errors import CheepError
from cheep.evaluate.windows import WindowScores
from cheep.features.digests import sha256_of
from cheep.files import needed, read_json, write_bytes, write_json
from cheep.job.quantize import quantize_after_training, quantize_aware
from cheep.job.scores import int8_scores, keras_scores
from cheep.job.train import train_network
from cheep.job.windows import load_windows
from cheep.models.saved import load_keras
from cheep.pipeline.cache import StepCache, content_key
from cheep.pipeline.data import MANIFEST, QUANTIZATION_MANIFEST, build_data, list_recordings
from cheep.pipeline.mapping import feature_config, qat_config, train_config
from cheep.pipeline.schema import PipelineConfig

log = logging.getLogger(__name__)
FLOAT_IO_TFLITE = "bird_detector_int8_float_io.tflite"
BENCHMARK, PREDICTIONS, RESULTS = "benchmark.json", "predictions.csv", "results.json"
Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclasses.dataclass
class Context:
    """One pipeline: settings, the folder of results, the cache, and the keys of the steps done so far."""

    config: PipelineConfig
    run: Path
    cache: StepCache
    say: Say = lambda text: None
    progress: Progress | None = None
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None
    keys: dict[str, str] = dataclasses.field(default_factory=dict)
    executed: list[str] = dataclasses.field(default_factory=list)
    cached: list[str] = dataclasses.field(default_factory=list)

    def note(self, step: str, cached: bool) -> None:
        """Record whether a step was run or taken from the cache, and say so."""
        (self.cached if cached else self.executed).append(step)
        self.say(f"{step}: {'unchanged, taken from the cache' if cached else 'done'}")

    @property
    def features(self) -> FeatureConfig:
        """The features: of the model where one is given, else of the configuration."""
        manifest = self.run / runs.MANIFEST
        if self.config.general.model_path is not None and manifest.is_file():
            values = read_json(manifest, "cheep run")["features"]
            return FeatureConfig.parse(values, str(manifest))
        return feature_config(self.config)


def data_step(context: Context) -> None:
    """Preprocess the recordings, cut patches, split; ``dataset.csv`` of the run refers to the cached audio."""
    config = context.config
    listed = list_recordings(config)
    inputs = {
        "dataset": {k: v for k, v in config.dataset.to_dict().items() if not k.endswith("_path")},
        "preprocessing": config.preprocessing.to_dict(),
        "seed": config.general.global_seed,
        "patches": _only(config.feature_extraction.to_dict(), _PATCH_SETTINGS),
        "recordings": [
            [sha256_of(item.recording.path), item.label, item.split, item.recording.fold, item.recording.group]
            for item in listed
        ],
    }
    key = content_key("data", inputs, "cheep.pipeline.data")
    context.keys["data"] = key
    place, cached = context.cache.build(
        "data", key, lambda folder: build_data(config, listed, folder, context.progress)
    )
    for name in (MANIFEST, QUANTIZATION_MANIFEST):
        if (place / name).is_file():
            load_manifest(place / name).write(context.run / name)
    _share_features(context)
    context.note("data", cached)


def training_step(context: Context) -> None:
    """Train the float network."""
    config, features = train_config(context.config), feature_config(context.config)
    key = content_key("training", [context.keys["data"], features.to_dict(), config.to_dict()], "cheep.job.train")
    context.keys["training"] = key
    names = (runs.FLOAT_MODEL, runs.FLOAT_TFLITE, runs.TRAINING)

    def make() -> None:
        result, _ = train_network(context.run, features, config, context.progress, context.on_epoch)
        if result.interrupted:
            raise KeyboardInterrupt

    context.note("training", context.cache.files("training", key, context.run, names, make))


def quantization_step(context: Context) -> None:
    """Make the int8 model, by fine-tuning (QAT) or by calibration on real windows (PTQ)."""
    q = context.config.quantization
    model_key = context.keys.get("training") or _file_key(context.run / runs.FLOAT_MODEL)
    inputs = [model_key, context.keys.get("data"), q.to_dict(), context.config.general.global_seed]
    inputs.append(context.config.dataset.quantization_split)
    key = content_key("quantization", inputs, "cheep.job.quantize")
    context.keys["quantization"] = key
    names = (runs.INT8_TFLITE, runs.MANIFEST, runs.EVALUATION, FLOAT_IO_TFLITE)

    def make() -> None:
        if q.quantization_type == "QAT":
            result, _ = quantize_aware(context.run, qat_config(context.config), context.progress, context.on_epoch)
            if result.interrupted:
                raise KeyboardInterrupt
        else:
            _post_training(context)

    context.note("quantization", context.cache.files("quantization", key, context.run, names, make))
    if q.export_dir:
        target = Path(q.export_dir)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (context.run / name).is_file():
                shutil.copyfile(context.run / name, target / name)


def evaluation_step(context: Context, int8: bool) -> dict[str, Any]:
    """Return clip and patch metrics with intervals of the float or the int8 model, computed anew."""
    from cheep.pipeline.judge import judge

    config = context.config
    name = "int8" if int8 else "float"
    model = context.run / (runs.INT8_TFLITE if int8 else runs.FLOAT_MODEL)
    needed(model, "cheep run with a chain that trains or quantizes")
    inputs = [name, sha256_of(model), context.keys.get("data"), config.evaluation.to_dict(), context.features.to_dict()]
    key = content_key("evaluation", inputs, "cheep.pipeline.judge", "cheep.job.scores")

    def make() -> None:
        write_json(context.run / f"evaluation_{name}.json", judge(model_scores(context, int8), config))

    file = f"evaluation_{name}.json"
    context.note(f"evaluation ({name})", context.cache.files("evaluation", key, context.run, (file,), make))
    return read_json(context.run / file, "cheep run")


def model_scores(context: Context, int8: bool) -> dict[str, WindowScores]:
    """Return the scores of the float or int8 model on each split that has windows."""
    training = _training(context)
    windows = load_windows(context.run, context.features, training, context.progress)
    if int8:
        from cheep.tflite.tflm import TflmModel

        return int8_scores(TflmModel(context.run / runs.INT8_TFLITE), windows)
    return keras_scores(load_keras(context.run / runs.FLOAT_MODEL), windows)


def benchmarking_step(context: Context, int8: bool = True) -> dict[str, Any]:
    """Return bytes, RAM, flash and instructions of the model on the emulated Cortex-M4F (int8), or bytes (float)."""
    if not int8:
        path = needed(context.run / runs.FLOAT_TFLITE, "cheep run with a chain that trains")
        values = {"float": {"model_bytes": path.stat().st_size}}
        context.note("benchmarking (float: the device runs int8 only; size)", False)
        return values
    model = needed(context.run / runs.INT8_TFLITE, "cheep run with a chain that quantizes")
    key = content_key(
        "benchmarking", [sha256_of(model), context.config.benchmarking.to_dict()], "cheep.compiler.measure"
    )

    def make() -> None:
        write_json(context.run / BENCHMARK, {"int8": _measure(model)})

    context.note("benchmarking", context.cache.files("benchmarking", key, context.run, (BENCHMARK,), make))
    return read_json(context.run / BENCHMARK, "cheep run")


def prediction_step(context: Context) -> list[dict[str, Any]]:
    """Write ``predictions.csv``: for each file the best label by mean score (or unknown), its score, and the events."""
    from cheep.audio import audio_files
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.streaming import (
        ScoreTiming,
        detect,
        score_recordings,
    )

    bundle = load_bundle(context.run)
    limit = context.config.prediction.unknown_class_threshold
    rows = []
    paths = audio_files(context.config.prediction.test_files_path or "")
    plan = [(path, str(path), ()) for path in paths]
    for path, scored in zip(paths, score_recordings(bundle, plan, progress=context.progress), strict=True):
        label, score = "too short", 0.0
        if len(scored.scores):
            mean = (scored.scores.astype(np.float64).mean(axis=0) - bundle.output.zero_point) * bundle.output.scale
            best = int(mean.argmax())
            label, score = bundle.labels[best], float(mean[best])
            if limit is not None and score < limit:
                label = "unknown"
        events = detect(
            scored.scores,
            bundle.detector,
            bundle.labels,
            ScoreTiming.of(bundle),
            bundle.output.scale,
            bundle.output.zero_point,
        )
        listed = "; ".join(f"{e.label} {e.start_s:.2f}-{e.end_s:.2f}" for e in events)
        rows.append({"file": str(path), "label": label, "score": f"{score:.4f}", "events": listed})
    _write_csv(context.run / PREDICTIONS, rows)
    context.note("prediction", False)
    return rows


def deployment_step(context: Context) -> list[Path]:
    """Write the firmware's headers (and the compiled network) of the int8 model."""
    from cheep import export

    limit = context.config.deployment.unknown_class_threshold
    manifest_path = context.run / runs.MANIFEST
    if limit is not None:
        manifest = read_json(manifest_path, "cheep run")
        detector = manifest["detector"]
        detector["threshold"] = [None if t is None else limit for t in detector["threshold"]]
        manifest["detector"] = DetectorConfig.parse(detector, "deployment").to_dict()
        write_json(manifest_path, manifest)
    target = Path(context.config.deployment.output_dir or context.run / "generated")
    target.mkdir(parents=True, exist_ok=True)
    model = export.load_export(context.run)
    files = {
        "model.h": export.render_model_header(model),
        "model.cc": export.render_model_source(model),
        "detector_settings.h": export.render_detector_settings(model),
        "golden_window.h": export.render_golden_window(model),
        "mel_filter_bank.h": export.render_mel_filter_bank(model.features, model.bundle.model.sha256),
    }
    if context.config.deployment.backend == "compiled":
        from cheep.compiler import DEFAULT_PREFIX, compile_bytes

        compiled = compile_bytes((context.run / runs.INT8_TFLITE).read_bytes(), DEFAULT_PREFIX, runs.INT8_TFLITE, True)
        files.update({f"{compiled.prefix}.c": compiled.source, f"{compiled.prefix}.h": compiled.header})
    export.write_files(target, files)
    context.note("deployment", False)
    return [target / name for name in sorted(files)]


def use_model(context: Context) -> None:
    """Bring ``general.model_path`` into the run folder."""
    path = Path(context.config.general.model_path or "")
    known = (runs.FLOAT_MODEL, runs.FLOAT_TFLITE, runs.TRAINING, runs.INT8_TFLITE, runs.MANIFEST, runs.EVALUATION)
    if path.is_dir():
        found = [name for name in known if (path / name).is_file()]
        if not found:
            raise CheepError(f"general.model_path={path}: holds no model ({', '.join(known)}); give a run folder")
        for name in found:
            shutil.copyfile(path / name, context.run / name)
    elif path.suffix == ".h5":
        shutil.copyfile(path, context.run / runs.FLOAT_MODEL)
    elif path.suffix == ".tflite":
        shutil.copyfile(path, context.run / runs.INT8_TFLITE)
        if (path.parent / runs.MANIFEST).is_file():
            shutil.copyfile(path.parent / runs.MANIFEST, context.run / runs.MANIFEST)
    else:
        raise CheepError(f"general.model_path={path}: must be a run folder, an .h5 or a .tflite file")
    context.keys["training"] = _file_key(context.run / runs.FLOAT_MODEL)


_PATCH_SETTINGS = (
    "patch_length", "overlap", "hop_length", "n_fft", "window_length", "center", "pad_mode", "include_last_patch",
)  # fmt: skip


def _post_training(context: Context) -> None:
    data, q = context.config.dataset, context.config.quantization
    examples = context.run / QUANTIZATION_MANIFEST
    kinds = (q.quantization_input_type, q.quantization_output_type)
    quantize_after_training(
        context.run,
        context.features,
        _training(context),
        seed=context.config.general.global_seed,
        examples=examples if examples.is_file() else None,
        share=data.quantization_split,
        float_io=(FLOAT_IO_TFLITE, kinds) if "float" in kinds else None,
        on_file=context.progress,
    )


def _training(context: Context) -> TrainConfig:
    path = context.run / runs.TRAINING
    if path.is_file():
        return TrainConfig.parse(read_json(path, runs.TRAIN_COMMAND)["train"], str(path))
    return train_config(context.config)


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


def _only(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, ["file", "label", "score", "events"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, out.getvalue().encode())


def config_sha256(config: PipelineConfig) -> str:
    """Return the hash of the resolved configuration."""
    return hashlib.sha256(config.to_json().encode()).hexdigest()
