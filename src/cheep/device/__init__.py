# SPDX-License-Identifier: MIT
"""The device path in Python: a checked model bundle, and the engine that hears, scores and detects as a board does."""

from cheep.device.bundle import ModelBundle, load_bundle
from cheep.device.engine import Engine, LiveEvent, ScoredWindow, StepResult

__all__ = ["Engine", "LiveEvent", "ModelBundle", "ScoredWindow", "StepResult", "load_bundle"]
