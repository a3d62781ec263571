# SPDX-License-Identifier: MIT
"""Hyperdimensional heads from elsewhere: a projection and prototypes in float, and what they become in integers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from cheep.errors import CheepError
from cheep.hdc.config import MAX_DIMS, HdcConfig
from cheep.hdc.model import GAIN_SHIFT, HYPER_DEVIATION, NEVER_REJECT, HdcModel, HdcScaling, project

Encoding = Literal["linear", "sign"]
_OUTSIDE = 0.1  # of a prototype's length
_KEYS = ("projection_matrix", "prototypes")
_PROGRAM = """
import sys, numpy as np, torch
state = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
while isinstance(state, dict) and "prototypes" not in state:
    inner = [state[k] for k in ("state_dict", "model", "hdc") if isinstance(state.get(k), dict)]
    if not inner:
        break
    state = inner[0]
if not isinstance(state, dict):
    sys.exit("CHEEP: holds no dictionary of tensors")
taken = {k: v for k, v in state.items() if hasattr(v, "numpy") or isinstance(v, (list, tuple))}
arrays = {k: v.numpy() if hasattr(v, "numpy") else np.asarray(v) for k, v in taken.items()}
np.savez(sys.argv[2], **{k: v for k, v in arrays.items() if v.dtype != object})
"""


@dataclasses.dataclass(frozen=True)
class ForeignHead:
    """A head in float.

    Attributes
    ----------
    projection
        (n_dims, H) float32: a hypervector is ``embedding @ projection``, or its sign.
    prototypes
        (classes, H) float32; the class is that of the largest cosine.
    """

    projection: np.ndarray
    prototypes: np.ndarray
    labels: tuple[str, ...]

    def encoding(self) -> Encoding:
        """Return how its hypervectors were made: sums of linear ones lie in the space of the projection's rows."""
        n_dims, hyper = self.projection.shape
        if n_dims >= hyper:
            return "linear"  # everything lies in it
        basis, _ = np.linalg.qr(self.projection.T.astype(np.float64))  # (H, n_dims)
        rest = self.prototypes - self.prototypes @ basis @ basis.T
        return "linear" if np.linalg.norm(rest) < _OUTSIDE * np.linalg.norm(self.prototypes) else "sign"

    def scores(self, embedding: np.ndarray, encoding: Encoding) -> np.ndarray:
        """Return the cosines (n, classes) float64 of float embeddings (n, n_dims)."""
        hyper = embedding.astype(np.float64) @ self.projection
        if encoding == "sign":
            hyper = np.where(hyper >= 0, 1.0, -1.0)
        length = np.linalg.norm(hyper, axis=1)[:, None] * np.linalg.norm(self.prototypes, axis=1)[None]
        return hyper @ self.prototypes.T / np.maximum(length, 1e-12)


def load_foreign(path: Path, n_dims: int, labels: tuple[str, ...] = ()) -> ForeignHead:
    """Read ``projection_matrix`` (n_dims, H), or its transpose, and ``prototypes`` (classes, H): ``.npz`` or ``.pth``.

    Raises
    ------
    CheepError
        Missing, damaged, or of sizes that do not belong together (stated).
    """
    if not path.is_file():
        raise CheepError(f"{path}: no such file; --head takes .npz, .pth or .pt with {' and '.join(_KEYS)}")
    arrays = _arrays(path)
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise CheepError(f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; {' and '.join(missing)} missing")
    matrix, prototypes = (np.asarray(arrays[key], np.float32) for key in _KEYS)
    if matrix.ndim == 2 and matrix.shape[0] != n_dims and matrix.shape[1] == n_dims:
        matrix = matrix.T
    if matrix.ndim != 2 or prototypes.ndim != 2 or matrix.shape != (n_dims, prototypes.shape[1]):
        raise CheepError(
            f"{path}: projection_matrix {tuple(matrix.shape)}, prototypes {tuple(prototypes.shape)}, embedding of "
            f"{n_dims}: must be ({n_dims}, H) and (classes, H)"
        )
    if n_dims > MAX_DIMS:
        raise CheepError(f"embedding of {n_dims} values: must be 1..{MAX_DIMS} (cut the network at a narrower layer)")
    if not np.isfinite(matrix).all() or not np.isfinite(prototypes).all() or not np.abs(matrix).max() > 0:
        raise CheepError(f"{path}: holds NaN, infinity, or nothing but zeros")
    named = next((arrays[k] for k in ("labels", "class_names", "classes") if k in arrays), None)
    names = labels or (tuple(map(str, named)) if named is not None else tuple(str(i) for i in range(len(prototypes))))
    if len(names) != len(prototypes):
        raise CheepError(f"{path}: {len(prototypes)} prototypes, {len(names)} labels: {', '.join(names[:8])}")
    return ForeignHead(matrix, prototypes, names)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory(prefix="cheep-hdc-") as folder:
        source = path
        if path.suffix in (".pth", ".pt"):
            source = Path(folder) / "head.npz"
            child = subprocess.run(
                [sys.executable, "-c", _PROGRAM, str(path), str(source)], capture_output=True, text=True, check=False
            )
            if child.returncode:
                lines = child.stderr.strip().splitlines() or [f"status {child.returncode}"]
                if "No module named 'torch'" in child.stderr:
                    raise CheepError(f"{path}: needs torch: pip install torch (or save the arrays as .npz)")
                raise CheepError(f"{path}: cannot be read as tensors ({lines[-1].removeprefix('CHEEP: ')[:200]})")
        try:
            with np.load(source, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # zip, header and codec errors are of many kinds
            raise CheepError(f"{path}: cannot be read as .npz ({str(error)[:200]})") from None


def quantize_head(
    head: ForeignHead, encoding: Encoding, binary: bool, embedding: np.ndarray, scale: float, zero_point: int
) -> HdcModel:
    """Return the head in integers.

    Parameters
    ----------
    binary : one bit per element; else int8 (linear) or +1/-1 with int8 prototypes (sign).
    embedding : (n, n_dims) int8, the extractor's, of training examples: the gain and the shift are chosen on them.
    scale, zero_point : of the embedding.
    """
    form = "binary" if binary else "int8" if encoding == "linear" else "bipolar"
    values = {"hyper": head.projection.shape[1], "projection": "gaussian", "form": form, "normalize": "none",
              "epochs": 0, "reminders": 0}  # fmt: skip
    config = HdcConfig.parse(values, "the head")
    matrix = np.rint(127 * head.projection.T / np.abs(head.projection).max()).astype(np.int8)
    reach = float(np.quantile(np.abs(embedding.astype(np.float64) - zero_point), 0.999)) or 1.0
    n_dims = len(head.projection)
    gain = int(np.clip(round(127 / reach / 16 * 2**GAIN_SHIFT), 1, 32767))
    scaling = HdcScaling(np.full(n_dims, 16 * zero_point, np.int16), np.full(n_dims, gain, np.int16), 0)
    spread = float(np.sqrt(np.mean(project(scaling.apply(embedding[:4096]), config, matrix).astype(np.float64) ** 2)))
    scaling = dataclasses.replace(scaling, shift=int(np.clip(round(np.log2(max(spread, 1) / HYPER_DEVIATION)), 0, 20)))
    if binary:
        prototypes = np.where(head.prototypes >= 0, 1, -1).astype(np.int8)
    else:
        largest = np.maximum(np.abs(head.prototypes).max(axis=1, keepdims=True), 1e-12)
        prototypes = np.rint(127 * head.prototypes / largest).astype(np.int8)
    model = HdcModel(config, scaling, prototypes, head.labels, NEVER_REJECT, matrix=matrix)
    return dataclasses.replace(model, input_scale=scale, input_zero_point=zero_point)
