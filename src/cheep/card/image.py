# SPDX-License-Identifier: MIT
"""``MODEL.BIN``: a model linked for each slot of a board's flash, with headers and signatures (``cheep_image.h``)."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.boards.data import Board, CardSlots
from cheep.compiler import compile_bytes
from cheep.emulator import C_FLAGS, CPU_FLAGS, compiler
from cheep.errors import CheepError, GateError
from cheep.export import ExportModel, render_headers
from cheep.resources import firmware_root, include_dir, source_dir

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE_NAME = "MODEL.BIN"
ABI = 2
HEADER_BYTES = 256
MAGIC = b"CHEEPIMG"
_FIELDS = struct.Struct("<8sHHIIIIIIIHH16sI32s32s16s48x")  # what is signed: 192 bytes


@dataclasses.dataclass(frozen=True)
class CardImage:
    """``data``: the file. ``slot_bytes``, ``ram_bytes``: what each image takes of its slot, and of the RAM's window."""

    data: bytes
    slot_bytes: int
    ram_bytes: int


@dataclasses.dataclass(frozen=True)
class Header:
    """The fields of an image's header; see ``cheep_image.h``."""

    magic: bytes
    abi: int
    header_bytes: int
    length: int
    address: int
    entry: int
    ram_address: int
    ram_bytes: int
    feature_hash: int
    sample_rate_hz: int
    classes: int
    smoothing: int
    board: bytes
    zero: int
    set_id: bytes
    sha256: bytes
    model: bytes

    def pack(self) -> bytes:
        """Return the 192 bytes that are signed."""
        return _FIELDS.pack(*(getattr(self, field.name) for field in dataclasses.fields(self)))

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        """Take the first 192 bytes of an image apart."""
        return cls(*_FIELDS.unpack(data[: _FIELDS.size]))


def card_of(board: Board) -> CardSlots:
    """Return a board's slots; raises CheepError where its firmware takes no model from a card."""
    if board.card is None:
        raise CheepError(f"board={board.name!r}: its firmware takes no model from a card; audiomoth's does")
    return board.card


def build_image(export: ExportModel, board: Board, key: Ed25519PrivateKey) -> CardImage:
    """Compile and link a model for both slots of a board, and sign it.

    The same model, key and compiler give the same bytes.

    Raises
    ------
    GateError
        The image is larger than a slot or the window of RAM, has more labels than the detector has room for, or hears
        another rate than the board's microphone gives.
    CheepError
        The board has no slots, the compiler for it is missing, or the network cannot be compiled to C.
    """
    card = card_of(board)
    linked = link(export, board)
    bodies = [body for body, _, _ in linked]
    ram_bytes = linked[0][2]
    what = f"{board.name} {export.features.hash32:08x} {export.sha256}".encode()
    set_id = hashlib.sha256(what + b"".join(bodies)).digest()
    out = bytearray()
    for address, (body, entry, _) in zip(card.slots, linked, strict=True):
        signed = Header(
            MAGIC, ABI, HEADER_BYTES, HEADER_BYTES + len(body), address, entry, card.window, ram_bytes,
            export.features.hash32, export.features.sample_rate_hz, len(export.bundle.labels),
            export.detector.smoothing_windows, board.name.encode(), 0, set_id, hashlib.sha256(body).digest(),
            export.sha256[:8].encode(),
        ).pack()  # fmt: skip
        out += signed + key.sign(signed) + body
    return CardImage(bytes(out), max(map(len, bodies)) + HEADER_BYTES, ram_bytes)


def link(export: ExportModel, board: Board) -> list[tuple[bytes, int, int]]:
    """Return body, address of its entry and bytes of RAM, for each slot; errors as :func:`build_image`."""
    card = card_of(board)
    board.check_rate(export.features.sample_rate_hz, str(export.bundle.path))
    _check_detector(export, card)
    card_dir = firmware_root() / "card"
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        folder = Path(name)
        (folder / "generated").mkdir()
        compiled = compile_bytes(export.bundle.model.data, name=str(export.bundle.path))
        texts = {**render_headers(export), "model_compiled.c": compiled.source, "model_compiled.h": compiled.header}
        for file_name, text in texts.items():
            (folder / "generated" / file_name).write_text(text, encoding="utf-8")
        sources = (card_dir / "src" / "cheep_image_entry.c", source_dir() / "cheep_model_generated.c")
        for source in sources:
            _run(
                compiler(), *CPU_FLAGS, *C_FLAGS, "-O2", "-DCHEEP_BACKEND_COMPILED", f"-I{folder}",
                f"-I{include_dir()}", f"-I{card_dir / 'include'}", "-c", str(source),
                "-o", str(folder / f"{source.stem}.o"),
            )  # fmt: skip
        return [_link_slot(folder, card, address, export) for address in card.slots]


def _link_slot(folder: Path, card: CardSlots, address: int, export: ExportModel) -> tuple[bytes, int, int]:
    elf, body = folder / "image.elf", folder / "image.bin"
    symbols = {
        "image_address": address, "image_bytes": card.slot_bytes, "image_ram": card.window,
        "image_ram_bytes": card.window_bytes,
    }  # fmt: skip
    try:
        _run(
            compiler(), *CPU_FLAGS, "-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections",
            f"-T{firmware_root() / 'card' / 'image' / 'image.ld'}",
            *(f"-Wl,--defsym={name}={value}" for name, value in symbols.items()),
            *map(str, sorted(folder.glob("*.o"))), "-o", str(elf),
        )  # fmt: skip
    except CheepError as error:
        raise _too_large(error, card, export) from None
    tool = compiler().removesuffix("gcc")
    _run(f"{tool}objcopy", "-O", "binary", "-j", ".body", str(elf), str(body))
    listing = _run(f"{tool}nm", str(elf))
    found = {m[2]: int(m[1], 16) for m in re.finditer(r"^([0-9a-f]+) \w (\S+)$", listing, re.MULTILINE)}
    data = body.read_bytes()
    return data + bytes(-len(data) % 4), found["cheep_image_built_in"], found["image_ram_used"]


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise CheepError(f"{FILE_NAME}: {Path(command[0]).name} failed:\n{done.stderr.strip()}")
    return done.stdout


def _check_detector(export: ExportModel, card: CardSlots) -> None:
    labels, smoothing = len(export.bundle.labels), export.detector.smoothing_windows
    if export.verifier is not None:
        raise GateError(
            f"{export.bundle.path}: has a second network (detector.verify): a slot of a card takes one; build a "
            "firmware with both (cheep upload), or calibrate without --verify"
        )
    if labels > card.max_classes or labels * smoothing > card.max_scores:
        raise GateError(
            f"{export.bundle.path}: {labels} labels and smoothing over {smoothing} windows: a firmware that takes "
            f"models from a card has room for {card.max_classes} labels, and for {card.max_scores} labels x windows; "
            "leave labels out, or build a firmware with this model (cheep upload)"
        )


def _too_large(error: CheepError, card: CardSlots, export: ExportModel) -> CheepError:
    over = {m[1]: int(m[2]) for m in re.finditer(r"region `?(\w+)'? overflowed by (\d+) bytes", str(error))}
    problems = [
        f"{title} of {size} bytes is too small by {over[region]}"
        for region, title, size in (
            ("SLOT", "the slot", card.slot_bytes), ("WINDOW", "the window of RAM", card.window_bytes)
        )
        if region in over
    ]  # fmt: skip
    if not problems:
        return error
    return GateError(
        f"{export.bundle.path}: {'; '.join(problems)}: choose a smaller network, fewer bands or a shorter window, or "
        "build the firmware with it (cheep upload), which leaves it all of the flash"
    )


def render_layout(board: Board) -> str:
    """Return ``card_layout.h``: a board's slots for a firmware that takes models from a card."""
    card = card_of(board)
    values = {
        "PAGE_BYTES": card.page_bytes, "SLOT0": card.slots[0], "SLOT1": card.slots[1], "SLOT_BYTES": card.slot_bytes,
        "STATE0": card.state[0], "STATE1": card.state[1], "WINDOW": card.window, "WINDOW_BYTES": card.window_bytes,
    }  # fmt: skip
    lines = "".join(f"#define CHEEP_CARD_{name} 0x{value:08x}u\n" for name, value in values.items())
    return (
        f"/* Made by Cheep (cheep export --card-key) from firmware/boards/{board.name}.json. DO NOT EDIT. */\n"
        "#ifndef CHEEP_GENERATED_CARD_LAYOUT_H\n#define CHEEP_GENERATED_CARD_LAYOUT_H\n\n"
        f'#define CHEEP_CARD_BOARD "{board.name}"\n{lines}\n#endif\n'
    )


def check_file(data: bytes) -> list[Header]:
    """Return the headers of a MODEL.BIN whose lengths and SHA-256 are right; signatures are the firmware's matter.

    Raises
    ------
    CheepError
        It is no such file, cut off or damaged.
    """
    headers, at = [], 0
    while at < len(data):
        header = Header.unpack(data[at:]) if len(data) - at >= HEADER_BYTES else None
        if header is None or header.magic != MAGIC or not HEADER_BYTES < header.length <= len(data) - at:
            raise CheepError(f"{FILE_NAME}: no whole image at byte {at}; write it again with cheep export --card")
        body = data[at + HEADER_BYTES : at + header.length]
        if hashlib.sha256(body).digest() != header.sha256:
            raise CheepError(f"{FILE_NAME}: damaged (SHA-256 of the image at byte {at}); copy it again")
        headers.append(header)
        at += header.length
    return headers
