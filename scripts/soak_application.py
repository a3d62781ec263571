# SPDX-License-Identifier: MIT
"""Hours of simulated time through the firmware's application: no drift, no lost or doubled event, gaps counted.

    python scripts/soak_application.py --hours 24

One minute of sound with three calls repeats; it arrives in chunks of 1 to 4,096 samples; the clock and the ring's
counters pass their wrap-around; once an hour the main loop sleeps until samples are lost. A small stand-in takes the
place of the network, so that the run is dominated by the front end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]

from cheep.boards.host import HostApplication  # noqa: E402
from cheep.export import load_export  # noqa: E402
from cheep.tflite.tflm import TflmModel  # noqa: E402
from tone_model import tones, write_tone_run  # noqa: E402

RATE, MINUTE_S = 8000, 60
CALLS = [(5.0, 6.5, "high"), (20.0, 22.0, "low"), (41.0, 44.0, "high")]


class Memory:
    """TFLM, asked once per different window: the sound repeats."""

    def __init__(self, data: bytes):
        self._runtime, self._known = TflmModel(data), {}

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Return the scores of one window."""
        key = windows.tobytes()
        if key not in self._known:
            if len(self._known) > 50_000:
                self._known.clear()
            self._known[key] = self._runtime.scores(windows)
        return self._known[key]


def main() -> int:
    """Run, compare with what must come, print the result; 1 when anything is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.monotonic()
    rng = np.random.default_rng(args.seed)
    minute = tones(CALLS, MINUTE_S)
    with tempfile.TemporaryDirectory() as folder:
        export = load_export(write_tone_run(Path(folder)))
    application = HostApplication(export, runtime=Memory(export.bundle.model.data), ring_samples=16384)
    application.set_ring_counters(2**32 - 3_000_000)
    application.lines()
    minutes = round(args.hours * 60)
    gaps, lines, lost = [], [], 0
    for number in range(minutes):
        at = 0
        gap_from = int(rng.integers(50, 55)) * RATE if number % 60 == 30 else None  # between calls
        application.clock_add_us(MINUTE_S * 1_000_000)
        while at < len(minute):
            n = int(rng.integers(1, 4097))
            block = minute[at : at + n]
            asleep = gap_from is not None and gap_from <= at < gap_from + 4 * RATE
            taken = application.push(block)
            if taken < len(block):
                lost += len(block)
                if not gaps or gaps[-1] != number:
                    gaps.append(number)
            at += len(block)
            if not asleep:
                application.poll()
        lines += application.lines()
    lines += list(application.finish())
    return report(minutes, lines, gaps, lost, time.monotonic() - began)


def report(minutes: int, lines: list[str], gaps: list[int], lost: int, took_s: float) -> int:
    """Compare the lines with the calls of every minute."""
    messages = [json.loads(line) for line in lines]
    ended = [m for m in messages if m["type"] == "event" and m["state"] == "end"]
    stats = [m for m in messages if m["type"] == "stats"]
    problems = []
    if len(ended) != minutes * len(CALLS):
        problems.append(f"{len(ended)} events for {minutes * len(CALLS)} calls")
    worst = 0.0
    for number, event in enumerate(ended):
        start, _stop, label = CALLS[number % len(CALLS)]
        expected = (number // len(CALLS)) * MINUTE_S + start
        worst = max(worst, abs(event["start_s"] - expected))
        if event["label"] != label:
            problems.append(f"event {number} is {event['label']} for {label}")
            break
    if worst > 1.0:  # a window before the call, at most
        problems.append(f"an event begins {worst:.2f} s from its call")
    if stats and (stats[-1]["overruns"], stats[-1]["lost_samples"]) != (len(gaps), lost) and minutes % 60 != 31:
        problems.append(f"{stats[-1]['overruns']} gaps, {stats[-1]['lost_samples']} samples for {len(gaps)}, {lost}")
    print(
        f"{minutes / 60:.2f} h in {took_s:.0f} s: {len(ended)} events, the start of none further than {worst:.2f} s "
        f"from its call; {len(gaps)} gaps with {lost} samples lost, {len(stats)} reports"
    )
    for problem in problems:
        print(f"  WRONG: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
