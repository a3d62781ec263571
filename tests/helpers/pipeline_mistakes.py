# SPDX-License-Identifier: MIT
"""Mistakes that people make in run files and in configurations of the model zoo, each with the message it gets.

``python tests/helpers/pipeline_mistakes.py`` prints the table of docs/pipelines.md; its test checks both.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from cheep.errors import CheepError
from cheep.pipeline.checks import parse_config

#: What every snippet is written over; DATA is a folder that exists.
BASE = "operation_mode: chain_tqe\ndataset:\n  training_audio_path: DATA\n"

#: The same in a run file.
RUN = "run: {steps: [train, quantize, evaluate]}\n"

#: (what went wrong, overrides or a whole text, end of the message after "line N: ")
MISTAKES: tuple[tuple[str, list[str] | str, str], ...] = (
    ("a misspelt setting", ["training.epohcs=5"], "training.epohcs: unknown setting (did you mean 'epochs'?)"),
    (
        "a setting in the wrong section",
        ["dataset.n_mels=64"],
        "dataset.n_mels: unknown setting (it belongs to section 'feature_extraction')",
    ),
    ("a misspelt section", ["trainig.epochs=5"], "trainig: unknown setting (did you mean 'training'?)"),
    ("a text for a number", ["training.epochs=many"], "training.epochs='many': must be a whole number"),
    ("half an epoch", ["training.epochs=2.5"], "training.epochs=2.5: must be a whole number"),
    ("no epochs", ["training.epochs=0"], "training.epochs=0: must be at least 1"),
    ("dropout of everything", ["training.dropout=1"], "training.dropout=1: must be below 1"),
    ("yes or no as a word", ["dataset.multi_label=maybe"], "dataset.multi_label='maybe': must be true or false"),
    (
        "a value where a section belongs",
        ["training=50"],
        "training=50: must be a section: its settings go below it, indented",
    ),
    (
        "a mode that does not exist",
        "operation_mode: chain_tqeb2\ndataset: {training_audio_path: DATA}\n",
        "operation_mode='chain_tqeb2': must be one of training, evaluation, quantization, prediction, benchmarking, "
        "deployment, chain_tqe, chain_tbqeb, chain_tqeb, chain_eqe, chain_qb, chain_eqeb, chain_qd, chain_tqed "
        "(did you mean 'chain_tqeb'?)",
    ),
    (
        "no mode at all",
        "dataset: {training_audio_path: DATA}\n",
        "operation_mode: missing; one of training, evaluation",
    ),
    ("mode and steps", ["steps=[training]"], "steps: contradicts operation_mode; keep one of the two"),
    (
        "steps in the wrong order",
        "steps: [quantization, training]\ndataset: {training_audio_path: DATA}\n",
        "steps: quantize comes before train; put train first",
    ),
    (
        "no recordings",
        "operation_mode: training\n",
        "dataset.training_audio_path: missing; name the folder of the recordings",
    ),
    (
        "a folder that is not there",
        ["dataset.training_audio_path=/no/such"],
        "dataset.training_audio_path='/no/such': no such folder",
    ),
    (
        "a CSV that is not there",
        ["dataset.training_csv_path=/no.csv"],
        "dataset.training_csv_path='/no.csv': no such file",
    ),
    ("a class twice", ["dataset.class_names=[dog, dog]"], "dataset.class_names: 'dog' is given twice"),
    (
        "garbage without classes",
        ["dataset.use_garbage_class=true"],
        "dataset.use_garbage_class=true: needs the labels to use (the others become garbage)",
    ),
    (
        "two test sets",
        ["dataset.test_split=0.2", "dataset.test_folds=1"],
        "dataset.test_split: contradicts dataset.test_folds; keep one test set",
    ),
    (
        "cross-validation with a fixed test fold",
        ["dataset.cross_validate=true", "dataset.test_folds=1"],
        "dataset.cross_validate=true: contradicts test_folds, test_csv_path and test_split; every fold is the test set "
        "once",
    ),
    (
        "nothing left to train on",
        ["dataset.test_split=0.6", "dataset.validation_split=0.4"],
        "dataset.test_split=0.6: with dataset.validation_split=0.4 must leave at least 0.05 for training",
    ),
    (
        "minimum above maximum",
        ["preprocessing.min_length=5", "preprocessing.max_length=3"],
        "preprocessing.min_length=5: must be at most preprocessing.max_length=3",
    ),
    (
        "an FFT that is no power of two",
        ["feature_extraction.n_fft=400"],
        "feature_extraction.n_fft=400: must be a power of two, such as 512 (shorter frames are padded)",
    ),
    (
        "a window longer than the FFT",
        ["feature_extraction.window_length=512"],
        "feature_extraction.window_length=512: must be at most feature_extraction.n_fft=256 (raise it)",
    ),
    (
        "frequencies that the rate cannot hold",
        ["feature_extraction.fmax=7500"],
        "feature_extraction.fmax=7500: must be at most half of preprocessing.target_rate=8000 (4000)",
    ),
    (
        "bands upside down",
        ["feature_extraction.fmin=5000"],
        "feature_extraction.fmin=5000: must be below feature_extraction.fmax=4000",
    ),
    (
        "another power",
        ["feature_extraction.power=1.5"],
        "feature_extraction.power=1.5: must be 1 (magnitude) or 2 (power)",
    ),
    (
        "another window",
        ["feature_extraction.window=hamming"],
        "feature_extraction.window='hamming': must be 'hann', the window of the C core that trains and runs",
    ),
    (
        "a patch longer than the recordings",
        ["feature_extraction.patch_length=600"],
        "feature_extraction.patch_length=600: a window lasts 15.01 s, longer than preprocessing.max_length=10 s; "
        "shorten the window or raise it",
    ),
    (
        "centred frames on a device",
        ["operation_mode=chain_tqed", "feature_extraction.center=true"],
        "feature_extraction.center=true: cannot be deployed: the device sees sound as it comes and has no samples "
        "before the start to pad with; leave it out and train again",
    ),
    (
        "float scores from QAT",
        ["quantization.quantization_output_type=float"],
        "quantization.quantization_output_type='float': is for method ptq; models of qat have int8 inputs and outputs",
    ),
    (
        "a scheme in lower case",
        ["quantization.quantization_type=qat"],
        "quantization.quantization_type='qat': must be one of PTQ, QAT",
    ),
    (
        "a network of another zoo",
        ["training.model.name=custom"],
        "training.model.name='custom': is Python code of the zoo; take a network of the registry",
    ),
    (
        "an input shape that the features contradict",
        ["training.model.input_shape=[64, 50, 1]"],
        "training.model.input_shape=[64, 50, 1]: must be [n_mels, patch_length, 1] = [40, 39, 1] (or leave it out)",
    ),
    (
        "a model to start from, and training",
        ["general.model_path=DATA"],
        "contradicts the step train, which makes a new one; remove one",
    ),
    (
        "evaluation of nothing",
        "operation_mode: evaluation\ndataset: {training_audio_path: DATA}\n",
        "general.model_path: missing; evaluate needs a model to start from (a run folder, .h5 or .tflite)",
    ),
    (
        "prediction of nothing",
        "operation_mode: prediction\ngeneral: {model_path: DATA}\n",
        "prediction.test_files_path: missing; name the folder of the files to predict",
    ),
    (
        "a setting given twice",
        BASE + "training:\n  epochs: 5\n  epochs: 6\n",
        "training.epochs: given twice (first in line 5); keep one",
    ),
    (
        "a reference to nothing",
        ["hydra.run.dir=runs/${general.name}"],
        "hydra.run.dir: ${general.name} names no value; write ${section.key} or ${now:%Y-%m-%d}",
    ),
    ("a tab", BASE + "training:\n\tepochs: 5\n", "indent with spaces, not tabs"),
    (
        "less than no noise",
        ["data_augmentation.GaussianNoise={enable: true, scale: -1}"],
        "data_augmentation.GaussianNoise.scale=-1: must be a number of at least 0",
    ),
    (
        "a setting of a run file in the wrong section",
        RUN + "train: {n_mels: 40}\n",
        "train.n_mels: unknown setting (it belongs to section 'features')",
    ),
    (
        "an example longer than the network's window",
        RUN + "data: {folder: DATA, windows: {window_s: 2}}\n",
        "data.windows.window_s=2: contradicts the features, whose window lasts 0.982 s (leave it out: it is taken "
        "over; or set features.window_frames)",
    ),
    (
        "a network that does not exist",
        RUN + "data: {folder: DATA}\ntrain: {model: sepcov_m}\n",
        "(did you mean 'sepconv_m'?)",
    ),
    (
        "two forms in one file",
        BASE + "train: {epochs: 3}\n",
        "train: is a section of a run file, 'operation_mode' one of the model zoo's form; write one form",
    ),
)


def message_of(mistake: list[str] | str, data: Path) -> str:
    """Return what a mistake is answered with; ``data`` is a folder that exists."""
    text, overrides = (mistake, []) if isinstance(mistake, str) else (BASE, mistake)
    try:
        parse_config(
            text.replace("DATA", str(data)),
            "config.yaml",
            [item.replace("DATA", str(data)) for item in overrides],
        )
    except CheepError as error:
        return str(error)
    return ""


def markdown() -> str:
    """Return the table of the documentation."""
    lines = ["| mistake | written | message |", "|---|---|---|"]
    for title, mistake, message in MISTAKES:
        written = "(see the title)" if isinstance(mistake, str) else "<br>".join(f"`{item}`" for item in mistake)
        text = message.replace("|", "\\|")
        lines.append(f"| {title} | {written} | {text} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
