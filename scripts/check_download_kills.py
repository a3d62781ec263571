# SPDX-License-Identifier: MIT
"""Kill a download many times at random moments, resume each time, and compare the result byte for byte.

python scripts/check_download_kills.py --kills 100
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("src", "tests/helpers", "tests/datasets")]


def main() -> int:
    """Run the campaign of tests/datasets/test_xeno_canto.py with more kills."""
    import test_xeno_canto as campaign

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with campaign.Server() as server:
            assert campaign.download(server, Path(folder) / "clean") == 0
        expected = campaign.tree(Path(folder) / "clean")
        begin = time.monotonic()
        campaign.check_kills(expected, Path(folder) / "set", args.kills, args.seed)
        print(f"{args.kills} kills in {time.monotonic() - begin:.0f} s: the data set is the same, byte for byte")
    return 0


if __name__ == "__main__":
    sys.exit(main())
