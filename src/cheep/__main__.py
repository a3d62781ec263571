# SPDX-License-Identifier: MIT
"""``python -m cheep`` is the ``cheep`` command."""

from cheep.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
