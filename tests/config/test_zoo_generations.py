# SPDX-License-Identifier: MIT
"""Configurations of the model zoo's four generations, written here in their forms: what becomes of each."""

import logging

import pytest

from cheep.config import parse_run_file
from cheep.errors import CheepError

FEATURES = """
feature_extraction: {patch_length: 20, n_mels: 16, overlap: 0.25, n_fft: 256, hop_length: 160, window_length: 200,
  window: hann, center: False, power: 1.0, fmin: 125, fmax: 3900, norm: None, htk: True, to_db: False}
"""
CLIPS = "{min_length: 1, max_length: 5, target_rate: 8000, top_db: 40, frame_length: 800, hop_length: 800}"

FIRST = f"""
general: {{project_name: tones, logs_dir: logs}}
train_parameters: {{batch_size: 16, training_epochs: 7, optimizer: adam, initial_learning: 0.002, patience: 9,
  learning_rate_scheduler: cosine, restore_best_weights: True}}
dataset: {{name: tones, class_names: [low, high], audio_path: birds, csv_path: birds.csv, file_extension: .wav,
  validation_split: 0.1, test_split: 0.2, test_path: , use_other_class: False, n_samples_per_other_class: 2}}
dataset_specific: {{fsd50k: {{csv_folder: a}}}}
pre_processing: {CLIPS}
{FEATURES}
data_augmentation: {{GaussianNoise: 0.1, VolumeAugment: True, min_scale: 0.5, max_scale: 2.0, SpecAug: False,
  freq_mask_param: 1, mask_value: 0}}
model: {{model_type: {{name: sepconv_s}}, input_shape: [16, 20], expand_last_dim: True, dropout: 0.1}}
quantization: {{quantize: True, evaluate: True, quantization_type: PTQ, quantization_output_type: float}}
stm32ai: {{version: 7.3.0, optimization: balanced, footprints_on_target: A-BOARD, path_to_stm32ai: /opt/x}}
"""
THIRD = f"""
general: {{project_name: tones, model_path: '..\\models\\a.h5', global_seed: 3}}
operation_mode: MODE
dataset: {{name: tones, class_names: [low, high], quantization_audio_path: birds, quantization_csv_path: birds.csv,
  quantization_split: 0.5, use_garbage_class: False, to_cache: True}}
preprocessing: {CLIPS}
{FEATURES}
tools: {{stedgeai: {{version: 10.0.0, on_cloud: True}}, path_to_cubeIDE: /opt/ide}}
quantization: {{quantizer: TFlite_converter, quantization_type: PTQ, quantization_input_type: uint8}}
benchmarking: {{board: A-BOARD}}
deployment: {{c_project_path: ../app, IDE: GCC, hardware_setup: {{serie: S, board: B}}, unknown_class_threshold: 0.0}}
"""
FOURTH = f"""
general: {{project_name: tones}}
operation_mode: evaluation
model: {{model_path: a.tflite, input_shape: "(16, 20, 1)"}}
dataset: {{dataset_name: tones, class_names: [low, high], test_audio_path: birds, test_csv_path: birds.csv}}
preprocessing: {CLIPS}
{FEATURES}
"""


def imported(text, *overrides):
    return parse_run_file(text, "zoo.yaml", overrides)


def test_generation_1_has_its_own_sections_and_programs_in_place_of_a_mode():
    run_file = imported(FIRST)
    assert run_file.run.steps == ("train", "quantize", "evaluate")
    train, split, augment = run_file.train, run_file.data.split, run_file.train.augment
    assert (train.model, train.epochs, train.batch_size, train.learning_rate) == ("sepconv_s", 7, 16, 0.002)
    assert (train.dropout, split.val, split.test) == (0.1, 0.1, 0.2)
    assert (run_file.data.csv, run_file.data.audio_root) == ("birds.csv", "birds")
    assert (run_file.features.sample_rate_hz, run_file.data.clips.silence_db) == (8000, 40)
    assert augment.cell_db == pytest.approx(0.8686, abs=1e-4)  # 0.1 of a natural logarithm, in dB
    assert augment.gain_db == pytest.approx(3.476, abs=1e-3) and augment.mask_bands == 0
    assert (run_file.quantize.method, run_file.quantize.ptq.output) == ("ptq", "float")
    assert imported(FIRST, "quantization.quantize=false").run.steps == ("train", "evaluate_float")
    evaluated = FIRST.replace("model_type:", "model_path: a.tflite, model_type:")
    assert imported(evaluated).run.steps == ("evaluate",)
    assert imported(evaluated.replace("a.tflite", "a.h5")).run.steps == ("evaluate_float", "quantize", "evaluate")
    assert imported(evaluated, "stm32ai.c_project_path=../app").run.steps == ("deploy",)


def test_lines_and_names_of_messages_are_those_of_the_file():
    with pytest.raises(CheepError) as caught:
        imported(FIRST.replace("training_epochs: 7", "training_epochs: 0"), "model.dropout=2")
    assert "line 3: train_parameters.training_epochs=0: must be at least 1" in str(caught.value)
    assert "override: model.dropout=2: must be below 1" in str(caught.value)
    with pytest.raises(CheepError, match=r"pre_processing.top_dp: unknown setting \(did you mean 'top_db'\?\)"):
        imported(FIRST, "pre_processing.top_dp=3")
    with pytest.raises(CheepError, match=r"dataset.audio_path: contradicts dataset.training_audio_path; keep one"):
        imported(FIRST.replace("audio_path: birds,", "audio_path: birds, training_audio_path: owls,"))


def test_what_has_no_meaning_is_listed_once_under_the_files_names(caplog):
    with caplog.at_level(logging.INFO, "cheep"):
        parse_run_file(FIRST, "listed.yaml")
    for name in ("train_parameters.patience", "train_parameters.restore_best_weights", "stm32ai.footprints_on_target",
                 "stm32ai", "dataset_specific.fsd50k"):  # fmt: skip
        assert caplog.text.count(f" {name}: ") == 1, name


def test_quantization_needs_nothing_but_recordings_to_quantize_with():
    for mode, steps in (("quantization", ("quantize",)), ("chain_qb", ("quantize", "benchmark")),
                        ("chain_qd", ("quantize", "deploy"))):  # fmt: skip
        run_file = imported(THIRD.replace("MODE", mode))
        assert run_file.run.steps == steps and run_file.run.model == "../models/a.h5"
        assert (run_file.data.csv, run_file.data.audio_root) == ("birds.csv", "birds")
        assert not run_file.data.calibration.folder and run_file.data.split.val == 0.2
        assert (run_file.quantize.method, run_file.quantize.ptq.share) == ("ptq", 0.5)
        assert (run_file.quantize.ptq.input, run_file.quantize.ptq.output) == ("uint8", "int8")
        assert (run_file.run.model_unit, run_file.deploy.threshold) == ("ln", None)


def test_generation_4_has_a_section_for_the_model_and_tests_alone_are_enough_to_evaluate():
    run_file = imported(FOURTH)
    assert run_file.run.model == "a.tflite" and not run_file.data.csv
    assert (run_file.data.test.csv, run_file.data.test.audio_root) == ("birds.csv", "birds")
    with pytest.raises(CheepError, match=r"evaluation.target='stedgeai_n6': a connected board"):
        imported(FOURTH, "evaluation.target=stedgeai_n6", "evaluation.input_type=int8")
    files = (
        FOURTH.replace("evaluation", "prediction")
        .replace(", test_csv_path: birds.csv", "")
        .replace("test_audio_path", "prediction_audio_path")
    )
    assert imported(files).predict.files == "birds"
    with pytest.raises(CheepError, match=r"parameters: is a form of its own"):
        imported("general: {model_path: a.onnx, config_path: b}\nparameters: {profile: x}\n")


def test_a_network_trained_over_the_clips_maximum_is_said_to_hear_other_levels(caplog):
    with caplog.at_level(logging.INFO, "cheep"):
        run_file = parse_run_file(FOURTH.replace("to_db: False", "to_db: True"), "decibels.yaml")
    assert "feature_extraction.to_db: dB over full scale here; its network was trained on dB over the" in caplog.text
    assert (run_file.run.model_unit, run_file.features.log_offset) == ("db", 0)
    assert imported(FOURTH).features.log_offset == 1e-4


def test_an_unknown_class_of_a_models_own_is_called_as_it_learnt_it():
    run_file = imported(FOURTH, "dataset.use_garbage_class=true")
    assert (run_file.data.garbage, run_file.data.rename) == (2, {"garbage": "other"})


YAMNET = """
general: {project_name: tones}
operation_mode: training
model: {model_name: yamnet_e256, input_shape: "(64, 96, 1)", pretrained: True}
dataset: {class_names: [low, high], training_audio_path: birds}
preprocessing: {min_length: 1, max_length: 5, target_rate: 16000, top_db: 40, frame_length: 800, hop_length: 800}
feature_extraction: {patch_length: 96, n_mels: 64, overlap: 0.25, n_fft: 512, hop_length: 160, window_length: 400,
  center: False, power: 1.0, fmin: 125, fmax: 7500, norm: None, htk: True, to_db: False}
data_augmentation: {GaussianNoise: {enable: True, scale: 0.1}}
training: {fine_tune: False, epochs: 5}
"""


def test_networks_of_the_zoo_begin_with_its_weights(caplog):
    with caplog.at_level(logging.INFO, "cheep"):
        train = parse_run_file(YAMNET, "yamnet.yaml").train
    assert (train.model, train.backbone, train.cut, train.fine_tune) == ("yamnet", "backbones/yamnet", "6", "head")
    assert train.frozen_draws == 3 and "data_augmentation: of frozen layers the sound is changed 3 times" in caplog.text
    assert "model.model_name: its weights are read from backbones/yamnet (cheep backbone get yamnet" in caplog.text
    tuned = imported(YAMNET, "training.fine_tune=true", "train.backbone=own.h5").train
    assert (tuned.fine_tune, tuned.backbone, tuned.frozen_draws) == ("all", "own.h5", 0)
    for version, stacks in (("miniresnetv1_s1_ap", 1), ("miniresnetv2_s2", 2)):
        train = imported(YAMNET.replace("yamnet_e256", version)).train
        name = version.split("_")[0].replace("v1", "")
        assert (train.model, train.cut) == ("backbone", "end")
        assert train.backbone == f"backbones/{name}_{stacks}_stacks_backbone.h5"


def test_networks_of_the_zoo_that_are_refused():
    for text, message in (
        (YAMNET.replace("e256", "e1024"), r"model.model_name=1024: must be 256: YAMNet is cut behind its sixth layer"),
        (YAMNET.replace("pretrained: True", "pretrained: False"), "pretrained=false: this network begins with trained"),
        (YAMNET.replace("yamnet_e256", "miniresnet_s9"), "must be 1, 2 or 3"),
        (YAMNET.replace("yamnet_e256", "sepconv_s"), "pretrained=true: there are no trained weights of sepconv_s"),
    ):
        with pytest.raises(CheepError, match=message):
            imported(text)


def test_what_would_change_the_result_is_refused():
    for override, message in (
        ("quantization.quantizer=onnx_quantizer", "gives an ONNX file"),
        ("quantization.granularity=per_tensor", "must be per_channel"),
        ("quantization.quantization_input_type=int16", "must be int8, uint8 or float"),
        ("custom_data_augmentation.a=1", "Python code of the zoo"),
        ("dataset.classes_file_path=a.csv", "write its names into dataset.class_names"),
    ):
        with pytest.raises(CheepError, match=message):
            imported(THIRD.replace("MODE", "chain_qb"), override)
    for override, message in (("training.frozen_layers=(0:3)", "not frozen"), ("training.dryrun=true", "dryrun=true")):
        with pytest.raises(CheepError, match=message):
            imported(FIRST, override)
