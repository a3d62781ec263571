# SPDX-License-Identifier: MIT
"""Every board with every backend and one detector: does it fit, what was built here, what ran here, what was not shown.

  python scripts/board_matrix.py RECORDING ... [--model RUN] [--write docs/boards.md]

Built: firmware without vendor code; with $PICO_SDK_PATH also the Pico's. For other boards the application with the
compiled network is linked for the board's processor. Run: the same on the emulated core, its event lines against this
machine's. What was done by hand with vendors' code stands with its date in BY_HAND.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.audio import read_audio
from cheep.bench.application import write_generated
from cheep.bench.cores import check_cores
from cheep.boards.budget import check_need, needs_compiled, needs_tflm, refused_for
from cheep.boards.data import BOARDS, Board
from cheep.boards.host import application_sources
from cheep.compiler import compile_model
from cheep.emulator import CORES, Core, build_elf, elf_sizes, run_tool
from cheep.errors import CheepError
from cheep.export import ExportModel, load_export
from cheep.resources import firmware_root

TFLM = {"audiomoth": "audiomoth-tflm", "esp32": "esp32", "esp32s3": "esp32s3-tflm"}
VENDOR = {
    "audiomoth": "AudioMoth-Project is fetched by PlatformIO",
    "esp32": "wants ESP-IDF",
}
#: Done by hand where the vendor's code was at hand, with this table's detector; how: docs/firmware.md.
BY_HAND = {
    "esp32c3": (
        "with ESP-IDF 5.5.5 and Debian's gcc 12.2: image of 283,136 B, 2026-11-27",
        "emulated ESP32-C3 with its ROM, fed from flash: boot check passed, the host's event lines, 2026-11-27",
    ),
    "esp32": (
        "with ESP-IDF 5.5.5 and GCC 12.2: image of 251,472 B, 2026-11-27",
        "emulated ESP32 with its ROM, fed from flash: boot check passed, the host's event lines, 2026-11-27",
    ),
    "esp32s3": ("with ESP-IDF 5.5.5 and GCC 12.2: image of 284,064 B, 2026-11-27", ""),
}
START, END = "<!-- board matrix -->", "<!-- end of the board matrix -->"


def fits(export: ExportModel, board: Board, backend: str) -> str:
    """Return what the budget says."""
    model, classes = export.bundle.model, len(export.bundle.labels)
    if backend == "compiled":
        need = needs_compiled(compile_model(export.bundle.path), export.features, classes)
    else:
        if reason := refused_for(board, model):
            return f"refused: {reason}"
        need = needs_tflm(model, export.arena_bytes, export.features, board)
    try:
        check_need(need, board, "detector")
    except CheepError:
        return f"NO: {need.flash_bytes:,} B flash, {need.ram_bytes:,} B RAM"
    flash = f"{need.flash_bytes:,} of {board.free_flash_bytes:,} B flash"
    return f"yes: {flash}, {need.ram_bytes:,} of {board.free_ram_bytes:,} B RAM"


def built(board: Board, core: Core | None, export: ExportModel) -> str:
    """Return what could be linked or compiled here for the compiled network."""
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        folder = Path(name)
        generated = write_generated(export, folder)
        if board.firmware == "boards/pico":
            return pico(board, folder)
        if board.firmware.startswith("boards/"):
            return plain(board, folder)
        if core is None:
            return f"no: {VENDOR.get(board.firmware, 'no firmware of its own')}"
        if reason := core.missing():
            return f"no: {reason}"
        program = firmware_root() / "emulator" / "main_application.c"
        sources = [*application_sources(), generated / "model_compiled.c", program]
        flags = ["-DCHEEP_BACKEND_COMPILED", "-DCHEEP_CLASSES_OF_MODEL", f'-DEMULATOR_BOARD="{core.name}"']
        elf = build_elf(sources, folder / "a.elf", include_dirs=[folder], flags=flags, core=core, ram_bytes=256 * 1024)
        sizes = elf_sizes(elf)
        why = f"; board's own code: {VENDOR[board.firmware]}" if board.firmware in VENDOR else ""
        return f"application for {core.title}: {sizes.flash:,} B flash, {sizes.ram:,} B RAM{why}"


def plain(board: Board, folder: Path) -> str:
    """Link a firmware without vendor code."""
    name = board.firmware.split("/")[1]
    command = ["make", "-C", str(firmware_root() / "boards"), f"BOARD={name}", f"GENERATED={folder}"]
    command.append(f"BUILD={folder}/out")
    run_tool(command, board.title)
    sizes = elf_sizes(folder / "out" / f"{name}.elf")
    return f"firmware linked: {sizes.flash:,} B flash, {sizes.ram:,} B RAM"


def pico(board: Board, folder: Path) -> str:
    """Link the Pico's firmware with its SDK, where that is there."""
    sdk = os.environ.get("PICO_SDK_PATH", "")
    if not sdk:
        return "no: $PICO_SDK_PATH is not set"
    kind = "pico2" if board.name == "rp2350" else "pico"
    project = firmware_root() / "boards" / "pico"
    options = [f"-DPICO_BOARD={kind}", f"-DGENERATED={folder}", "-DPICO_NO_PICOTOOL=1"]
    what = f"{board.title} (PICO_SDK_PATH= leaves it out)"
    run_tool(["cmake", "-S", str(project), "-B", f"{folder}/out", *options], what)
    run_tool(["cmake", "--build", f"{folder}/out", "--target", "cheep"], what)
    sizes = elf_sizes(folder / "out" / "cheep.elf")
    usb = "" if (Path(sdk) / "lib/tinyusb/src").is_dir() else " without USB (no TinyUSB)"
    return f"firmware linked{usb}: {sizes.flash:,} B flash, {sizes.ram:,} B RAM"


def check_given(seconds: float, write: Path | None) -> None:
    """Raise CheepError for what would be found out only after minutes of building."""
    if not seconds > 0:
        raise CheepError(f"--seconds {seconds:g}: must be above 0")
    if write is not None:
        try:
            text = write.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheepError(f"--write {write}: cannot be read ({getattr(error, 'strerror', error)})") from None
        if text.find(START) < 0 or text.find(END) < text.find(START):
            raise CheepError(f"--write {write}: must hold the lines {START} and {END}, between which the table goes")
    sdk = os.environ.get("PICO_SDK_PATH", "")
    if sdk and not (Path(sdk) / "pico_sdk_init.cmake").is_file():
        raise CheepError(
            f"PICO_SDK_PATH={sdk}: holds no pico_sdk_init.cmake: give the folder of the Pico SDK, or set it to nothing "
            "to leave its boards out"
        )


def main() -> int:
    """Build, run, print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="+", type=Path)
    parser.add_argument("--model", help="run folder or .tflite (default: the latest run)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio at the most (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between its marks in this document")
    args = parser.parse_args()
    try:
        check_given(args.seconds, args.write)
        export = load_export(args.model)
        rate = export.features.sample_rate_hz
        pcm = np.concatenate([read_audio(path, rate) for path in args.recording])[: round(args.seconds * rate)]
        text = render(export, pcm)
    except CheepError as error:
        print(f"board_matrix.py: {error}", file=sys.stderr)
        return error.exit_status
    if args.write:
        whole = args.write.read_text(encoding="utf-8")
        head, tail = whole.split(START)[0], whole.split(END)[1]
        args.write.write_text(f"{head}{START}\n{text}{END}{tail}", encoding="utf-8")
    else:
        print(text)
    return 0


def render(export: ExportModel, pcm: np.ndarray) -> str:
    """Return the table, with the day and the model."""
    cores = {core.name: core for core in CORES}
    result = check_cores(export, pcm, [cores[n] for n in sorted({b.emulated for b in BOARDS if b.emulated})], say=log)
    lines = [
        f"Model {export.sha256[:8]} ({len(export.bundle.labels)} labels, {len(export.bundle.model.data):,} bytes), "
        f"{len(pcm) / export.features.sample_rate_hz:.0f} s of audio, {datetime.date.today()}.",
        "",
        "| Board | Backend | Fits | Built here | Runs here |",
        "|---|---|---|---|---|",
    ]
    for board in BOARDS:
        core = cores.get(board.emulated)
        ran = "no: no emulator of its core here"
        if core and core.name in result["cores"]["same"]:
            ran = f"emulated {core.title}: boot check passed, this machine's {result['lines']} event lines"
        elif core:
            ran = f"emulated {core.title}: {result['cores']['skipped'].get(core.name, 'DIFFERENT')}"
        log(f"{board.name}: building")
        fit, link = fits(export, board, "compiled"), built(board, core, export)
        by_hand = BY_HAND.get(board.name, ("", ""))
        link, ran = ("; ".join(filter(None, pair)) for pair in zip((link, ran), by_hand, strict=True))
        lines.append(f"| {board.title} | compiled | {fit} | {link} | {ran} |")
        if board.name in TFLM:
            why = "no: TensorFlow Lite Micro is fetched by PlatformIO"
            tflm = "network in TFLM on this machine: the lines compared with"
            lines.append(f"| {board.title} | TFLM | {fits(export, board, 'tflm')} | {why} | {tflm} |")
    return "\n".join([*lines, ""])


def log(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
