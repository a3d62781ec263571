"""Typed, validated settings: YAML in, canonical JSON and hash out. No TensorFlow."""

from cheep.config.base import Settings, canonical_json, nearest_name
from cheep.config.detector import DetectorConfig
from cheep.config.features import FeatureConfig

__all__ = ["DetectorConfig", "FeatureConfig", "Settings", "canonical_json", "nearest_name"]
