"""Train the float network of the latest run: python src/train.py --help."""

from cheep.cli import main

raise SystemExit(main("train"))
