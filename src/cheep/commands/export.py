# SPDX-License-Identifier: MIT
"""Write a detector as a library for other build systems (Arduino, ESP-IDF), or as a signed image for a card.

  cheep export --arduino ~/Arduino/libraries/robin      the latest run, with two example sketches
  cheep export --idf-component my-app/components/robin  the same for an ESP-IDF project
  cheep export --arduino DIR --check                    render again, show what differs, exit 1
  cheep export --card /media/AUDIOMOTH                  MODEL.BIN, which an AudioMoth takes in at its next start
  cheep export --card-key                               the public key, for a firmware that takes such images

The network is compiled to C (docs/compiled-models.md); the library checks itself at boot like every firmware.
Images are signed with a key of yours, which the first of the last two makes (docs/card.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cheep.commands._shared import add_model
from cheep.commands.model_convert import print_exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_model(parser)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--arduino", type=Path, metavar="DIR", help="folder of an Arduino library to write")
    form.add_argument("--idf-component", type=Path, metavar="DIR", help="folder of an ESP-IDF component to write")
    form.add_argument("--card", type=Path, metavar="DIR", help="folder of a card: write MODEL.BIN there")
    form.add_argument(
        "--card-key",
        nargs="?",
        const="",
        metavar="DIR",
        help="write card_key.h and card_layout.h (default: firmware/common/src/generated)",
    )
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="private key (default: card.key in your configuration)"
    )
    parser.add_argument("--board", default="audiomoth", metavar="NAME", help="whose card it is (%(default)s)")
    parser.add_argument("--name", default="", help="of the library (default: the folder's)")
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 on a difference")


def run(args: argparse.Namespace) -> int:
    """Write the folder, or check it."""
    if args.card or args.card_key is not None:
        return _card(args)
    from cheep.job.export import export_library

    folder = args.arduino or args.idf_component
    export, exported = export_library(
        args.model, folder, "arduino" if args.arduino else "idf-component", args.name, args.check
    )
    about = f"{export.bundle.path}: {len(export.bundle.labels)} labels, network compiled to C"
    following = (
        "open File > Examples in the Arduino IDE" if args.arduino else f"idf.py build in {folder}/examples/listen"
    )
    print_exported(args, exported, about, following)
    return 0


def _card(args: argparse.Namespace) -> int:
    from cheep.job.card import export_card, export_card_key

    if args.card_key is not None:
        folder = Path(args.card_key) if args.card_key else None
        made = export_card_key(args.board, folder, args.key, args.check)
        _say_key(made.key_path, made.fingerprint, made.is_new)
        print_exported(args, made.exported, "public key and slots:", "pio run -e audiomoth-card in firmware/audiomoth")
        return 0
    card = export_card(args.model, args.board, args.card, args.key, args.check)
    _say_key(card.key_path, card.fingerprint, card.is_new)
    image = card.image
    about = (
        f"{card.export.bundle.path}: {len(card.export.bundle.labels)} labels; {image.slot_bytes} of "
        f"{card.slots.slot_bytes} bytes of a slot, {image.ram_bytes} of {card.slots.window_bytes} bytes of RAM"
    )
    print_exported(args, card.exported, about, "put the card in and switch on; CHEEP.LOG says what became of it")
    return 0


def _say_key(path: Path, fingerprint: str, is_new: bool) -> None:
    print(f"key {fingerprint}: {path}{' (new: keep a copy, devices take no other)' if is_new else ''}")
