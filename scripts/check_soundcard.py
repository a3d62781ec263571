# SPDX-License-Identifier: MIT
"""Play recordings through a virtual sound card into the real program and compare with the offline run.

  python scripts/check_soundcard.py RECORDING... [--model RUN] [--rate HZ]

Exit 1 where the events differ from those of the recorded samples or (without --rate) from those of the file at the
offset at which it was heard, an event comes later than stride + 150 ms after its audio, or the listener takes more than
10 % of a core.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import read_audio
from cheep.device import Engine
from soundcard import Listener, hear_ctrl_c, locate, play, sound_card

MARGIN_S = 0.150
CPU_LIMIT = 10.0  # percent of a core


def activity(events: list[dict], offset_s: float, seconds: float) -> np.ndarray:
    """Whether any of ``events`` is on, every 10 ms of the file: (n,) bool."""
    times = np.arange(0, seconds, 0.01) + offset_s
    return np.any([(event["start_s"] <= times) & (times < event["end_s"]) for event in events] or [times < 0], axis=0)


def main() -> int:
    """Play, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+", help="played one after another, without a pause")
    parser.add_argument("--model", type=Path, help="run folder (default: the latest run)")
    parser.add_argument("--rate", type=int, help="rate to record at (default: the model's, no resampling anywhere)")
    parser.add_argument("--backend", choices=("tflm", "compiled"), default="tflm")
    args = parser.parse_args()
    hear_ctrl_c()
    engine = Engine(args.model)
    features = engine.bundle.features
    rate = features.sample_rate_hz
    pcm = np.concatenate([read_audio(path, rate) for path in args.recordings])
    with tempfile.TemporaryDirectory() as folder, sound_card(Path(folder) / "pulse", rate) as card:
        options = ["--rate", str(args.rate or rate), "--device", "pulse", "--backend", args.backend]
        listener = Listener(engine.bundle.path, card, Path(folder) / "session", *options)
        try:
            listener.wait_until_listening()
            began, used = time.monotonic(), listener.cpu_s()
            played = play(pcm, rate, card)
            time.sleep(1.0)
            cpu = 100 * (listener.cpu_s() - used) / (time.monotonic() - began)
            code, message = listener.end()
        finally:
            listener.kill()
        print(message.strip())
        if code != 0:
            return 1
        heard, dropped = read_audio(listener.folder / "audio.wav", rate), listener.summary()["dropped_blocks"]
    offset = locate(heard, pcm)
    same = offset + len(pcm) <= len(heard) and np.array_equal(heard[offset : offset + len(pcm)], pcm)
    print(
        f"{len(pcm) / rate:.1f} s played, heard from {offset / rate:.3f} s on; samples {'equal' if same else 'differ'}"
    )

    live = listener.ended_events()
    replayed = [{"type": "event", **event.to_dict()} for event in Engine(args.model).run(heard)]
    # The file behind the silence that preceded it live: windows lie as they lay there.
    whole = np.concatenate([heard[:offset], pcm, heard[offset + len(pcm) :]])
    offline = [{"type": "event", **event.to_dict()} for event in Engine(args.model).run(whole)]
    stride_s = engine.bundle.detector.stride_frames * features.hop_s
    late = np.array([moment - played - (event["decided_s"] - offset / rate) for moment, event in listener.lines])
    checks = {
        f"{len(live)} live events are those of the recorded audio": live == replayed,
        **({} if args.rate else {f"{len(live)} live events are those of the file at that offset": live == offline}),
        f"latency: median {1000 * np.median(late):.0f}, worst {1000 * late.max():.0f} ms after the audio"
        if len(late)
        else "no event": bool(len(late)) and late.max() <= stride_s + MARGIN_S,
        f"processor: {cpu:.1f} % of a core": cpu <= CPU_LIMIT,
        f"{dropped} blocks dropped": dropped == 0,
    }
    for text, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'} {text}")
    alone = [event.to_dict() for event in Engine(args.model).run(pcm) if event.ended]
    both = [activity(live, offset / rate, len(pcm) / rate), activity(alone, 0.0, len(pcm) / rate)]
    print(
        f"the file alone, its windows laid from its first sample: {len(alone)} events; detected or not alike in "
        f"{100 * np.mean(both[0] == both[1]):.1f} % of the time; limit of latency {1000 * (stride_s + MARGIN_S):.0f} ms"
    )
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
