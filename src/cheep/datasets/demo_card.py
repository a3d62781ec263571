# SPDX-License-Identifier: MIT
"""A card of the demo: what two recorders brought home, and the truth beside it. For trying the field loop.

``CARD/SITE/YYYYMMDD_HHMMSS.WAV`` and ``CARD/truth.csv`` (file, start_s, end_s, label; every call is there). The birds,
their distances and the weather are the soundscape's, which no training example has; one site is louder than the other.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from cheep.datasets.demo import soundscape, write_wav
from cheep.files import write_csv

SITES = ("creek", "ridge")
TRUTH = "truth.csv"
_FIRST = datetime.datetime(2026, 5, 28, 21, 0)


def make_demo_card(folder: Path, nights: int = 4, minutes: float = 4.0, seed: int = 1) -> tuple[int, int]:
    """Write a card of ``nights`` nights of two sites, a recording of ``minutes`` each; return (recordings, calls).

    The same seed gives the same bytes.
    """
    rows: list[tuple[str, str, str, str]] = []
    files = 0
    for site, name in enumerate(SITES):
        for night in range(nights):
            rng = np.random.default_rng([seed, site, night])
            samples, calls = soundscape(minutes * 60, rng)
            file = f"{name}/{_FIRST + datetime.timedelta(days=night):%Y%m%d_%H%M%S}.WAV"
            write_wav(folder / file, samples)
            files += 1
            rows += [(file, f"{call.start_s:.3f}", f"{call.end_s:.3f}", call.label) for call in calls]
    write_csv(folder / TRUTH, ("file", "start_s", "end_s", "label"), rows)
    return files, len(rows)
