# SPDX-License-Identifier: MIT
"""A season: the recordings of many cards in one folder of tables, with the scores of every window (docs/season.md)."""

from cheep.season.schema import ModelRow, SeasonError
from cheep.season.store import Season

__all__ = ["ModelRow", "Season", "SeasonError"]
