# SPDX-License-Identifier: MIT
"""The settings of the zoo's generations 2 and 3: which are taken, listed, translated."""

from __future__ import annotations

from cheep.config.training import AugmentConfig
from cheep.config.zoo.generations import OWN_SECTIONS

SECTIONS = (
    "operation_mode", "steps", "general", "dataset", "preprocessing", "feature_extraction", "data_augmentation",
    "training", "quantization", "evaluation", "prediction", "tools", "benchmarking", "deployment", "mlflow", "hydra",
    "custom_data_augmentation", "dataset_specific", "parameters", *OWN_SECTIONS,
)  # fmt: skip
OPERATIONS = {
    "training": "train", "evaluation": "evaluate", "evaluation_float": "evaluate_float", "quantization": "quantize",
    "prediction": "predict", "benchmarking": "benchmark", "benchmarking_float": "benchmark_float",
    "deployment": "deploy",
}  # fmt: skip
CHAINS = {
    "chain_tqe": ("training", "quantization", "evaluation"),
    "chain_tbqeb": ("training", "benchmarking_float", "quantization", "evaluation", "benchmarking"),
    "chain_tqeb": ("training", "quantization", "evaluation", "benchmarking"),
    "chain_eqe": ("evaluation_float", "quantization", "evaluation"),
    "chain_qb": ("quantization", "benchmarking"),
    "chain_eqeb": ("evaluation_float", "quantization", "evaluation", "benchmarking"),
    "chain_qd": ("quantization", "deployment"),
    "chain_tqed": ("training", "quantization", "evaluation", "deployment"),
}
MODES = (*(name for name in OPERATIONS if not name.endswith("_float")), *CHAINS)

#: What is taken as it is: the zoo's name -> ours.
TAKEN = {
    "general.project_name": "run.name",
    "general.model_path": "run.model",
    "general.output_dir": "run.folder",
    "general.cache_dir": "run.cache",
    "general.gpu_memory_limit": "run.gpu_memory_gib",
    "dataset.class_names": "data.labels",
    "dataset.file_extension": "data.suffix",
    "dataset.validation_split": "data.split.val",
    "dataset.test_split": "data.split.test",
    "dataset.quantization_split": "quantize.ptq.share",
    "dataset.folds": "data.split.folds",
    "dataset.test_folds": "data.split.test_folds",
    "dataset.validation_folds": "data.split.val_folds",
    "dataset.cross_validate": "data.split.cross_validate",
    "dataset.group_column": "data.group_column",
    "dataset.multi_label": "data.multi_label",
    "preprocessing.min_length": "data.clips.min_s",
    "preprocessing.max_length": "data.clips.max_s",
    "preprocessing.target_rate": "features.sample_rate_hz",
    "preprocessing.top_db": "data.clips.silence_db",
    "preprocessing.frame_length": "data.clips.silence_frame_samples",
    "preprocessing.hop_length": "data.clips.silence_hop_samples",
    "preprocessing.trim_last_second": "data.clips.whole_seconds",
    "preprocessing.lengthen": "data.clips.lengthen",
    "feature_extraction.patch_length": "features.window_frames",
    "feature_extraction.n_mels": "features.n_mels",
    "feature_extraction.n_fft": "features.fft_size",
    "feature_extraction.hop_length": "features.hop_samples",
    "feature_extraction.window_length": "features.frame_samples",
    "feature_extraction.pad_mode": "data.clips.pad_mode",
    "feature_extraction.fmin": "features.fmin_hz",
    "feature_extraction.fmax": "features.fmax_hz",
    "feature_extraction.include_last_patch": "data.windows.last",
    "feature_extraction.compression": "features.compression",
    "feature_extraction.layout": "run.model_layout",
    "feature_extraction.log_offset": "features.log_offset",
    **{
        f"data_augmentation.{name}": f"train.augment.{name}"
        for name in AugmentConfig.model_fields
        if name not in ("trim_db", "trim_probability")
    },
    "training.epochs": "train.epochs",
    "training.batch_size": "train.batch_size",
    "training.dropout": "train.dropout",
    "training.learning_rate": "train.learning_rate",
    "training.weight_decay": "train.weight_decay",
    "training.label_smoothing": "train.label_smoothing",
    "training.warmup_epochs": "train.warmup_epochs",
    "training.average_last": "train.average_last",
    "training.examples_per_epoch": "train.examples_per_epoch",
    "quantization.export_dir": "quantize.folder",
    "quantization.epochs": "quantize.qat.epochs",
    "quantization.learning_rate": "quantize.qat.learning_rate",
    "quantization.batch_size": "quantize.qat.batch_size",
    "evaluation.unknown_class_threshold": "evaluate.unknown_below",
    "prediction.test_files_path": "predict.files",
    "prediction.unknown_class_threshold": "predict.unknown_below",
    "deployment.output_dir": "deploy.folder",
    "deployment.backend": "deploy.backend",
    "deployment.unknown_class_threshold": "deploy.threshold",
    "mlflow.uri": "track.mlflow",
    "mlflow.experiment": "track.experiment",
    "hydra.run.dir": "run.folder",
}

#: What has no meaning here and changes no result: why.
LISTED = {
    "general.saved_models_dir": "models lie in the run folder",
    "general.display_figures": "figures are in the report",
    "general.deterministic_ops": "runs are always seeded",
    "general.num_threads_tflite": "a number of threads changes no score",
    "general.batch_size": "how many windows are judged at once changes no score",
    "dataset.name": "only a name; labels and files come from class_names and the CSV",
    "dataset.expand_last_dim": "the networks' inputs have one form",
    "dataset.batch_size": "how many windows are judged at once changes no score",
    "dataset.to_cache": "features are always kept",
    "dataset.shuffle": "training always shuffles",
    "training.patience": "the schedule has a fixed length (epochs); the best weights, or the average, are kept",
    "training.callbacks": "the schedule is fixed (warm-up, cosine, averaged weights)",
    "training.restore_best_weights": "the weights with the lowest validation loss, or the average, are kept",
    "training.trained_model_path": "the trained model is model.h5 of the run folder",
    "training.model.framework": "TensorFlow is the only one",
    "training.model.version": "the name says it",
    "quantization.target_opset": "of the ONNX quantizer",
    "quantization.onnx_quant_parameters": "of the ONNX quantizer",
    "quantization.onnx_extra_options": "of the ONNX quantizer",
    "quantization.extra_options": "of the ONNX quantizer",
    "quantization.op_types_to_quantize": "of the ONNX quantizer",
    "quantization.iterative_quant_parameters": "of the ONNX quantizer",
    "quantization.operating_mode": "of the ONNX quantizer",
    "quantization.optimize": "the converter always does",
    "tools.stm32ai": "networks are compiled by cheep compile, or run in TFLM",
    "tools.stedgeai": "networks are compiled by cheep compile, or run in TFLM",
    "tools.path_to_cubeIDE": "firmware is built with PlatformIO",
    "tools.benchmark.board": "instructions are counted on the emulated Cortex-M4F",
    "benchmarking.board": "instructions are counted on the emulated Cortex-M4F",
    "deployment.c_project_path": "the firmware's headers go to the run folder (deployment.output_dir)",
    "deployment.IDE": "firmware is built with PlatformIO",
    "deployment.verbosity": "nothing is built here",
    "deployment.hardware_setup": "the board is chosen when the firmware is built",
    "deployment.build_conf": "firmware is built with PlatformIO",
    "hydra.verbose": "only hydra.run.dir is used",
    "hydra.job_logging": "only hydra.run.dir is used",
    "hydra.output_subdir": "only hydra.run.dir is used",
    "evaluation.gen_npy_input": "windows stay in the feature cache",
    "evaluation.gen_npy_output": "scores are in evaluation_*.json and the report",
    "evaluation.npy_in_name": "windows stay in the feature cache",
    "evaluation.npy_out_name": "scores are in evaluation_*.json and the report",
    "prediction.seed": "nothing is drawn",
    "dataset_specific.fsd50k": "only read where dataset.name is fsd50k",
}

#: What the zoo says of a connected board, of which only its own programs know.
ON_TARGET = ("target", "profile", "input_type", "output_type", "input_chpos", "output_chpos")
#: What is translated by the importer.
HANDLED = (
    "general.logs_dir", "general.tensorboard", "general.global_seed", "dataset.seed",
    *(f"dataset.{part}_{kind}_path" for part in ("training", "validation", "test", "quantization")
      for kind in ("audio", "csv")),
    "dataset.use_garbage_class", "dataset.n_samples_per_garbage_class", "feature_extraction.overlap",
    "feature_extraction.window", "feature_extraction.center", "feature_extraction.power", "feature_extraction.norm",
    "feature_extraction.htk", "data_augmentation.GaussianNoise.enable", "data_augmentation.GaussianNoise.scale",
    *(f"data_augmentation.VolumeAugment.{name}" for name in ("enable", "min_scale", "max_scale")),
    *(f"data_augmentation.SpecAug.{name}" for name in (
        "enable", "freq_mask_param", "time_mask_param", "n_freq_mask", "n_time_mask", "mask_value")),
    "training.model.name", "training.model.input_shape", "training.model.pretrained_weights", "training.optimizer",
    "training.fine_tune",
    "training.resume_training_from", "training.frozen_layers", "training.dryrun", "training.model.embedding_size",
    "training.model.n_stacks", "training.model.pooling", "feature_extraction.to_db", "quantization.quantizer",
    "dataset.classes_file_path",
    *(f"{section}.{name}" for section in ("evaluation", "prediction") for name in ON_TARGET),
    "quantization.quantization_type", "quantization.quantization_input_type",
    "quantization.quantization_output_type", "quantization.granularity",
)  # fmt: skip
KNOWN = (*TAKEN, *LISTED, *HANDLED)
#: Sections inside sections.
INNER = {name.rpartition(".")[0] for name in KNOWN if name.count(".") > 1}
#: Sections whose content is not looked at.
OPEN = (
    "training.optimizer", "training.callbacks", "tools.stedgeai", "tools.stm32ai", "deployment.hardware_setup",
    "hydra.job_logging", "dataset_specific.fsd50k", "quantization.onnx_quant_parameters",
    "quantization.onnx_extra_options", "quantization.extra_options", "quantization.iterative_quant_parameters",
    "custom_data_augmentation", "parameters",
)  # fmt: skip
WORD_LISTS = ("data.labels", "data.split.folds", "data.split.test_folds", "data.split.val_folds")
#: Files and folders, which the zoo's users write for Windows too.
PATHS = (
    "general.model_path", "prediction.test_files_path",
    *(f"dataset.{part}_{kind}_path" for part in ("training", "validation", "test", "quantization")
      for kind in ("audio", "csv")),
)  # fmt: skip
