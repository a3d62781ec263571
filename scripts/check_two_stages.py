# SPDX-License-Identifier: MIT
"""A detector of two networks says the same everywhere: rows and events on this machine, events on the emulated core.

  python scripts/check_two_stages.py RUN DIR [--minutes 60] [--emulated-minutes 10]

RUN has a second network (cheep calibrate --verify). Reads recordings below DIR (in a fixed order) and compares: rows of
the scan (compiled networks) with those of the host application (TensorFlow Lite Micro), their events with those of
firmware/host (compiled), and of the first minutes with the application on the emulated Cortex-M4F. Exit status 1 on a
difference.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from check_bit_identity import collect
from cheep.audio import write_wav
from cheep.bench.application import run_emulated
from cheep.boards.host import HostApplication
from cheep.device.bundle import load_bundle
from cheep.device.scoring import WindowScorer, make_scorer
from cheep.emulator import M4F, run_tool
from cheep.errors import CheepError
from cheep.export import load_export, render_headers, render_networks, write_files
from cheep.resources import firmware_root

ROOMY = dataclasses.replace(M4F, ram_bytes=1 << 20, flash_bytes=1 << 21)  # two networks fit no AudioMoth
BLOCK = 4096


def events(lines: Iterable[str]) -> list[str]:
    """Return the lines of events, as they are."""
    return [json.dumps(json.loads(line), sort_keys=True) for line in lines if '"event"' in line]


def linked(export, pcm: np.ndarray) -> list[str]:
    """Return the events of firmware/host, built with both networks compiled."""
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        folder = Path(name)
        write_files(folder / "generated", {**render_headers(export), **render_networks(export)})
        write_wav(folder / "in.wav", pcm, export.bundle.features.sample_rate_hz)
        make = ["make", "-C", str(firmware_root() / "host"), f"GENERATED={folder}", f"BUILD={folder / 'build'}"]
        run_tool(make, "firmware/host")
        program = [str(folder / "build" / "cheep-host"), str(folder / "in.wav")]
        said = run_tool(program, "firmware/host")
    return events(said.splitlines())


def check(run: Path, folder: Path, minutes: float, emulated_minutes: float) -> bool:
    """Compare, say what was compared; True where all is the same."""
    bundle, export = load_bundle(run), load_export(run)
    if bundle.verifier is None:
        raise CheepError(f"{run}: has no second network (cheep calibrate --verify RUN)")
    rate = bundle.features.sample_rate_hz
    pcm = collect([folder], minutes, rate)
    scan = WindowScorer(bundle, make_scorer(bundle, "compiled"))
    rows = np.concatenate([scan.push(part)[1] for part in np.split(pcm, range(BLOCK, len(pcm), BLOCK))])
    seen: list[bytes] = []
    application = HostApplication(export, on_scores=lambda at, row: seen.append(bytes(row)))
    spoken = events([*application.run(pcm), *application.finish()])
    application.close()
    same = {"rows of the scan and of TFLM": b"".join(seen) == rows.tobytes()}
    same["events of TFLM and of firmware/host, compiled"] = linked(export, pcm) == spoken
    short = pcm[: int(emulated_minutes * 60 * rate)]
    application = HostApplication(export)
    expected = events([*application.run(short), *application.finish()])
    application.close()
    *lines, cost = run_emulated(export, [short], core=ROOMY)
    same[f"events of the first {emulated_minutes:g} minutes on the emulated core"] = events(lines) == expected
    print(f"{len(pcm) / rate / 60:.1f} minutes, {len(rows)} windows, {scan.verified} verified, {len(spoken)} lines of "
          f"events, {len(expected)} in what was emulated; {json.loads(cost)['instructions_per_second']:.3g} "
          "instructions a second there")  # fmt: skip
    for what, equal in same.items():
        print(f"{what}: {'the same' if equal else 'DIFFERENT'}")
    return all(same.values())


def main() -> int:
    """Compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path, help="of recordings")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--emulated-minutes", type=float, default=10.0)
    args = parser.parse_args()
    try:
        return 0 if check(args.run, args.folder, args.minutes, args.emulated_minutes) else 1
    except CheepError as error:
        print(f"check_two_stages.py: {error}", file=sys.stderr)
        return error.exit_status


if __name__ == "__main__":
    raise SystemExit(main())
