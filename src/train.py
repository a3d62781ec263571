# SPDX-License-Identifier: MIT
"""Train the float network of the latest run: python src/train.py --help."""

from cheep.cli import main

if __name__ == "__main__":
    raise SystemExit(main("train"))
