"""Listening on this machine exactly as the board does: engine, sources of audio, views, recorder, serial lines."""

from cheep.live.bundle import ModelBundle, load_bundle
from cheep.live.engine import Engine, LiveEvent, StepResult, WindowScores

__all__ = ["Engine", "LiveEvent", "ModelBundle", "StepResult", "WindowScores", "load_bundle"]
