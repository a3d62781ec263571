# SPDX-License-Identifier: MIT
"""Model zoo configurations as run files: what is taken, listed and refused."""

import logging

import pytest

from cheep.config import AugmentConfig, RunFile, parse_run_file
from cheep.config.zoo.tables import CHAINS, LISTED, MODES, OPERATIONS, TAKEN
from cheep.errors import CheepError

BASE = "operation_mode: chain_tqe\ndataset: {training_audio_path: birds}\n"


def taken(*overrides):
    return parse_run_file(BASE, overrides=overrides)


def test_what_has_a_meaning_is_taken():
    run_file = taken(
        "preprocessing.target_rate=16000", "feature_extraction.n_fft=512", "feature_extraction.window_length=400",
        "feature_extraction.hop_length=160", "feature_extraction.n_mels=64", "feature_extraction.patch_length=96",
        "feature_extraction.power=1.0", "feature_extraction.fmin=125", "feature_extraction.fmax=7500",
        "feature_extraction.norm=None", "feature_extraction.htk=True", "feature_extraction.overlap=0.5",
        "training.optimizer.Adam.learning_rate=0.005", "training.epochs=7", "general.global_seed=120",
        "quantization.epochs=3", "data_augmentation.SpecAug={enable: true, freq_mask_param: 4, time_mask_param: 5}",
        "dataset.class_names=dog", "dataset.test_folds=2", "preprocessing.top_db=null", "preprocessing.max_length=5",
    )  # fmt: skip
    features = run_file.features
    assert (features.sample_rate_hz, features.fft_size, features.frame_samples, features.hop_samples) == (
        16000, 512, 400, 160,
    )  # fmt: skip
    assert (features.mel_scale, features.mel_norm, features.spectrum) == ("htk", "none", "magnitude")
    assert (features.fmin_hz, features.fmax_hz, features.window_frames) == (125, 7500, 96)
    assert (run_file.train.learning_rate, run_file.train.epochs, run_file.train.seed) == (0.005, 7, 120)
    augment = run_file.train.augment
    assert (augment.mask_bands, augment.mask_frames, augment.mixup_alpha, augment.gain_db) == (4, 5, 0, 0)
    assert (run_file.quantize.method, run_file.quantize.qat.epochs, run_file.quantize.qat.seed) == ("qat", 3, 120)
    windows = run_file.data.windows
    assert windows.window_s == features.window_s and windows.hop_s == pytest.approx(48 * 0.01)
    assert not windows.selection and not windows.last
    clips, split = run_file.data.clips, run_file.data.split
    assert (clips.silence_db, clips.max_s, clips.min_s, clips.pad_samples) == (None, 5, 1, 0)
    assert (split.test_folds, split.val, split.test, split.seed) == (("2",), 0.2, 0, 120)
    assert run_file.data.folder == "birds" and run_file.data.labels == ("dog",)
    assert run_file.run.steps == ("train", "quantize", "evaluate")


def test_augmentation_is_ours_without_a_section_and_what_it_names_with_one():
    assert taken().train.augment == AugmentConfig()
    loud = taken("data_augmentation.VolumeAugment.enable=true").train.augment
    assert loud.gain_db == pytest.approx(1.017, abs=1e-3) and loud.mixup_alpha == 0
    assert taken("data_augmentation.mixup_alpha=0.3").train.augment.mixup_alpha == 0.3


def test_a_table_and_its_folder_and_other_sets():
    run_file = taken(
        "dataset.training_csv_path=a.csv", "dataset.test_csv_path=t.csv", "dataset.test_audio_path=t",
        "dataset.quantization_audio_path=q", "dataset.use_garbage_class=true", "dataset.class_names=[a, b]",
    )  # fmt: skip
    data = run_file.data
    assert (data.csv, data.audio_root, data.folder) == ("a.csv", "birds", "")
    assert (data.test.csv, data.test.audio_root, data.calibration.folder, data.garbage) == ("t.csv", "t", "q", 2)


def test_what_means_nothing_is_listed_once_with_its_line(caplog):
    text = BASE + "general: {display_figures: true}\ntraining: {patience: 60}\ntools: {stedgeai: {version: 10}}\n"
    with caplog.at_level(logging.INFO, "cheep"):
        parse_run_file(text, "zoo.yaml")
        parse_run_file(text, "zoo.yaml")
    assert [line.strip() for line in caplog.text.split("zoo.yaml: ")[1].splitlines()] == [
        "3 settings have no meaning here:",
        "line 3: general.display_figures: figures are in the report",
        "line 4: training.patience: " + LISTED["training.patience"],
        "line 5: tools.stedgeai: " + LISTED["tools.stedgeai"],
    ]
    assert caplog.text.count("zoo.yaml") == 1


def test_the_zoos_own_ways_to_write_and_to_switch_off():
    run_file = taken(
        "training.model.input_shape=(40, 39, 1)", "deployment.unknown_class_threshold=0.0",
        "training.resume_training_from=null", "training.model.pretrained_weights=false", "general.batch_size=16",
    )  # fmt: skip
    assert run_file.deploy.threshold is None
    for override, message in (
        ("training.model.input_shape=(64, 96, 1)", r"must be \[n_mels, patch_length, 1\] = \[40, 39, 1\]"),
        ("training.model.pretrained_weights=true", "pretrained_weights=true: there are no trained weights of"),
        ("training.resume_training_from=a.h5", "resume_training_from: training starts anew"),
    ):
        with pytest.raises(CheepError, match=message):
            taken(override)


def test_every_setting_that_is_taken_is_one_of_ours():
    def exists(kind, parts):
        from cheep.config.reader import section_of

        field = kind.model_fields[parts[0]]
        return True if len(parts) == 1 else exists(section_of(field.annotation), parts[1:])

    assert all(exists(RunFile, ours.split(".")) for ours in TAKEN.values())
    assert not set(TAKEN) & set(LISTED)


def test_settings_of_ours_go_over_a_zoo_file_but_not_into_it():
    assert taken("train.epochs=9", "training.epochs=7").train.epochs == 9
    with pytest.raises(CheepError, match=r"line 3: train: is a section of a run file, 'operation_mode' one of"):
        parse_run_file(BASE + "train: {epochs: 3}\n")


def test_every_chain_is_made_of_known_steps():
    for name in ("tqe", "tbqeb", "eqe", "qb", "eqeb", "qd", "tqed", "tqeb"):
        assert f"chain_{name}" in MODES
    letters = {"t": "training", "b": "benchmarking", "q": "quantization", "e": "evaluation", "d": "deployment"}
    for name, steps in CHAINS.items():
        assert [step.removesuffix("_float") for step in steps] == [letters[c] for c in name.removeprefix("chain_")]
        assert set(steps) <= set(OPERATIONS)
