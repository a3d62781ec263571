# SPDX-License-Identifier: MIT
"""Compare the int8 scores of a run in TFLM, in the TFLite reference interpreter and compiled to C, on its real windows.

python scripts/check_reference.py [RUN]      exit 1 where a byte differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep import runs
from cheep.compiler import CompiledModel
from cheep.config import FeatureConfig, TrainConfig
from cheep.files import read_json
from cheep.job.scores import quantize_windows
from cheep.job.windows import load_windows
from cheep.tf_runtime import import_tf
from cheep.tflite.tflm import TflmModel


def reference_scores(data: bytes, windows: np.ndarray) -> np.ndarray:
    """Return the scores (n, classes) int8 of the TFLite interpreter with its reference kernels."""
    tf = import_tf()
    interpreter = tf.lite.Interpreter(
        model_content=data, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    out = []
    for window in windows:
        interpreter.set_tensor(source, window[None, ..., None])
        interpreter.invoke()
        out.append(interpreter.get_tensor(target)[0])
    return np.array(out)


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="run folder (default: the latest)")
    parser.add_argument("--most", type=int, default=2000, help="windows at the most (default 2000)")
    args = parser.parse_args()
    run = runs.find_run(args.run)
    training = read_json(run / runs.TRAINING, runs.TRAIN_COMMAND)
    features = FeatureConfig.parse(training["features"], "training.json")
    windows = load_windows(run, features, TrainConfig.parse(training["train"], "training.json"))
    model = run / runs.INT8_TFLITE
    runtime = TflmModel(model)
    x = np.concatenate([windows.splits[name].all() for name in ("test", "val", "train")])[: args.most]
    q = quantize_windows(runtime, x)
    scores = runtime.scores(q)
    wrong = 0
    for name, other in (
        ("TFLite reference interpreter", reference_scores(model.read_bytes(), q)),
        ("compiled C", CompiledModel(model).scores(q)),
    ):
        different = int(np.any(scores != other, axis=1).sum())
        wrong += different
        print(f"TFLM against {name}: {different} of {len(q)} windows differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
