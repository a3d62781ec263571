# SPDX-License-Identifier: MIT
"""Fine-tune quantization-aware and write the int8 model: python src/train_QAT.py --help."""

from cheep.cli import main

if __name__ == "__main__":
    raise SystemExit(main("train-qat"))
