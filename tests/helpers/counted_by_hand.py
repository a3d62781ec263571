# SPDX-License-Identifier: MIT
"""What a detector does at every threshold, written down instead of measured: for the scripts' bird benchmark."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import bench_bird


def counted(alarms, found, thresholds, hours, groups=None):
    """Counts by hand: (thresholds, recordings) of background and of birds."""
    fold = bench_bird.Counted.__new__(bench_bird.Counted)
    background, birds = np.shape(alarms)[1], np.shape(found)[1]
    fold.thresholds = np.array(thresholds)
    fold.alarms = np.concatenate([alarms, np.zeros((len(thresholds), birds))], axis=1)
    fold.found = np.concatenate([np.zeros((len(thresholds), background)), found], axis=1)
    fold.events = np.repeat([0.0, 1.0], [background, birds])
    fold.hours = np.repeat([hours / background, 0.0], [background, birds])
    fold.groups = groups or [f"g{i}" for i in range(background + birds)]
    return fold
