# SPDX-License-Identifier: MIT
"""Convert a model: python src/convert.py --help."""

from cheep.cli import main

if __name__ == "__main__":
    raise SystemExit(main("convert"))
