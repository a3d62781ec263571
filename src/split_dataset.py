# SPDX-License-Identifier: MIT
"""Cut recordings into labelled windows and split them: ``python src/split_dataset.py --help``."""

import sys

from cheep.cli import main

if __name__ == "__main__":
    sys.exit(main("split-dataset"))
