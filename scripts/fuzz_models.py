# SPDX-License-Identifier: MIT
"""Fuzz convert, inspect and verify with damaged and hostile model files: an error message, never a crash or a hang.

  python scripts/fuzz_models.py --seconds 600 --json

Seeds are small models of each kind (.tflite, .h5, .keras of both Keras, SavedModel, .onnx) and files that lie on
purpose. Each mutant goes through the real command. A fault is a traceback, an exit status other than 0, 1 and 2, a
refusal without a message, files left behind by a refusal, or more than --limit seconds of processor time (ten times as
long by the clock).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from cheep.cli import main as cheep_main
from fuzz_compiler import ROOT, mutate, mutate_fields

_SEEDS = """
import sys, numpy as np
sys.path[:0] = [{src!r}]
from pathlib import Path
from cheep.tf_runtime import import_tf
from cheep.convert.schemes import to_scheme
folder = Path({folder!r})
tf = import_tf()
k = tf.keras
rng = np.random.default_rng(0)
x = np.sin(np.arange(80 * 12 * 8).reshape(80, 12, 8, 1) / 37) + rng.normal(0, 0.2, (80, 12, 8, 1))
x += np.linspace(0, 1, 8)[:, None]
np.savez(folder / "x.npz", x=x.astype(np.float32), y=np.arange(80) % 3)
s = k.Input((12, 8, 1))
y = k.layers.Conv2D(6, 3, activation="relu")(s)
y = k.layers.BatchNormalization()(y)
y = k.layers.DepthwiseConv2D(3, activation="relu")(y)
y = k.layers.GlobalAveragePooling2D()(y)
model = k.Model(s, k.layers.Dense(3, activation="softmax")(y))
model.save(folder / "seed.h5")
model.save(folder / "seed.keras")
lam = k.Model(s, k.layers.Lambda(lambda v: v * 2)(model(s)))
lam.save(folder / "lambda.h5")
tf.saved_model.save(model, str(folder / "seed_saved"))
for scheme in ("none", "int8", "float16"):
    (folder / (scheme + ".tflite")).write_bytes(to_scheme(model, (12, 8, 1), scheme, x.astype(np.float32)[:64]))
"""

_ONNX = """
import sys, torch, warnings
warnings.filterwarnings("ignore")
net = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                          torch.nn.Linear(6, 3))
torch.onnx.export(net.eval(), (torch.zeros(1, 1, 12, 8),), sys.argv[1], dynamo=False)
"""

_KERAS3 = """
import os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "0"
import keras
keras.Sequential([keras.layers.Input((12, 8, 1)), keras.layers.Conv2D(4, 3, activation="relu"),
                  keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]).save(sys.argv[1])
"""


def make_seeds(folder: Path) -> dict[str, Path]:
    """Write one model of each kind and ``x.npz``; return them by kind, without those whose package is missing."""
    program = _SEEDS.format(src=str(ROOT / "src"), folder=str(folder))
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    for text, name in ((_ONNX, "seed.onnx"), (_KERAS3, "seed3.keras")):
        child = subprocess.run([sys.executable, "-c", text, str(folder / name)], check=False, capture_output=True)
        if child.returncode:
            print(f"left out {name}: {child.stderr.decode().strip().splitlines()[-1][:200]}", file=sys.stderr)
    kinds = {
        "tflite": "int8.tflite", "tflite float": "none.tflite", "tflite half": "float16.tflite", "h5": "seed.h5",
        "h5 with code": "lambda.h5", "keras": "seed.keras", "keras 3": "seed3.keras", "onnx": "seed.onnx",
        "saved": "seed_saved",
    }  # fmt: skip
    return {kind: folder / name for kind, name in kinds.items() if (folder / name).exists()}


def hostile(folder: Path) -> list[Path]:
    """Return files that lie: foreign formats under our names, empty files, an archive that is one huge hole."""
    import zipfile

    made = []

    def put(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        made.append(folder / name)

    for suffix in ("h5", "keras", "onnx", "tflite"):
        put(f"empty.{suffix}", b"")
        put(f"text.{suffix}", b"this is no model\n" * 50)
        put(f"hdf.{suffix}", b"\x89HDF\r\n\x1a\n" + bytes(500))
        put(f"zip.{suffix}", b"PK\x03\x04" + bytes(500))
        put(f"tfl3.{suffix}", b"\x1c\x00\x00\x00TFL3" + b"\xff" * 400)
        put(f"pickle.{suffix}", b"cos\nsystem\n(S'touch /tmp/cheep-was-here'\ntR.")
    for name, config in (("hole", b"0" * (64 << 20)), ("deep", b"[" * 200_000), ("nulls", bytes(1000))):
        path = folder / f"{name}.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("metadata.json", b'{"keras_version": "2.15.0"}')
            archive.writestr("config.json", config)
        made.append(path)
    return made


def damage(kind: str, seed: Path, target: Path, rng: np.random.Generator) -> None:
    """Write a damaged copy of ``seed`` to ``target``."""
    if seed.is_dir():
        shutil.copytree(seed, target)
        files = sorted(path for path in target.rglob("*") if path.is_file() and path.stat().st_size)
        file = files[int(rng.integers(len(files)))]
        if rng.random() < 0.15:
            file.unlink()
        else:
            file.write_bytes(mutate(file.read_bytes(), rng))
        return
    data = seed.read_bytes()
    if kind.startswith("tflite") and rng.random() < 0.5:
        target.write_bytes(mutate_fields(data, rng))
    elif kind.startswith("keras") and rng.random() < 0.6:
        _damage_archive(seed, target, rng)
    else:
        target.write_bytes(mutate(data, rng))


def _damage_archive(seed: Path, target: Path, rng: np.random.Generator) -> None:
    """Damage one member of the archive, so that its checksum is right."""
    import zipfile

    with zipfile.ZipFile(seed) as source, zipfile.ZipFile(target, "w") as made:
        names = source.namelist()
        chosen = names[int(rng.integers(len(names)))]
        for name in names:
            data = source.read(name)
            made.writestr(name, mutate(data, rng) if name == chosen and data else data)


def commands(kind: str, path: Path, good: Path, data: Path, out: Path, rng: np.random.Generator) -> list[str]:
    """Return the command line for one mutant."""
    if kind.startswith("tflite") and rng.random() < 0.97:
        choice = rng.random()
        if choice < 0.75:
            return ["inspect", str(path), "--no-tflm"]
        if choice < 0.88:
            return ["inspect", str(path)]
        if choice < 0.94:
            return ["inspect", str(path), "--no-tflm", "--data", str(data), "--examples", "2"]
        return ["verify", str(path), str(good), "--data", str(data), "--examples", "3"]
    if rng.random() < 0.2:
        return ["verify", str(path), str(good), "--data", str(data), "--examples", "3"]
    scheme = str(rng.choice(["int8", "none", "int16x8", "dynamic"]))
    return [
        "convert",
        "--input",
        str(path),
        "--dataset",
        str(data),
        "-q",
        scheme,
        "--epochs",
        "1",
        "--output",
        str(out),
    ]


def run_one(command: list[str]) -> tuple[int | None, str]:
    """Run a command of Cheep; return its exit status (None: an exception) and what it wrote to stderr."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            status = cheep_main(command[0], command[1:])
        except SystemExit as leave:
            status = int(leave.code or 0)
        except BaseException:
            return None, traceback.format_exc()
    return status, errors.getvalue()


def processor_s() -> float:
    """Return the processor time of this process and its ended children, s."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def judge(status: int | None, text: str, hang: bool, out: Path) -> str:
    """Return what is wrong, or an empty string."""
    if status is None or "Traceback" in text:
        return "traceback"
    if status not in (0, 1, 2):
        return f"exit status {status}"
    if status and not text.strip():
        return "refused without a message"
    if status and out.exists() and any(out.iterdir()):
        return "files left by a refusal"
    return "hang" if hang else ""


def main() -> int:
    """Fuzz for a time; print what happened; exit 1 on a fault (its file and message are kept)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--limit", type=float, default=120, help="processor seconds that one file may take (%(default)s)"
    )
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz_models"), help="where faults go (%(default)s)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    counts: Counter[str] = Counter()
    faults: list[dict[str, object]] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="cheep-fuzz-") as name:
        folder = Path(name)
        seeds = make_seeds(folder)
        data, good = folder / "x.npz", folder / "int8.tflite"
        waiting: list[tuple[str, Path]] = [
            ("tflite" if path.suffix == ".tflite" else path.suffix[1:], path) for path in hostile(folder)
        ]
        started, trial = time.monotonic(), 0
        while time.monotonic() - started < args.seconds:
            trial += 1
            if waiting:
                kind, path = waiting.pop()
            else:
                # files of TensorFlow Lite take milliseconds, the others a process with TensorFlow
                slow = [kind for kind in seeds if not kind.startswith("tflite")]
                fast = [kind for kind in seeds if kind.startswith("tflite")]
                pool = fast if rng.random() < 0.9 else slow
                kind = pool[int(rng.integers(len(pool)))]
                path = folder / f"mutant{seeds[kind].suffix}"
                _remove(path)
                damage(kind, seeds[kind], path, rng)
            command, out = commands(kind, path, good, data, folder / "out", rng), folder / "out"
            _remove(out)
            begun, used = time.monotonic(), processor_s()
            status, text = run_one(command)
            seconds, used = time.monotonic() - begun, processor_s() - used
            slowest = max(slowest, used)
            wrong = judge(status, text, used > args.limit or seconds > 10 * args.limit, out)
            crashed = " crashed (" in text
            counts[f"{command[0]}: {'fault' if wrong else 'crash contained' if crashed else f'exit {status}'}"] += 1
            if wrong:
                faults.append({"kind": kind, "command": command, "wrong": wrong, "text": text[-800:]})
                args.keep.mkdir(parents=True, exist_ok=True)
                target = args.keep / f"{len(faults)}{path.suffix}"
                _remove(target)
                (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    result = {"seconds": args.seconds, "seed": args.seed, "files": trial, "slowest_processor_s": round(slowest, 1),
              "counts": dict(sorted(counts.items())), "faults": faults}  # fmt: skip
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{trial} files in {args.seconds:g} s, the slowest {slowest:.1f} s of processor time")
        for line, number in sorted(counts.items()):
            print(f"  {line}: {number}")
        for fault in faults:
            print(f"FAULT {fault}")
    return 1 if faults else 0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(main())
