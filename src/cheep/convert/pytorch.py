# SPDX-License-Identifier: MIT
"""PyTorch: a factory function in a user's file plus a checkpoint -> ONNX, in a process of its own."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cheep.convert.recurrent_cell import Cell
from cheep.convert.source import SourceModel
from cheep.errors import CheepError

_PROGRAM = """
import importlib.util, os, sys, warnings
warnings.filterwarnings("ignore")
module_path, factory, checkpoint, onnx_path, inputs, outputs, mode, cut = sys.argv[1:]
import torch
torch.manual_seed(0)
torch.set_num_threads(1)
sys.path.insert(0, os.path.dirname(os.path.abspath(module_path)))
spec = importlib.util.spec_from_file_location("cheep_user_model", module_path)
module = importlib.util.module_from_spec(spec)
sys.modules["cheep_user_model"] = module
spec.loader.exec_module(module)
if not hasattr(module, factory):
    sys.exit(f"CHEEP: {module_path} has no function {factory}")
net = getattr(module, factory)()
if not isinstance(net, torch.nn.Module):
    sys.exit(f"CHEEP: {factory}() must return a torch.nn.Module, not {type(net).__name__}")
shape = getattr(net, "input_shape", getattr(module, "INPUT_SHAPE", None))
if mode == "step":
    shape = ()
if shape is None:
    sys.exit("CHEEP: the network needs its input shape: set INPUT_SHAPE = (channels, height, width) in the module")
if checkpoint:
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        sys.exit(f"CHEEP: {checkpoint}: cannot be read as weights ({str(error).splitlines()[0]}))")
    state = state.get("state_dict", state.get("model", state)) if isinstance(state, dict) else state
    try:
        net.load_state_dict(state)
    except Exception as error:
        sys.exit(f"CHEEP: {checkpoint}: not the weights of this network ({' '.join(str(error).split())[:300]})")
net.eval()
if cut:
    parts = dict(net.named_modules())
    if cut not in parts:
        sys.exit(f"CHEEP: --cut {cut}: the network has no such layer; it has {', '.join(filter(None, parts))}"[:900])
    whole, kept = net, []
    parts[cut].register_forward_hook(lambda layer, given, made: kept.append(made))
    class Cut(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.whole = whole
        def forward(self, x):
            kept.clear()
            self.whole(x)
            if len(kept) != 1 or not isinstance(kept[0], torch.Tensor):
                sys.exit(f"CHEEP: --cut {cut}: must run once and give one tensor")
            return kept[0]
    net = Cut().eval()
import numpy as np
if mode == "step":
    kinds = (torch.nn.GRUCell, torch.nn.LSTMCell, torch.nn.GRU, torch.nn.LSTM)
    cells = [m for m in net.modules() if isinstance(m, kinds)]
    sizes = getattr(net, "step_sizes", getattr(module, "STEP_SIZES", None))
    if sizes is None and len(cells) == 1:
        two = isinstance(cells[0], (torch.nn.LSTMCell, torch.nn.LSTM))
        sizes = (cells[0].input_size, *[cells[0].hidden_size] * (1 + two))
    if sizes is None:
        sys.exit("CHEEP: a step needs the sizes of what it takes: set STEP_SIZES = (features, state, ...)")
    names = ["feature", *(f"state{i}" for i in range(len(sizes) - 1))]
    zeros = [torch.zeros((1, n)) for n in sizes]
    try:
        with torch.no_grad():
            made = net(*zeros)
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        sys.exit(f"CHEEP: a step takes (feature, states...) of sizes {tuple(sizes)}: {said}")
    if not isinstance(made, tuple) or [tuple(t.shape) for t in made[1:]] != [tuple(t.shape) for t in zeros[1:]]:
        sys.exit(f"CHEEP: a step takes (feature, states...) and gives (scores, states...); sizes taken {tuple(sizes)}")
    if inputs:
        out = []
        with torch.no_grad():
            for sequence in torch.from_numpy(np.load(inputs)):
                held = zeros[1:]
                for row in sequence:
                    scores, *held = net(row[None], *held)
                out.append(scores.reshape(-1).numpy())
        np.save(outputs, np.stack(out))
    else:
        ends = ["scores", *(f"next{i}" for i in range(len(sizes) - 1))]
        torch.onnx.export(net, tuple(zeros), onnx_path, input_names=names, output_names=ends, dynamo=False,
                          opset_version=17, do_constant_folding=True)
    sys.exit()
if mode == "streaming":
    for part in ("backbone", "cell", "head"):
        if not hasattr(net, part):
            sys.exit(f"CHEEP: a streaming network has backbone, cell (GRU or LSTM) and head (Linear): no {part}")
    cell, head = net.cell, net.head
    kind = type(cell).__name__.lower().removesuffix("cell")
    if kind not in ("gru", "lstm") or getattr(cell, "num_layers", 1) != 1 or getattr(cell, "bidirectional", False):
        sys.exit(f"CHEEP: cell is {cell}; it must be one GRU or LSTM layer in one direction")
    end = "_l0" if hasattr(cell, "weight_ih_l0") else ""
    if not cell.bias or not isinstance(head, torch.nn.Linear):
        sys.exit("CHEEP: the cell needs its biases, and head must be torch.nn.Linear")
if inputs and mode == "streaming":
    x = torch.from_numpy(np.load(inputs))
    out = []
    with torch.no_grad():
        flat = torch.cat([net.backbone(part).flatten(1) for part in x.reshape((-1, *shape)).split(256)])
        flat = flat.reshape((x.shape[0], x.shape[1], -1))
        for sequence in flat:
            if end:
                result, _ = cell(sequence[None] if cell.batch_first else sequence[:, None])
                last = result.reshape(len(sequence), -1)[-1:]
            else:
                state = None
                for row in sequence:
                    state = cell(row[None], state)
                last = state[0] if kind == "lstm" else state
            out.append(head(last).reshape(-1).numpy())
    np.save(outputs, np.stack(out))
elif inputs:
    x = torch.from_numpy(np.load(inputs)).reshape((-1, 1, *shape))
    with torch.no_grad():
        np.save(outputs, np.stack([net(row).reshape(-1).numpy() for row in x]))
else:
    example = torch.zeros((1, *shape))
    if mode == "streaming":
        arrays = [getattr(cell, f"{n}{end}").detach().numpy() for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        np.savez(onnx_path + ".npz", kind=kind, w=arrays[0], u=arrays[1], b=arrays[2], c=arrays[3],
                 out_w=head.weight.detach().numpy(), out_b=head.bias.detach().numpy())
        net = net.backbone
    try:
        torch.onnx.export(net, (example,), onnx_path, input_names=["input"], output_names=["output"], dynamo=False,
                          opset_version=17, do_constant_folding=True)
    except Exception as error:
        sys.exit("CHEEP: the network cannot be exported to ONNX: " + " ".join(str(error).split())[:300])
"""


def load_torch(path: str, checkpoint: Path | None, cut: str = "") -> SourceModel:
    """Read ``MODULE.py:FACTORY``; ``cut``: up to the output of this layer.

    The factory takes nothing and returns a ``torch.nn.Module``; ``INPUT_SHAPE`` in the module (or ``input_shape``
    of the network) gives (channels, height, width) or (features,). The module is the user's own code and is run.
    """
    file, factory = _parts(path, checkpoint)
    from cheep.convert.onnx.reader import load_onnx

    with tempfile.TemporaryDirectory(prefix="cheep-torch-") as folder:
        target = Path(folder) / "model.onnx"
        _torch(file, factory, checkpoint, target, cut=cut)
        source = load_onnx(target)
        kept = target.read_bytes()
    source.path, source.kind = path, "pytorch"
    images = len(source.input_shape) == 3

    def reference(x: np.ndarray) -> np.ndarray:
        return _torch(file, factory, checkpoint, None, np.moveaxis(x, -1, 1) if images else x, cut=cut)

    def exported(x: np.ndarray) -> np.ndarray:
        from cheep.convert.onnx.reader import run_onnx

        with tempfile.TemporaryDirectory(prefix="cheep-torch-") as again:
            onnx_file = Path(again) / "model.onnx"
            onnx_file.write_bytes(kept)
            shape = source.input_shape
            first = (1, shape[-1], *shape[:-1]) if images else (1, *shape)
            return run_onnx(onnx_file, "input", first, np.moveaxis(x, -1, 1) if images else x)

    source.stages = [("PyTorch", reference), ("ONNX", exported)]
    return source


def _parts(path: str, checkpoint: Path | None) -> tuple[Path, str]:
    module, _, factory = path.partition(".py:")
    file = Path(module + ".py")
    if not file.is_file():
        raise CheepError(f"{file}: no such Python file; --input MODULE.py:FACTORY")
    if not factory.isidentifier():
        raise CheepError(f"{path}: {factory!r} is no function name; --input MODULE.py:FACTORY")
    if checkpoint is not None and not checkpoint.is_file():
        raise CheepError(f"{checkpoint}: no such checkpoint")
    return file, factory


def export_step(path: str, checkpoint: Path | None, target: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Export ``MODULE.py:FACTORY``, a step (feature, states...) -> (scores, states...), to the ONNX file ``target``.

    Returns the step in PyTorch: (n, steps, features) float32 to the scores of the last step (n, scores).
    """
    file, factory = _parts(path, checkpoint)
    _torch(file, factory, checkpoint, target, mode="step")
    return lambda x: _torch(file, factory, checkpoint, None, x, mode="step")


@dataclasses.dataclass
class TorchStreaming:
    """A streaming PyTorch network in parts: backbone as Keras, cell as weights, and the original to compare with.

    ``reference`` maps (n, steps, *chunk) float32, channels last, to the logits of the last step (n, classes).
    """

    backbone: SourceModel
    cell: Cell
    reference: Callable[[np.ndarray], np.ndarray]


def load_torch_streaming(path: str, checkpoint: Path | None) -> TorchStreaming:
    """Read ``MODULE.py:FACTORY`` whose network has the parts ``backbone``, ``cell`` and ``head``.

    ``INPUT_SHAPE`` is that of one chunk. The backbone maps (1, *INPUT_SHAPE) to (1, features).
    """
    from cheep.convert.onnx.reader import load_onnx

    file, factory = _parts(path, checkpoint)
    with tempfile.TemporaryDirectory(prefix="cheep-torch-") as folder:
        target = Path(folder) / "backbone.onnx"
        _torch(file, factory, checkpoint, target, mode="streaming")
        backbone = load_onnx(target)
        with np.load(f"{target}.npz") as saved:
            arrays = {key: saved[key] for key in saved.files}
    backbone.path, backbone.kind, backbone.stages = path, "pytorch", []
    cell = Cell(
        str(arrays["kind"]), arrays["w"].T, arrays["u"].T, arrays["b"], arrays["c"], arrays["out_w"].T, arrays["out_b"]
    )
    images = len(backbone.input_shape) == 3

    def reference(x: np.ndarray) -> np.ndarray:
        first = np.moveaxis(x, -1, 2) if images else x
        return _torch(file, factory, checkpoint, None, first, mode="streaming")

    return TorchStreaming(backbone, cell, reference)


def _torch(
    file: Path,
    factory: str,
    checkpoint: Path | None,
    onnx_path: Path | None,
    x: np.ndarray | None = None,
    mode: str = "whole",
    cut: str = "",
) -> np.ndarray:
    """Export to ``onnx_path``, or run ``x`` (n, ...) float32, saying what went wrong."""
    with tempfile.TemporaryDirectory(prefix="cheep-torch-") as folder:
        inputs = outputs = ""
        if x is not None:
            inputs, outputs = os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy")
            np.save(inputs, np.ascontiguousarray(x, np.float32))
        child = subprocess.run(
            [
                sys.executable,
                "-c",
                _PROGRAM,
                str(file),
                factory,
                str(checkpoint or ""),
                str(onnx_path or ""),
                inputs,
                outputs,
                mode,
                cut,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        done = Path(outputs).is_file() if outputs else onnx_path is not None and onnx_path.is_file()
        if not done or child.returncode:
            lines = [line for line in child.stderr.strip().splitlines() if line.strip()]
            said = next((line[len("CHEEP: ") :] for line in lines if line.startswith("CHEEP: ")), None)
            if said:
                raise CheepError(said)
            if "No module named 'torch'" in child.stderr:
                raise CheepError("PyTorch models need torch: pip install torch (tested: requirements-convert.txt)")
            reason = lines[-1][:300] if lines else f"the process ended with status {child.returncode}"
            raise CheepError(f"{file}:{factory}: {reason}")
        return np.load(outputs) if outputs else np.empty(0)
