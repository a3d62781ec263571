# SPDX-License-Identifier: MIT
"""Write mel_filter_bank.h from the model's settings: python src/mel_filter_bank.py --help."""

from cheep.cli import main

if __name__ == "__main__":
    raise SystemExit(main("mel_filter_bank"))
