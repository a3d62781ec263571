# SPDX-License-Identifier: MIT
"""Download recordings from xeno-canto: ``python src/download_dataset.py --help``."""

import sys

from cheep.cli import main

if __name__ == "__main__":
    sys.exit(main("download-dataset"))
