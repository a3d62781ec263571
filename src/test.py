# SPDX-License-Identifier: MIT
"""Run the detector over WAV files, or listen to the microphone: python src/test.py --help."""

from cheep.cli import main

if __name__ == "__main__":  # importing this file as the module "test" runs nothing
    raise SystemExit(main("test"))
