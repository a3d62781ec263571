# SPDX-License-Identifier: MIT
"""What was chosen for a data set and a board, with the reasons in words; and what decides."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cheep.config import DataConfig, FeatureConfig, QatConfig, TrainConfig
from cheep.datasets.facts import LabelFacts

STEADY_RISE_DB = 20.0  # a sound that rises less over its own recording is partly its floor, which PCEN takes away
WORD_S = 1.0  # recordings below are words or calls that someone cut out


@dataclasses.dataclass(frozen=True)
class Reason:
    """One choice: what, and why."""

    choice: str
    why: str

    def __str__(self) -> str:
        return f"{self.choice}: {self.why}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """The settings that a data set and a board ask for, and the reasons in words."""

    features: FeatureConfig
    window_s: float
    hop_s: float
    train: TrainConfig
    qat: QatConfig
    reasons: tuple[Reason, ...]

    @property
    def paragraph(self) -> str:
        """All reasons as one paragraph."""
        return "Chosen: " + "; ".join(map(str, self.reasons)) + "."

    @property
    def comment(self) -> str:
        """The reasons as lines for the head of a run file."""
        lines = ["What split chose, and why (docs/defaults.md):", *(f"- {reason}" for reason in self.reasons)]
        return "\n".join(line for text in lines for line in textwrap.wrap(text, 116, subsequent_indent="  "))

    def applied_to(self, config: DataConfig) -> DataConfig:
        """Return the settings of data building with the chosen rate and windows."""
        windows = {**config.windows.to_dict(), "window_s": self.window_s, "hop_s": self.hop_s}
        return DataConfig.parse(
            {**config.to_dict(), "sample_rate_hz": self.features.sample_rate_hz, "windows": windows}, "options"
        )


@dataclasses.dataclass(frozen=True)
class Asked:
    """What decides: the targets among the labels, and what the user has set (section -> name -> value)."""

    facts: Sequence[LabelFacts]
    given: Mapping[str, Mapping[str, Any]]

    @property
    def targets(self) -> list[LabelFacts]:
        return [item for item in self.facts if not item.background and item.heard] or list(self.facts)

    @property
    def words(self) -> bool:
        """Every recording is a short sound that someone cut out."""
        return all(0 < item.recording_s < WORD_S for item in self.targets)

    @property
    def steadiest(self) -> LabelFacts:
        return min(self.targets, key=lambda item: item.rise_db)

    @property
    def taught(self) -> bool:
        """One target that rises over its recordings is told from background: two teachers serve it."""
        alone = len(self.targets) == 1 and any(item.background for item in self.facts)
        free = self.value("train", "model") is None and self.value("features", "compression") is None
        return alone and free and not self.words and self.steadiest.rise_db >= STEADY_RISE_DB

    def shift_frames(self, window_s: float, features: FeatureConfig) -> int:
        """How far the start of an example moves in training, columns."""
        return 8 if self.taught else round(window_s / 4 / features.hop_s)

    def value(self, section: str, name: str) -> Any:
        return self.given.get(section, {}).get(name)
