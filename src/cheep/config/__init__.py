"""Typed, validated settings: YAML in, canonical JSON and hash out. No TensorFlow."""

from cheep.config.base import Settings, canonical_json, nearest_name
from cheep.config.detector import DetectorConfig, default_stride
from cheep.config.features import FeatureConfig
from cheep.config.training import AugmentConfig, QatConfig, TrainConfig

__all__ = [
    "AugmentConfig",
    "DetectorConfig",
    "FeatureConfig",
    "QatConfig",
    "Settings",
    "TrainConfig",
    "canonical_json",
    "default_stride",
    "nearest_name",
]
