"""Train net.py on a folder of short labelled recordings, and leave what ``cheep convert --streaming`` takes.

  python examples/pytorch_streaming/train.py --csv DIGITS/metadata.csv --output digits
  cheep convert --input examples/pytorch_streaming/net.py:make --checkpoint digits/weights.pt \
      --dataset digits/sequences.npz --streaming -e --output digits/int8

The CSV has the columns file, label, split_group (speaker) and fold. ``--split fold`` takes the rows of fold ``test`` to
test on and a sixth of the others to validate; ``--split speaker`` keeps one speaker for each, which is harder.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from net import CLASSES, INPUT_SHAPE, make

from cheep.audio import read_audio
from cheep.config import FeatureConfig
from cheep.features import compute_features

STEPS = 10
FEATURES = FeatureConfig(hop_samples=100, window_frames=STEPS * INPUT_SHAPE[1])


def sequences(path: Path, split: str, seed: int) -> dict[str, np.ndarray]:
    """Return x_train (n, columns, bands), y_train, ... scaled to about -1..1; clips are cut or padded with silence."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    if split == "speaker":
        groups = sorted({row["split_group"] for row in rows})
        order = rng.permutation(len(groups))
        by_group = {groups[i]: ("test" if n == 0 else "val" if n == 1 else "train") for n, i in enumerate(order)}
        part = [by_group[row["split_group"]] for row in rows]
    else:
        part = ["test" if row["fold"] == "test" else "val" if rng.random() < 1 / 6 else "train" for row in rows]
    labels = sorted({row["label"] for row in rows})
    if len(labels) != CLASSES:
        raise SystemExit(f"{path}: {len(labels)} labels, the network has {CLASSES}")
    found: dict[str, list] = {f"{kind}_{split}": [] for kind in "xy" for split in ("train", "val", "test")}
    for row, where in zip(rows, part, strict=True):
        pcm = read_audio(path.parent / row["file"], FEATURES.sample_rate_hz)
        pcm = np.pad(pcm, (0, max(0, FEATURES.window_samples - len(pcm))))[: FEATURES.window_samples]
        found[f"x_{where}"].append(np.maximum(compute_features(pcm, FEATURES), -80) / 40 + 1)
        found[f"y_{where}"].append(labels.index(row["label"]))
    arrays = {key: np.array(value) for key, value in found.items()}
    return {**arrays, "labels": np.array(labels)}


def main() -> None:
    """Train with early stopping on the validation speaker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--split", choices=("fold", "speaker"), default="fold")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    data = sequences(args.csv, args.split, args.seed)
    np.savez_compressed(args.output / "sequences.npz", **data)
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    x, y = {}, {}
    for split in ("train", "val", "test"):
        x[split] = torch.from_numpy(data[f"x_{split}"].astype(np.float32)).reshape((-1, STEPS, *INPUT_SHAPE))
        y[split] = torch.from_numpy(data[f"y_{split}"].astype(np.int64))
    net = make()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)
    best = 0.0
    for epoch in range(args.epochs):
        net.train()
        for rows in torch.randperm(len(x["train"])).split(64):
            batch = x["train"][rows]
            shift, level = int(torch.randint(-6, 7, ())), 0.15 * torch.randn(len(rows), 1, 1, 1, 1)
            flat = torch.roll(batch.reshape(len(rows), -1, INPUT_SHAPE[2]), shift, 1).reshape(batch.shape)
            loss = torch.nn.functional.cross_entropy(net(flat + level), y["train"][rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        schedule.step()
        net.eval()
        with torch.no_grad():
            accuracy = {s: float((net(x[s]).argmax(1) == y[s]).float().mean()) for s in ("val", "test")}
        if accuracy["val"] >= best:
            best, kept = accuracy["val"], accuracy["test"]
            torch.save(net.state_dict(), args.output / "weights.pt")
        print(f"epoch {epoch + 1}: loss {float(loss.detach()):.3f}, validation {accuracy['val']:.3f}")
    print(f"kept: validation {best:.4f}, test {kept:.4f}; weights in {args.output / 'weights.pt'}")


if __name__ == "__main__":
    main()
