# SPDX-License-Identifier: MIT
"""From a finished run folder to what a report shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cheep import __version__, runs
from cheep.audio import iter_audio
from cheep.config import FeatureConfig, TrainConfig
from cheep.datasets.about import read_about
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.detector import ScoreScale, describe_scores
from cheep.device.bundle import load_bundle
from cheep.device.engine import Engine
from cheep.ears.papers import papers_of_model, sentences
from cheep.errors import CheepError
from cheep.evaluate.intervals import Estimate
from cheep.evaluate.matching import Annotation, Detection
from cheep.evaluate.signals import hear_signals, signal_rows
from cheep.evaluate.windows import WindowScores
from cheep.files import needed, read_json
from cheep.job.scores import int8_scores
from cheep.job.windows import Windows, load_windows
from cheep.report.results import DataRow, DataSummary, History, Mistake, RunResults, Soundscape, Threshold, Variant
from cheep.tflite.tflm import TflmModel

_MISTAKES = 6
SIGNALS_CAPTION = "What the detector says to signals without any sound (a dead, noisy or overdriven microphone)"


def results_of_run(
    run: Path, title: str, soundscapes: Sequence[Soundscape] = (), reproduce: Sequence[str] = (), next_command: str = ""
) -> RunResults:
    """Return what is known of a run after ``cheep train-qat``: data, curves, metrics, mistakes.

    The test scores are computed anew by the int8 model in TFLM; where the test recordings cannot be read any more,
    the report is made without them and says so.
    """
    training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
    evaluation = read_json(run / runs.EVALUATION, runs.QAT_COMMAND)
    manifest = read_json(run / runs.MANIFEST, runs.QAT_COMMAND)
    features = FeatureConfig.parse(manifest["features"], str(run / runs.MANIFEST))
    config = TrainConfig.parse(training["train"], str(run / runs.TRAINING))
    windows, moved = _test_windows(run, features, config)
    test = None
    if windows is not None:
        runtime = TflmModel(run / runs.INT8_TFLITE)
        scale = ScoreScale.of(runtime.output_info, manifest.get("scores"), str(run / runs.MANIFEST))
        test = int8_scores(runtime, windows, scale).get("test")
    papers = papers_of_model(manifest)
    return RunResults(
        title=title,
        labels=tuple(manifest["labels"]),
        summary=_summary(evaluation, manifest),
        variants=_variants(evaluation),
        test=test,
        data=_data(load_manifest(needed(run / runs.DATASET, runs.SPLIT_COMMAND)), manifest),
        choices=about.why if (about := read_about(run / runs.DATASET)) else (),
        histories=(
            _history("float training", training["history"], training["best_epoch"]),
            _history("quantization-aware fine-tuning", evaluation["history_qat"], evaluation["best_epoch_qat"]),
        ),
        mistakes=_mistakes(windows, test, features) if windows is not None and test is not None else (),
        stale=moved,
        soundscapes=tuple(soundscapes),
        thresholds=thresholds_of(manifest),
        stride_s=manifest["detector"]["stride_frames"] * features.hop_s,
        tables=(*season_table(manifest), *_gate_table(manifest), _signal_table(run)),
        settings={
            "features": manifest["features"],
            "training": {k: v for k, v in training["train"].items() if k != "augment"},
            "augmentation": training["train"]["augment"],
            "detector": manifest["detector"],
        },
        intended_use=(
            f"Detects {', '.join(label for label in manifest['labels'] if label != training['background'])} in sound "
            "like that of its training recordings, on the board or on a laptop.",
        ),
        limits=("Sounds that are in no training recording can be mistaken for a target.", *sentences(papers)),
        reproduce=tuple(reproduce) or commands_shown(run),
        next_command=next_command or next_step(run, manifest),
        model_sha256=manifest["model"]["sha256"],
        feature_hash=manifest["feature_hash"],
        cheep_version=__version__,
    )


def _test_windows(run: Path, features: FeatureConfig, config: TrainConfig) -> tuple[Windows | None, str]:
    """Return the windows of the test split; where its recordings have moved or are damaged, None and why."""
    try:
        return load_windows(run, features, config, only="test"), ""
    except CheepError as exc:
        if not (run / runs.DATASET).is_file():
            raise
        return None, (
            "Curves, confusions and mistakes are missing, because the test recordings cannot be read any more "
            f"({exc}). The figures above are those of the training."
        )


def calibration_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Return what ``cheep calibrate`` measured, by label, where the detector still has its thresholds; else None."""
    labels = {item["label"]: item for item in (manifest.get("calibration") or {}).get("labels", ())}
    thresholds = dict(zip(manifest["labels"], _per_label(manifest), strict=True))
    good = labels and all(thresholds.get(name) == item["threshold"] for name, item in labels.items())
    return labels if good else None


def next_step(run: Path, manifest: dict[str, Any]) -> str:
    """Return the command that brings a run further: calibration, the firmware's files, a board."""
    from cheep.export import generated_folder, load_export, render_detector_settings

    model = "" if run.resolve() == _latest() else f" --model {run}"
    if calibration_of(manifest) is None:
        return f"cheep calibrate --max-false-alarms 1/h --recordings EVENTS.csv --background FOLDER{model}"
    header = generated_folder() / "detector_settings.h"
    if not header.is_file() or header.read_text(encoding="utf-8") != render_detector_settings(load_export(run)):
        position = f" {run}" if model else ""
        return f"cheep model-convert{model} && cheep mel-filter-bank{model} && cheep compile{position}"
    return f"cheep upload audiomoth{model}    (or another board: cheep upload --help)"


def _latest() -> Path | None:
    try:
        return runs.find_run().resolve()
    except CheepError:
        return None


def commands_shown(run: Path) -> tuple[str, ...]:
    """Return the commands that make a run again, as they were typed."""
    kept = runs.commands_of(run)
    where = "" if run.resolve() == _latest() else f" --run {run}"
    begun = kept and kept[0][0] in ("demo", "split-dataset")
    before = [] if begun else ["# what came before was not kept with this run; its settings follow"]
    return (*before, *(command for _, command in kept), f"cheep report{where}")


def _per_label(manifest: dict[str, Any]) -> list[float | None]:
    values = manifest["detector"]["threshold"]
    return values if len(values) == len(manifest["labels"]) else values * len(manifest["labels"])


def thresholds_of(manifest: dict[str, Any]) -> tuple[Threshold, ...]:
    """Return the detector's thresholds, with what calibration measured of them."""
    measured = calibration_of(manifest) or {}
    out = []
    for label, value in zip(manifest["labels"], _per_label(manifest), strict=True):
        item = measured.get(label)
        if item is None:
            out.append(Threshold(label, value))
            continue
        rate, recall = (
            (values["value"], values["low"], values["high"]) if values else None
            for values in (item["false_alarms_per_hour"], item["recall"])
        )
        out.append(Threshold(label, value, rate, recall, item["hours"]))
    return tuple(out)


def stream_soundscape(
    engine: Engine, path: Path, annotations: Sequence[Annotation], name: str, with_sound: bool = True
) -> Soundscape:
    """Run a long recording through the device path and return detections, score trace and (optionally) the sound."""
    engine.reset()
    trace, events, sound = [], [], []
    for block in iter_audio(path, engine.bundle.features.sample_rate_hz):
        step = engine.push(block)
        trace += [engine.probability(window.scores) for window in step.windows]
        events += step.events
        sound.append(block)
    events += engine.flush()
    pcm = np.concatenate(sound)
    rate_hz = engine.bundle.features.sample_rate_hz
    return Soundscape(
        name=name,
        duration_s=len(pcm) / rate_hz,
        annotations=tuple(annotations),
        detections=tuple(Detection(e.label, e.start_s, e.end_s, e.score) for e in events if e.ended),
        trace=np.array(trace, np.float32).reshape(-1, len(engine.bundle.labels)),
        trace_step_s=engine.bundle.stride_s,
        pcm=pcm if with_sound else None,
        sample_rate_hz=rate_hz,
    )


def _signal_table(run: Path) -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return what the detector, with the thresholds that it has now, says to signals without sound."""
    head, *rows = signal_rows(hear_signals(load_bundle(run)))
    return SIGNALS_CAPTION, tuple(head), tuple(map(tuple, rows))


def season_table(manifest: dict[str, Any]) -> list[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]]:
    """Return what a season's verdicts said of the label whose threshold they chose, where the model still has it."""
    season, measured = (manifest.get("calibration") or {}).get("season"), calibration_of(manifest)
    if not season or not measured:
        return []
    rate = measured[season["label"]]["false_alarms_per_hour"]
    head = ("label", "plan", "sites", "verdicts", "precision", "false alarms/h", "recall")
    values = (season["precision"], rate, season["recall"])
    row = (season["label"], season["plan"], ", ".join(season["sites"]), str(season["verdicts"]))
    caption = "A season's verdicts, at the threshold that they chose (in brackets: 95 % intervals)"
    return [(caption, head, ((*row, *("–" if item is None else Estimate(**item).text(2) for item in values)),))]


def _gate_table(manifest: dict[str, Any]) -> list[tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]]:
    """Return what the gate before the network does, where the detector has one."""
    gate = (manifest.get("calibration") or {}).get("gate")
    if manifest["detector"].get("gate") is None or gate is None:
        return []
    head = ("the network runs on", "it rests on, of the background", "events lost", "of", "hours")
    skipped, lost = (Estimate(**gate[name]).text(2, 100, " %") for name in ("skipped", "lost"))
    row = (f"{gate['run']:.1%} of windows", skipped, lost, f"{gate['events']} events", f"{gate['hours']:.2f}")
    return [("The gate before the network (in brackets: 95 % intervals)", head, (row,))]


def _summary(evaluation: dict[str, Any], manifest: dict[str, Any]) -> tuple[str, ...]:
    test = evaluation["metrics"]["int8"].get("test")
    lines = []
    if test:
        auc = f", window ROC AUC {test['window_auc']:.3f}" if test["window_auc"] is not None else ""
        sure, (low, high) = "", test.get("clip_accuracy_interval") or (None, None)
        if low is not None and high is not None:
            sure = f" ({100 * low:.1f} to {100 * high:.1f} %, 95 % interval by groups)"
        lines.append(
            f"The int8 model is right on {100 * test['clip_accuracy']:.1f} %{sure} of {test['clips']} clips that "
            f"training never heard{auc}."
        )
    sizes = evaluation["bytes"]
    lines.append(f"It takes {sizes['int8']:,} bytes, and {sizes['arena']:,} bytes of arena in TensorFlow Lite Micro.")
    lines.append(f"Its {describe_scores(manifest.get('scores'))}.")
    lines.append(f"{len(manifest['labels'])} output(s): {', '.join(manifest['labels'])}.")
    return tuple(lines)


def _variants(evaluation: dict[str, Any]) -> tuple[Variant, ...]:
    sizes = evaluation["bytes"]
    out = []
    for name in ("float", "qat", "int8"):
        by_split = evaluation["metrics"].get(name)
        if by_split is None:  # calibrated after training: no QAT model
            continue
        values = by_split.get("test") or by_split["val"]
        out.append(
            Variant(
                name={"float": "float", "qat": "QAT", "int8": "int8 (TFLM)"}.get(name, name),
                window_accuracy=values["window_accuracy"],
                window_auc=values["window_auc"],
                clip_accuracy=values["clip_accuracy"],
                clip_auc=values["clip_auc"],
                window_accuracy_interval=_pair(values.get("window_accuracy_interval")),
                clip_accuracy_interval=_pair(values.get("clip_accuracy_interval")),
                model_bytes=sizes.get(name),
                arena_bytes=sizes["arena"] if name == "int8" else None,
            )
        )
    return tuple(out)


def _pair(value: list[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def _data(dataset: Manifest, manifest: dict[str, Any]) -> DataSummary:
    from cheep.datasets.split import balance

    rows = tuple(
        DataRow(
            label=line["label"],
            train=line["train"],
            val=line["val"],
            test=line["test"],
            recordings=line["recordings"],
            recordists=line["recordists"],
            hours=line["seconds"] / 3600,
        )
        for line in balance(dataset)
    )
    licences = Counter(value or "not stated" for value in dataset.column("licence"))
    return DataSummary(
        rows=rows,
        licences=tuple(sorted(licences.items())),
        recordings=len(set(dataset.column("recording"))),
        recordists=len(set(dataset.column("recordist")) - {""}),
        hours=float(np.sum(dataset.duration_s)) / 3600,
        dataset_sha256=manifest["data"]["dataset_sha256"],
    )


def _history(stage: str, history: list[dict[str, float]], best_epoch: int) -> History:
    metrics = {"loss": [h["loss"] for h in history], "validation loss": [h["val_loss"] for h in history]}
    return History(stage, metrics, best_epoch - 1 if best_epoch else None)


def _mistakes(windows: Windows, test: WindowScores, features: FeatureConfig) -> tuple[Mistake, ...]:
    """Return the windows of different clips whose own label got the least score against the best other one."""
    rows = windows.manifest.of_split("test")
    names = rows.column("label")
    plan = windows.plan
    own = np.array([plan.labels.index(name) if name in plan.labels else -1 for name in names])
    place = np.arange(len(own))
    best_other = test.scores.copy()
    best_other[place[own >= 0], own[own >= 0]] = -1
    own_score = np.where(own >= 0, test.scores[place, own], 1 - test.scores.max(axis=1))
    other = np.where(best_other.max(axis=1) >= 0, best_other.max(axis=1), 1 - own_score)
    badness = other - own_score
    found: list[Mistake] = []
    seen: set[int] = set()
    for row in np.argsort(-badness, kind="stable"):
        if badness[row] <= 0 or len(found) == _MISTAKES:
            break
        if int(test.clip[row]) in seen:
            continue
        seen.add(int(test.clip[row]))
        guess = int(best_other[row].argmax())
        predicted = plan.labels[guess] if best_other[row, guess] >= 0 else (plan.background or "none")
        found.append(_mistake(rows, int(row), names[row], predicted, float(other[row]), features))
    return tuple(found)


def _mistake(rows: Manifest, row: int, true: str, predicted: str, score: float, features: FeatureConfig) -> Mistake:
    path = rows.audio_path(row)
    start = float(rows.start_s[row])
    first, last = int(start * features.sample_rate_hz), int((start + features.window_s) * features.sample_rate_hz)
    done, parts = 0, []
    for block in iter_audio(path, features.sample_rate_hz):
        parts.append(block[max(0, first - done) : max(0, last - done)])
        done += len(block)
        if done >= last:
            break
    return Mistake(path.name, true, predicted, score, np.concatenate(parts), features.sample_rate_hz, start)
