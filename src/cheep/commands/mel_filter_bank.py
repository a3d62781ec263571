# SPDX-License-Identifier: MIT
"""Write the front end's tables (mel_filter_bank.h) from the model's own feature settings.

cheep mel-filter-bank                    of the latest run
cheep mel-filter-bank --model my.tflite  of another model
cheep mel-filter-bank --check            render again, show what differs, exit 1
"""

from __future__ import annotations

import argparse

from cheep.commands.model_convert import add_export_arguments, print_exported


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_export_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the header, or check it."""
    from cheep.job.export import export_front_end

    bundle, exported = export_front_end(args.model, args.output, args.check)
    features = bundle.features
    about = (
        f"{bundle.path}: {features.sample_rate_hz} Hz, {features.n_mels} bands, frames of {features.frame_samples} "
        f"every {features.hop_samples} samples, features 0x{features.hash32:08x}"
    )
    following = "cheep compile (an AudioMoth needs it), cheep upload BOARD, or without a board: cheep simulate FILE"
    print_exported(args, exported, about, following)
    return 0
