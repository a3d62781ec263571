# SPDX-License-Identifier: MIT
"""TensorFlow Lite Micro on this machine: the real runtime with its reference kernels judges every int8 model."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.flatbuffer import is_outside, schema
from cheep.tflite.model import read_model

_MAX_ARENA_BYTES = 64 << 20


class TflmModel:
    """A ``.tflite`` model in TFLM.

    Parameters
    ----------
    model : path or bytes
        The flatbuffer.
    arena_bytes : int, optional
        Working memory to give. Default: more than enough; :attr:`arena_bytes` then measures the need.

    Raises
    ------
    CheepError
        TFLM cannot run the model (unsupported operator or type, arena too small): its own words are quoted.
    """

    def __init__(self, model: str | os.PathLike | bytes, arena_bytes: int | None = None):
        self._name = "model" if isinstance(model, bytes) else str(model)
        info = read_model(model)  # validated before native code sees it
        self._data, self._n_inputs = info.data, len(info.inputs)
        flat = schema().Model.GetRootAs(info.data, 0)
        if any(is_outside(flat.Buffers(i)) for i in range(flat.BuffersLength())):
            raise CheepError(
                f"{self._name}: TFLM cannot run it: weights lie behind the flatbuffer, where TFLM does not look; "
                "convert it again with the weights inside, or compile it (cheep compile)"
            )
        self._given = arena_bytes
        self._called_once = "CALL_ONCE" in info.operators
        tensors = flat.Subgraphs(0)
        self._keeps = "ASSIGN_VARIABLE" in info.operators or any(
            tensors.Tensors(i).IsVariable() for i in range(tensors.TensorsLength())
        )
        self._interpreter = self._create(arena_bytes) if arena_bytes else self._create_with_enough()
        self.input_info, self.output_info = info.inputs[0], info.outputs[0]
        self.input_shape, self.output_shape = self.input_info.shape, self.output_info.shape

    @property
    def data(self) -> bytes:
        """The flatbuffer."""
        return self._data

    def invoke(self, *inputs: np.ndarray) -> np.ndarray:
        """Run once and return the first output.

        ``inputs`` have, and the output has, exactly the model's shape and dtype (int8 as a rule).
        """
        with _captured_stderr() as log:
            try:
                for index, value in enumerate(inputs):
                    self._interpreter.set_input(value, index)
                self._interpreter.invoke()
            except (RuntimeError, ValueError) as error:
                raise CheepError(f"{self._name}: TFLM cannot run it: {_reason(log(), error)}") from None
        return self._interpreter.get_output(0)

    def run(self, inputs: Mapping[int, np.ndarray]) -> None:
        """Run once with inputs by their number; quicker than :meth:`invoke`, which explains what goes wrong.

        Each input has exactly the model's shape and dtype (int8 as a rule).
        """
        for index, value in inputs.items():
            self._interpreter.set_input(value, index)
        self._interpreter.invoke()

    def reset(self) -> None:
        """Forget what the network keeps from run to run (nothing, for most): it is as before the first run."""
        if self._called_once:  # the runtime would not call it again
            self._interpreter = self._create(self._given) if self._given else self._create_with_enough()
        elif self._keeps:
            self._interpreter.reset()

    def output(self, index: int) -> np.ndarray:
        """Return output ``index`` of the last run: the shape and dtype of the model (int8 as a rule)."""
        return self._interpreter.get_output(index)

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Return the scores of many windows: (n, columns, mels) int8 in, (n, classes) int8 out."""
        if self._n_inputs != 1:
            raise CheepError(
                f"{self._name}: carries a state from window to window; run it on whole recordings (cheep evaluate, "
                "cheep simulate)"
            )
        out = np.empty((len(windows), self.output_shape[-1]), np.int8)
        set_input, invoke, get_output = (
            self._interpreter.set_input,
            self._interpreter.invoke,
            self._interpreter.get_output,
        )
        shaped = np.ascontiguousarray(windows).reshape((len(windows), *self.input_shape))
        for row, window in zip(out, shaped, strict=True):
            set_input(window, 0)
            invoke()
            row[:] = get_output(0).reshape(-1)
        return out

    @property
    def arena_bytes(self) -> int:
        """Arena that the model needs, by TFLM's own allocator and proven by a run with it (64-bit; bounds 32-bit)."""
        self._run_zeros()
        with _captured_stderr() as log:
            self._interpreter.print_allocations()
            text = log()
        match = re.search(r"Arena allocation total (\d+) bytes", text)
        if match is None:
            raise CheepError(f"{self._name}: TFLM did not report its arena; reinstall tflite-micro (make setup)")
        low = (int(match.group(1)) + 15) // 16  # in units of 16 bytes; planning can need more than what stays
        high = low
        while not self._runs_in(16 * high):
            low, high = high + 1, 2 * high
            if 16 * high > _MAX_ARENA_BYTES:
                raise CheepError(
                    f"{self._name}: needs more than {_MAX_ARENA_BYTES} bytes of arena; use a smaller model"
                )
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._runs_in(16 * middle) else (middle + 1, high)
        return 16 * high

    def _runs_in(self, arena_bytes: int) -> bool:
        # In a process of its own: an arena that is just too small can crash the native runtime.
        program = (
            "import sys; from cheep.tflite.tflm import TflmModel; "
            f"TflmModel(sys.stdin.buffer.read(), {arena_bytes})._run_zeros()"
        )
        source = str(Path(__file__).resolve().parents[2])
        child = subprocess.run(
            [sys.executable, "-c", program],
            input=self._data,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": source},
            check=False,
        )
        return child.returncode == 0

    def _run_zeros(self) -> None:
        details = [self._interpreter.get_input_details(i) for i in range(self._n_inputs)]
        self.invoke(*(np.zeros(tuple(d["shape"]), d["dtype"]) for d in details))

    def _create_with_enough(self):
        """Guess an arena from the file's size, and grow it by what the allocator says is missing."""
        size = min(_MAX_ARENA_BYTES, 10 * len(self._data) + (1 << 20))
        while True:
            try:
                return self._create(size)
            except CheepError as error:
                missing = re.search(r"missing: (\d+)", str(error))
                if missing is None:
                    raise
                needed = size + int(missing.group(1))
            if size == _MAX_ARENA_BYTES:
                raise CheepError(
                    f"{self._name}: TFLM cannot run it: needs an arena of {needed} bytes or more, at most "
                    f"{_MAX_ARENA_BYTES} are given; use a smaller model"
                )
            size = min(_MAX_ARENA_BYTES, needed + (1 << 20))

    def _create(self, arena_bytes: int):
        from tflite_micro.python.tflite_micro import runtime

        with _captured_stderr() as log:
            try:
                return runtime.Interpreter.from_bytes(self._data, arena_size=arena_bytes)
            except Exception as error:
                raise CheepError(f"{self._name}: TFLM cannot run it: {_reason(log(), error)}") from None


def tflm_support(data: bytes, timeout_s: float = 120, arena: bool = True) -> dict[str, Any]:
    """Run the model in TFLM in a child process; return {"runs", "arena_bytes", "reason"}: a crash is a reason too.

    ``arena=False`` only runs it once, which is quicker.
    """
    program = (
        "import sys, json\n"
        "from cheep.tflite.tflm import TflmModel\n"
        "from cheep.errors import CheepError\n"
        "try:\n"
        "    model = TflmModel(sys.stdin.buffer.read())\n"
        "    model._run_zeros()\n"
        f"    print(json.dumps({{'runs': True, 'arena_bytes': model.arena_bytes if {arena} else None}}))\n"
        "except CheepError as error:\n"
        "    print(json.dumps({'runs': False, 'reason': str(error).split('cannot run it: ')[-1]}))\n"
    )
    source = str(Path(__file__).resolve().parents[2])
    try:
        child = subprocess.run(
            [sys.executable, "-c", program],
            input=data,
            capture_output=True,
            check=False,
            timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": source},
        )
    except subprocess.TimeoutExpired:
        return {"runs": False, "reason": f"did not end within {timeout_s:g} s"}
    try:
        return {"arena_bytes": None, "reason": None, **json.loads(child.stdout.splitlines()[-1])}
    except (ValueError, IndexError):
        return {
            "runs": False,
            "arena_bytes": None,
            "reason": f"TFLM crashed (status {child.returncode}): damaged model",
        }


def _reason(log: str, error: Exception) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip() and "RecordingMicro" not in line]
    return "; ".join(lines[:3]) or str(error)


@contextlib.contextmanager
def _captured_stderr() -> Iterator:
    """Collect what native code writes to file descriptor 2; yields a function that returns the text so far."""
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)

        def text() -> str:
            sink.seek(0)
            return sink.read().decode("utf-8", "replace")

        try:
            yield text
        finally:
            os.dup2(saved, 2)
            os.close(saved)
