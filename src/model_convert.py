# SPDX-License-Identifier: MIT
"""Write model.h, model.cc and what belongs to them: python src/model_convert.py --help."""

from cheep.cli import main

if __name__ == "__main__":
    raise SystemExit(main("model_convert"))
