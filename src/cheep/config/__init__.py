# SPDX-License-Identifier: MIT
"""Typed, validated settings: YAML in, canonical JSON and hash out. No TensorFlow."""

from cheep.config.base import Settings, canonical_json, nearest_name
from cheep.config.data import (
    NUISANCE_KINDS,
    ActivityConfig,
    BuildConfig,
    ClipConfig,
    DataConfig,
    SourceConfig,
    SplitConfig,
    SyntheticBackgroundConfig,
    VoicesConfig,
    WindowConfig,
)
from cheep.config.detector import DetectorConfig, default_stride, parse_threshold
from cheep.config.features import FeatureConfig
from cheep.config.quantize import PtqConfig, QatConfig, QuantizeConfig
from cheep.config.reader import load_run_file, parse_run_file, save_run_file
from cheep.config.run_file import (
    SIGNAL_NAMES,
    DeployConfig,
    EvaluateConfig,
    PredictConfig,
    RunConfig,
    RunDetectorConfig,
    RunFile,
    TrackConfig,
)
from cheep.config.training import AugmentConfig, TrainConfig

__all__ = [
    "NUISANCE_KINDS",
    "SIGNAL_NAMES",
    "ActivityConfig",
    "AugmentConfig",
    "BuildConfig",
    "ClipConfig",
    "DataConfig",
    "DeployConfig",
    "DetectorConfig",
    "EvaluateConfig",
    "FeatureConfig",
    "PredictConfig",
    "PtqConfig",
    "QatConfig",
    "QuantizeConfig",
    "RunConfig",
    "RunDetectorConfig",
    "RunFile",
    "Settings",
    "SourceConfig",
    "SplitConfig",
    "SyntheticBackgroundConfig",
    "TrackConfig",
    "TrainConfig",
    "VoicesConfig",
    "WindowConfig",
    "canonical_json",
    "default_stride",
    "load_run_file",
    "nearest_name",
    "parse_run_file",
    "parse_threshold",
    "save_run_file",
]
