# SPDX-License-Identifier: MIT
"""A made-up run with every section of a report filled; used by the report's tests."""

from __future__ import annotations

import io

import numpy as np

from cheep.evaluate.matching import Annotation, Detection
from cheep.evaluate.windows import WindowScores
from cheep.report import (
    BoardRow,
    DataRow,
    DataSummary,
    History,
    Mistake,
    OperatingCurve,
    RobustnessRow,
    RunResults,
    Soundscape,
    Threshold,
    Variant,
)

LABELS = ("background", "crested tit", "red-rumped swallow", "rock thrush & <kin>")


def example_scores(n: int = 400, seed: int = 3) -> WindowScores:
    """Softmax scores that are mostly right, four windows to a clip."""
    rng = np.random.default_rng(seed)
    true = np.repeat(rng.integers(0, len(LABELS), n // 4), 4)
    logits = rng.normal(0, 1.2, (n, len(LABELS)))
    logits[np.arange(n), true] += 2.2
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.eye(len(LABELS))[true]
    return WindowScores(
        LABELS, "softmax", targets.astype(np.float32), scores.astype(np.float32), np.repeat(np.arange(n // 4), 4)
    )


def example_run() -> RunResults:
    """Every section filled."""
    rng = np.random.default_rng(5)
    t = np.arange(16000) / 8000
    chirp = (8000 * np.sin(2 * np.pi * (1500 * t + 600 * t**2)) + rng.normal(0, 300, t.size)).astype(np.int16)
    truth = [Annotation(LABELS[1 + i % 3], 12.0 * i + 4, 12.0 * i + 5.5) for i in range(48)]
    detected = [
        Detection(a.label, a.start_s - 0.3, a.end_s + 0.4, float(rng.uniform(0.6, 1))) for a in truth[::2] + truth[1::4]
    ]
    detected.append(Detection(LABELS[1], 300.0, 302.0, 0.7))
    thresholds = np.linspace(0.05, 0.99, 40)
    curves = [
        OperatingCurve(
            label,
            thresholds,
            60 * np.exp(-(5 + i) * thresholds),
            1 / (1 + np.exp(9 * (thresholds - 0.75 + 0.05 * i))),
            chosen_threshold=0.8,
            chosen_false_alarms_per_hour=(0.9, 0.3, 2.1),
            chosen_recall=(0.5, 0.4, 0.61),
            hours=4.2,
            note="to promise at most 0.5/h with 95 % confidence needs at least 6.0 hours" if i == 0 else "",
        )
        for i, label in enumerate(LABELS[1:])
    ]
    epochs = np.arange(30)
    history = {
        "loss": (1.2 * np.exp(-epochs / 8) + 0.2).tolist(),
        "val_loss": (1.1 * np.exp(-epochs / 9) + 0.3).tolist(),
        "accuracy": (0.95 - 0.5 * np.exp(-epochs / 7)).tolist(),
        "val_accuracy": (0.9 - 0.5 * np.exp(-epochs / 8)).tolist(),
    }
    thresholds = [
        Threshold(c.label, c.chosen_threshold, c.chosen_false_alarms_per_hour, c.chosen_recall, c.hours) for c in curves
    ]
    return RunResults(
        title="Three birds against background",
        labels=LABELS,
        summary=("A network of 9,450 parameters tells three species from the background at 8 kHz.",),
        variants=(
            Variant("float", 0.913, 0.981, 0.952, 0.991, 41_204),
            Variant("QAT", 0.911, 0.980, 0.950, 0.990),
            Variant(
                *("int8", 0.910, 0.980, 0.951, 0.990, 15_832, 30_244, 9_112, 23_900, 1_003_121),
                window_accuracy_interval=(0.884, 0.931),
                clip_accuracy_interval=(0.893, 0.979),
            ),
        ),
        test=example_scores(),
        data=DataSummary(
            tuple(DataRow(label, 1200, 160, 170, 60, 31, 0.42) for label in LABELS),
            (("CC-BY-NC-SA-4.0", 1201), ("CC0-1.0", 400)),
            240,
            96,
            1.7,
            "ab" * 32,
        ),
        histories=(
            History("float", history, 24),
            History("quantization-aware", {k: v[:10] for k, v in history.items()}, 8),
        ),
        mistakes=tuple(
            Mistake(f"rock thrush/XC{1000 + i}.flac", LABELS[3], LABELS[1], 0.98 - i / 50, chirp, 8000, 1.5 * i)
            for i in range(3)
        ),
        soundscapes=(
            Soundscape("soundscape.wav", 600.0, tuple(truth), tuple(detected), pcm=chirp, sample_rate_hz=8000),
        ),
        thresholds=(Threshold(LABELS[0], None), *thresholds),
        stride_s=0.25,
        operating=tuple(curves),
        temperature=1.31,
        boards=(
            BoardRow("AudioMoth", 81_000, 245_760, 27_104, 32_768, 212.4, "48 MHz"),
            BoardRow("tiny", 81_000, 65_536, 27_104, 16_384, None, "too small"),
        ),
        robustness=(RobustnessRow("as recorded", 0.71, 0.9, 0.981), RobustnessRow("noise at 10 dB", 0.42, 2.5, 0.902)),
        pictures=(("a picture made elsewhere", _png()),),
        tables=(("Folds", ("fold", "accuracy"), (("1", "91.2 %"), ("2", "88.0 %"))),),
        limits=("Trained on 1.7 hours.",),
        choices=("16 kHz: 80% of <wren>'s energy lies above 4 kHz", "windows of 2 s: long calls"),
        settings={"features": {"sample_rate_hz": 8000, "n_mels": 40}},
        reproduce=("cheep split-dataset --input birds", "cheep train", "cheep train-qat"),
        next_command="cheep calibrate --max-false-alarms 0.5/h --recordings field/",
        model_sha256="0123456789abcdef" * 4,
        feature_hash="0x1234abcd",
        cheep_version="0.1.0",
    )


def _png() -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [0, 1])
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
