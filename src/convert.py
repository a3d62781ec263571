"""Convert a model: python src/convert.py --help."""

from cheep.cli import main

raise SystemExit(main("convert"))
