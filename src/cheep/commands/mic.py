# SPDX-License-Identifier: MIT
"""Check a microphone with a reference set of sounds, and say what is wrong with it.

  cheep mic probe                                   play through the loudspeaker, record with this microphone
  cheep mic signal set.wav                          the set, to play from another device
  cheep mic probe --recording board.wav --baseline laptop.wav --profile board.json

Record with board and laptop side by side while the set plays; the laptop's recording cancels loudspeaker and room.
Exit status 1 when a fault was found. The profile feeds augmentation and calibration.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="probe|signal")
    signal = commands.add_parser("signal", help="write the reference set as WAV")
    signal.add_argument("output", type=Path, help="WAV file to write")
    probe = commands.add_parser("probe", help="analyse a recording of the set, or play and record it now")
    probe.add_argument("--recording", type=Path, metavar="WAV", help="what the board recorded (card, serial)")
    probe.add_argument("--baseline", type=Path, metavar="WAV", help="the same through a trusted microphone")
    probe.add_argument("--profile", type=Path, metavar="JSON", help="write the microphone's profile")
    probe.add_argument("--save", type=Path, metavar="WAV", help="keep what was recorded now")
    probe.add_argument("--device", help="input to record from (cheep listen --list-devices)")


def run(args: argparse.Namespace) -> int:
    """Write the set, or probe."""
    from cheep.audio import float_to_int16, write_wav
    from cheep.live import probe_signal

    if args.what == "signal":
        rate = probe_signal.MASTER_RATE_HZ
        write_wav(args.output, float_to_int16(probe_signal.reference(rate)), rate)
        print(f"{args.output}: {probe_signal.duration_s():.0f} s; record from before its start until after its end")
        return 0
    from cheep.live.probe import analyse, write_profile

    baseline = analyse(*_read(args.baseline)) if args.baseline else None
    pcm, rate = _read(args.recording) if args.recording else _play_and_record(args.device)
    if args.save:
        write_wav(args.save, pcm, rate)
    result = analyse(pcm, rate, baseline)
    _print(result)
    if args.profile:
        write_profile(args.profile, result)
        print(f"profile written: {args.profile}")
    return 1 if result.findings else 0


def _read(path: Path):
    from cheep.audio import probe, read_audio

    rate = probe(path).sample_rate_hz
    return read_audio(path, rate), rate


def _play_and_record(device: str | None):
    from cheep.audio import float_to_int16
    from cheep.live import probe_signal
    from cheep.live.devices import explain, find_input, import_sounddevice

    sounddevice = import_sounddevice()
    found = find_input(device)
    rate = probe_signal.MASTER_RATE_HZ
    import numpy as np

    sound = np.concatenate([float_to_int16(probe_signal.reference(rate)), np.zeros(rate, np.int16)])
    print(f"playing {probe_signal.duration_s():.0f} s of test sounds, recording with {found.name!r}: please be quiet")
    try:
        recorded = sounddevice.playrec(
            sound[:, None], samplerate=rate, channels=1, dtype="int16", device=(found.index, None), blocking=False
        )
        sounddevice.wait()
    except (sounddevice.PortAudioError, ValueError, OSError) as error:
        raise explain(error, found, rate) from None
    return recorded[:, 0], rate


def _print(result) -> None:
    if result.gain_db is not None:
        print(
            f"gain {result.gain_db:+.1f} dB, noise floor {result.noise_floor_db:.1f} dBFS, DC {100 * result.dc:.2f} %,"
        )
        clipping = "no clipping" if result.clipping_db is None else f"clipping at {result.clipping_db:.1f} dBFS"
        print(f"clock {result.clock_error_percent:+.2f} %, {clipping}")
        shown = [point for point in result.response if point[0] in (125, 250, 500, 1000, 2000, 3150, 3600, 6300, 10000)]
        print("response: " + "  ".join(f"{band:g} Hz {gain:+.0f}" for band, gain in shown))
    for item in result.findings:
        print(f"- {item.text}")
    if not result.findings:
        print("no fault found")
