# SPDX-License-Identifier: MIT
"""A label for each of the files that a run file names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cheep import runs
from cheep.audio import audio_files, read_audio
from cheep.config import PredictConfig
from cheep.datasets.clips import prepared
from cheep.errors import CheepError
from cheep.features import compute_features
from cheep.files import write_csv
from cheep.models.saved import load_keras
from cheep.pipeline.foreign import labels_of
from cheep.pipeline.steps import Context

PREDICTIONS = "predictions.csv"


def prediction_step(context: Context, settings: PredictConfig) -> list[dict[str, Any]]:
    """Write ``predictions.csv``: for each file the best label by mean score (or unknown), its score, and the events.

    An int8 model hears the file as the device does; a float one gives no events, and judges the clip as it was prepared
    for training (``data.clips``: without silence).
    """
    limit, paths = settings.unknown_below, audio_files(settings.files)
    int8 = (context.run / runs.INT8_TFLITE).is_file()
    rows = []
    for path, labels, mean, events in _int8(context, paths) if int8 else _float(context, paths):
        label, score = "too short", 0.0
        if mean is not None:
            best = int(mean.argmax())
            label, score = labels[best], float(mean[best])
            if limit is not None and score < limit:
                label = "unknown"
        rows.append({"file": str(path), "label": label, "score": f"{score:.4f}", "events": events})
    write_csv(context.run / PREDICTIONS, ("file", "label", "score", "events"), rows)
    context.note("prediction" if int8 else "prediction (float: no events, which the int8 detector gives)", False)
    return rows


Heard = tuple[Path, tuple[str, ...], "np.ndarray | None", str]


def _int8(context: Context, paths: list[Path]) -> Iterator[Heard]:
    from cheep.device.bundle import load_bundle
    from cheep.evaluate.streaming import ScoreTiming, detect, score_recordings

    bundle = load_bundle(context.run)
    plan = [(path, str(path), ()) for path in paths]
    for path, scored in zip(paths, score_recordings(bundle, plan, progress=context.progress), strict=True):
        mean = bundle.scale.probabilities(scored.scores).mean(axis=0) if len(scored.scores) else None
        events = detect(scored.scores, bundle.detector, bundle.labels, ScoreTiming.of(bundle), bundle.scale)
        yield path, bundle.labels, mean, "; ".join(f"{e.label} {e.start_s:.2f}-{e.end_s:.2f}" for e in events)


def _float(context: Context, paths: list[Path]) -> Iterator[Heard]:
    model, features, labels = load_keras(context.run / runs.FLOAT_MODEL), context.features, labels_of(context.config)
    if len(labels) != model.output_shape[-1]:
        raise CheepError(
            f"{runs.FLOAT_MODEL}: has {model.output_shape[-1]} outputs, data.labels {len(labels)} names "
            f"({', '.join(labels) or 'none'}); name those that it was trained on"
        )
    clips = context.config.data.clips
    step = max(1, round(context.config.data.windows.hop_s / features.hop_s))
    for done, path in enumerate(paths, 1):
        pcm = read_audio(path, features.sample_rate_hz)
        if clips is not None:
            pcm = prepared(pcm, clips, features.sample_rate_hz)
        columns = compute_features(pcm, features)
        starts = np.arange(0, len(columns) - features.window_frames + 1, step)
        windows = columns[starts[:, None] + np.arange(features.window_frames)][..., None]
        mean = model.predict(windows, batch_size=64, verbose=0).mean(axis=0) if len(starts) else None
        yield path, labels, mean, ""
        if context.progress is not None:
            context.progress(done, len(paths))
