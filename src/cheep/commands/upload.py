# SPDX-License-Identifier: MIT
"""Build the firmware for a board, upload it, and say whether the board computes what this machine computes.

  cheep upload esp32
  cheep upload esp32s3 --port /dev/ttyACM0     the network compiled to C (cheep compile first)
  cheep upload audiomoth

Refuses (exit 1) when the generated headers are not the model's. Afterwards the board's boot self-check is awaited:
its front end and its scores must equal this machine's.
"""

from __future__ import annotations

import argparse
import contextlib

from cheep.commands._shared import add_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("board", metavar="BOARD", help="a PlatformIO environment: esp32, esp32s3, audiomoth, …")
    parser.add_argument("--port", help="serial port (default: the only board on USB)")
    add_model(parser)
    parser.add_argument("--timeout", type=float, default=20.0, metavar="S", help="wait for the boot line (%(default)s)")
    parser.add_argument("--only-check", action="store_true", help="do not upload: check headers and the running board")


def run(args: argparse.Namespace) -> int:
    """Upload."""
    from cheep.export import load_export
    from cheep.live.serial_port import find_port, open_serial
    from cheep.live.upload import check_generated, find_target, run_platformio, wait_for_boot
    from cheep.project import changed_core

    target = find_target(args.board)
    export = load_export(args.model)
    check_generated(export, target)
    print(
        f"generated files: those of {export.bundle.path} ({export.sha256[:8]}, features 0x{export.features.hash32:08x})"
    )
    if changed := changed_core():
        print(
            f"note: {len(changed)} files of firmware/common differ from the installed Cheep's ({', '.join(changed[:3])}"
            f"{', ...' if len(changed) > 3 else ''}): a board that computes other columns refuses to start"
        )
    port = find_port(args.port) if target.serial else None
    if not args.only_check:
        run_platformio(target, port)
    if port is None and args.only_check:
        print(f"nothing uploaded; {target.name} has no serial line to ask what it runs: its card's CHEEP.LOG tells")
        return 0
    if port is None:
        print(
            "uploaded. Turn the switch to DEFAULT: the red LED blinks when the self-check fails, and "
            "CHEEP.LOG on the card names the stage that differs."
        )
        return 0
    connection = open_serial(port)
    try:
        connection.reset_input_buffer()
        # RTS drives the reset pin of the usual ESP32 boards: the boot line comes again.
        with contextlib.suppress(OSError):  # a port without these lines: the reset button serves
            connection.dtr = False
            connection.rts = True
            connection.rts = False
        boot = wait_for_boot(lambda: connection.read(max(1, connection.in_waiting)), export, args.timeout)
    finally:
        connection.close()
    print(
        f"{boot.get('board')}: self-check passed: front end and scores on the board equal this machine's "
        f"(model {boot.get('model')}, {boot.get('app_bytes')} bytes of application, {boot.get('model_bytes')} of model)"
    )
    print("next: cheep monitor")
    return 0
