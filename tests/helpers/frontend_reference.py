# SPDX-License-Identifier: MIT
"""Test signals, and the detector in plain Python (the front end's reference: cheep.features.check)."""

from __future__ import annotations

import numpy as np


def signals(rng: np.random.Generator, n: int, rate_hz: int = 8000) -> dict[str, np.ndarray]:
    """Return test signals, int16: silence, impulses, squares and chirps at full scale, noises, and a bird-like one."""
    t = np.arange(n) / rate_hz
    impulses = np.zeros(n)
    impulses[n // 6 :: n // 4] = 32767
    trill = np.sin(2 * np.pi * (2500 * t + 10 * np.sin(2 * np.pi * 30 * t)))
    syllables = 4000 * trill * (np.sin(2 * np.pi * 5 * t) > 0)
    made = {
        "silence": np.zeros(n),
        "impulses": impulses,
        "square": 32767 * np.sign(np.sin(2 * np.pi * 440 * t + 0.1)),
        "square of 16 samples": np.where((np.arange(n) // 8) % 2, 32767, -32768),
        "fast chirp": 32767 * np.sin(2 * np.pi * (100 * t + 2400 * t * t)),
        "slow chirp": 32767 * np.sin(2 * np.pi * (1000 * t + 20 * t * t)),
        "noise": 3000 * rng.standard_normal(n),
        "quiet noise": 2 * rng.standard_normal(n),
        "bird-like": syllables + 20 * rng.standard_normal(n).cumsum(),
    }
    return {name: np.clip(np.round(x), -32768, 32767).astype(np.int16) for name, x in made.items()}


class PlainDetector:
    """The detector's rule in plain Python, from the header's words; sums are recomputed for every window."""

    def __init__(self, thresholds, smoothing, min_windows, hold_off):
        self.thresholds, self.smoothing, self.min_windows, self.hold_off = thresholds, smoothing, min_windows, hold_off

    def run(self, scores):
        """Return (label, ended, first, last, peak_sum) of every event, in the order of windows, then labels."""
        out = []
        for label, (on, off) in enumerate(self.thresholds):
            sums = [int(scores[max(0, i + 1 - self.smoothing) : i + 1, label].sum()) for i in range(len(scores))]
            out += [(w, label, *event) for w, event in self._one_class(sums, on, off)]
        out.sort(key=lambda e: (e[0], e[1]))
        return [event[1:] for event in out]

    def _one_class(self, sums, on, off):
        active, run, quiet, events = None, [], 0, []
        for i, total in enumerate(sums):
            if active is not None:
                if total >= off:
                    active.append(i)
                    continue
                events.append((i, (True, active[0], active[-1], max(sums[j] for j in active))))
                active, run, quiet = None, [], self.hold_off
            elif quiet:
                quiet -= 1
            elif on != 2**31 - 1 and i + 1 >= self.smoothing and total >= on:
                run.append(i)
                if len(run) == self.min_windows:
                    active = run
                    events.append((i, (False, run[0], i, max(sums[j] for j in run))))
            else:
                run = []
        if active is not None:
            events.append((len(sums), (True, active[0], active[-1], max(sums[j] for j in active))))
        return events
