# SPDX-License-Identifier: MIT
"""A model onto a card, and the key that a device's firmware knows it by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from cheep.boards.data import CardSlots, find_board
from cheep.card.image import FILE_NAME, CardImage, build_image, card_of, render_layout
from cheep.card.keys import default_key_path, fingerprint, load_key, make_key, public_bytes, render_key
from cheep.errors import CheepError, GateError
from cheep.export import ExportModel, load_export
from cheep.files import write_bytes
from cheep.job.export import Exported, bring

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_COMMAND = "cheep export --card-key"


@dataclasses.dataclass(frozen=True)
class CardKey:
    """Headers for a firmware, and the key that they are of."""

    key_path: Path
    fingerprint: str
    is_new: bool
    exported: Exported


@dataclasses.dataclass(frozen=True)
class CardExport(CardKey):
    """A MODEL.BIN on a card."""

    export: ExportModel
    image: CardImage
    slots: CardSlots


def export_card(
    model: str | Path | None, board: str, folder: Path, key_path: Path | None = None, check: bool = False
) -> CardExport:
    """Write ``MODEL.BIN`` into ``folder``, signed; a key pair is made where there is none.

    Parameters
    ----------
    model : str or Path, optional
        Run or ``.tflite`` file; default: the latest run.
    board : str
        Whose card it is.
    folder : Path
        Of the card; it must exist.
    key_path : Path, optional
        Of the private key; default: :func:`cheep.card.default_key_path`.
    check : bool
        Compare instead of writing.

    Raises
    ------
    GateError
        The model is too large for the board's slots; or ``check``, and the file differs.
    CheepError
        The folder is missing, the key cannot be used.
    """
    slots = card_of(find_board(board))
    if not folder.is_dir():
        raise CheepError(f"{folder}: no such folder; put the card in, and name where it is mounted")
    export = load_export(model)
    path, key, is_new = _key(key_path, make=not check)
    image = build_image(export, find_board(board), key)
    target = folder / FILE_NAME
    same = target.is_file() and target.read_bytes() == image.data
    if check and not same:
        raise GateError(f"{target}: {'differs' if target.is_file() else 'missing'}; write it with cheep export --card")
    if not same:
        write_bytes(target, image.data)
    exported = Exported(folder, (FILE_NAME,), frozenset() if same else frozenset({FILE_NAME}))
    return CardExport(path, fingerprint(public_bytes(key)), is_new, exported, export, image, slots)


def export_card_key(
    board: str, folder: Path | None = None, key_path: Path | None = None, check: bool = False
) -> CardKey:
    """Write ``card_key.h`` and ``card_layout.h``; parameters and errors as :func:`export_card`."""
    layout = render_layout(find_board(board))
    path, key, is_new = _key(key_path, make=not check)
    public = public_bytes(key)
    files = {"card_key.h": render_key(public), "card_layout.h": layout}
    return CardKey(path, fingerprint(public), is_new, bring(files, folder, KEY_COMMAND if check else ""))


def _key(path: Path | None, make: bool) -> tuple[Path, Ed25519PrivateKey, bool]:
    path = path or default_key_path()
    if make and not path.exists():
        return path, make_key(path), True
    return path, load_key(path), False
