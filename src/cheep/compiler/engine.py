# SPDX-License-Identifier: MIT
"""The compiled network on this machine: the generated C as a shared library, called from numpy."""

from __future__ import annotations

import ctypes
import os
import tempfile
from pathlib import Path

import numpy as np

from cheep.compiler import DEFAULT_PREFIX, compile_bytes
from cheep.errors import CheepError
from cheep.tflite.model import read_model
from cheep.tflite.state import StatefulScorer

_DRIVER = """
#include "{header}"
#include <stddef.h>
unsigned {p}_memory_bytes(void) {{ return (unsigned)sizeof({p}_memory); }}
void {p}_many({p}_memory *m, const int8_t *windows, int8_t *scores, int n) {{
    for (int i = 0; i < n; ++i) {{
        {p}_invoke(m, windows + (ptrdiff_t)i * {size_in}, scores + (ptrdiff_t)i * {size_out});
    }}
}}
/* Windows that start `stride` columns of `mels` values apart. Where the network has an incremental mode that takes the
   stride, each column is computed once. */
void {p}_slide({p}_memory *m, const int8_t *columns, int mels, int stride, int8_t *scores, int n) {{
#ifdef {P}_STREAM
    if (stride % {P}_STREAM_STRIDE == 0 && stride < {P}_STREAM_WINDOW) {{
        {p}_stream *stream = (void *)m;
        {p}_stream_reset(stream);
        for (int i = 0; i < n; ++i) {{
            for (int left = i == 0 ? {P}_STREAM_WINDOW : stride; left > 0; --left, columns += mels) {{
                {p}_stream_push(stream, columns);
            }}
            (void){p}_stream_scores(stream, scores + (ptrdiff_t)i * {size_out});
        }}
        return;
    }}
#endif
    for (int i = 0; i < n; ++i) {{
        {p}_invoke(m, columns + (ptrdiff_t)i * stride * mels, scores + (ptrdiff_t)i * {size_out});
    }}
}}
unsigned {p}_slide_bytes(void) {{
#ifdef {P}_STREAM
    return (unsigned)(sizeof({p}_stream) > sizeof({p}_memory) ? sizeof({p}_stream) : sizeof({p}_memory));
#else
    return (unsigned)sizeof({p}_memory);
#endif
}}
"""


class CompiledModel:
    """A ``.tflite`` model compiled to machine code; the same bits as TFLM, many times faster.

    Parameters
    ----------
    model : path or bytes
        The flatbuffer.
    row_pipeline : bool
        See :func:`cheep.compiler.compile_bytes`.

    Raises
    ------
    CheepError
        The compiler refuses the model, or no C compiler is found.
    """

    def __init__(self, model: str | os.PathLike | bytes, row_pipeline: bool = True, flags: tuple[str, ...] = ()):
        from cheep.ccore import compile_shared
        from cheep.compiler.checks import check_graph
        from cheep.compiler.intake import read_network

        name = "model" if isinstance(model, bytes) else str(model)
        data = model if isinstance(model, bytes) else _read(Path(model))
        self.compiled = compile_bytes(data, DEFAULT_PREFIX, name, row_pipeline)
        graph = read_network(data, name)
        check_graph(graph, name)
        self.inputs, self.outputs = graph.inputs, graph.outputs
        p = DEFAULT_PREFIX
        single = len(graph.inputs) == len(graph.outputs) == 1
        single = single and graph.inputs[0].dtype == graph.outputs[0].dtype == "int8"
        with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
            source = Path(folder) / f"{p}.c"
            sizes = {"size_in": graph.inputs[0].size, "size_out": graph.outputs[0].size}
            driver = _DRIVER.format(p=p, P=p.upper(), header=f"{p}.h", **sizes)
            if not single:
                driver = driver.split("\nvoid")[0] + "\n"
            source.write_text(self.compiled.source + driver)
            (Path(folder) / f"{p}.h").write_text(self.compiled.header)
            library = compile_shared([source], [Path(folder)], flags, "compiled")
        self._library = ctypes.CDLL(str(library))
        needed = self._library[f"{p}_slide_bytes" if single else f"{p}_memory_bytes"]()
        self._memory = np.zeros(needed // 8 + 1, np.uint64)
        self._invoke = self._library[f"{p}_invoke"]
        self._invoke.restype = None
        self._many = self._library[f"{p}_many"] if single else None
        self._slide = self._library[f"{p}_slide"] if single else None
        self.reset()

    @property
    def memory_bytes(self) -> int:
        """Working memory on this machine (a device needs as much, see ``Compiled.memory_bytes``)."""
        return int(self._library[f"{DEFAULT_PREFIX}_memory_bytes"]())

    def reset(self) -> None:
        """Forget what the network keeps from run to run (nothing, for most)."""
        if self.compiled.states:
            self._library[f"{DEFAULT_PREFIX}_reset"](ctypes.c_void_p(self._memory.ctypes.data))

    def invoke(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Run once.

        Parameters
        ----------
        *inputs
            One array for each input, with as many values as its shape has, cast to its dtype (int8; uint8 or float32
            at the edges of the network).

        Returns
        -------
        list of ndarray
            The outputs, in the model's shapes and dtypes.

        Raises
        ------
        CheepError
            An input has another number of values.
        """
        arrays = []
        for tensor, value in zip(self.inputs, inputs, strict=True):
            array = np.ascontiguousarray(value, tensor.dtype)
            if array.size != tensor.size:
                raise CheepError(f"input of {array.size} values: {tensor.label} takes {tensor.size}")
            arrays.append(array)
        made = [np.empty(t.shape, t.dtype) for t in self.outputs]
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (self._memory, *arrays, *made)]
        self._invoke(*pointers)
        return made

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Return the scores of many windows: (n, columns, mels) int8 in, (n, classes) int8 out."""
        if self._many is None:
            raise CheepError("scores: the model has several inputs or outputs; use invoke")
        flat = np.ascontiguousarray(windows, np.int8).reshape(len(windows), -1)
        if len(flat) and flat.shape[1] != self.inputs[0].size:
            raise CheepError(f"windows of {flat.shape[1]} values: {self.inputs[0].label} takes {self.inputs[0].size}")
        out = np.empty((len(flat), self.outputs[0].size), np.int8)
        data = (ctypes.c_void_p(a.ctypes.data) for a in (self._memory, flat, out))
        self._many(*data, ctypes.c_int(len(flat)))
        return out

    def slide(self, columns: np.ndarray, stride: int) -> np.ndarray:
        """Return the scores of the windows that start every ``stride`` columns: (n, mels) int8 in, (m, classes) out.

        The same as :meth:`scores` of those windows; where the network has an incremental mode for this stride, each
        column is computed once.
        """
        if self._slide is None:
            raise CheepError("slide: the model has several inputs or outputs; use invoke")
        columns = np.ascontiguousarray(columns, np.int8)
        frames, rest = divmod(self.inputs[0].size, columns.shape[1])
        if rest:
            size, label = self.inputs[0].size, self.inputs[0].label
            raise CheepError(f"columns of {columns.shape[1]} values: {label} takes {size}")
        n = max(0, (len(columns) - frames) // stride + 1)
        out = np.empty((n, self.outputs[0].size), np.int8)
        memory, data, scores = (ctypes.c_void_p(a.ctypes.data) for a in (self._memory, columns, out))
        self._slide(memory, data, ctypes.c_int(columns.shape[1]), ctypes.c_int(stride), scores, ctypes.c_int(n))
        return out


def compiled_scorer(data: bytes):
    """Return what scores windows in compiled C: ``CompiledModel``, or a ``StatefulScorer`` around it."""
    model, runtime = read_model(data), CompiledModel(data)
    return runtime if len(model.inputs) == 1 else StatefulScorer(model, lambda inputs: runtime.invoke(*inputs))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise CheepError(f"{path}: no such model file; train one first (cheep train) or check the path")
    return path.read_bytes()
