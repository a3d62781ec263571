"""Write mel_filter_bank.h from the model's settings: python src/mel_filter_bank.py --help."""

from cheep.cli import main

raise SystemExit(main("mel_filter_bank"))
