"""Fine-tune quantization-aware and write the int8 model: python src/train_QAT.py --help."""

from cheep.cli import main

raise SystemExit(main("train-qat"))
