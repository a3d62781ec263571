# SPDX-License-Identifier: MIT
"""The C core's gate from Python: on which windows the network runs."""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from cheep.ccore import load_core
from cheep.config.detector import GateConfig
from cheep.errors import CheepError

STEP = 64  # CHEEP_GATE_STEP


class _Spec(ctypes.Structure):
    _fields_ = [
        ("on_sum", ctypes.c_int32),
        ("first_band", ctypes.c_uint16),
        ("floor_shift", ctypes.c_uint16),
        ("hold_windows", ctypes.c_uint16),
        ("idle", ctypes.c_void_p),
    ]


class _Gate(ctypes.Structure):
    _fields_ = [
        ("spec", ctypes.POINTER(_Spec)),
        ("floor", ctypes.c_void_p),
        ("distance", ctypes.c_void_p),
        ("n_mels", ctypes.c_uint16),
        ("window_frames", ctypes.c_uint16),
        ("stride_frames", ctypes.c_uint16),
        ("next", ctypes.c_uint16),
        ("hold", ctypes.c_uint16),
        ("begun", ctypes.c_bool),
        ("sum", ctypes.c_int32),
        ("until_window", ctypes.c_uint32),
    ]


@functools.cache
def _core() -> ctypes.CDLL:
    core = load_core()
    gate, u16 = ctypes.POINTER(_Gate), ctypes.c_uint16
    core.cheep_gate_init.argtypes = [gate, ctypes.POINTER(_Spec), u16, u16, u16, ctypes.c_void_p]
    core.cheep_gate_init.restype = ctypes.c_int
    core.cheep_gate_reset.argtypes = [gate]
    core.cheep_gate_reset.restype = None
    core.cheep_gate_run.argtypes = [gate, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    core.cheep_gate_run.restype = ctypes.c_size_t
    return core


def on_sum(config: GateConfig, window_frames: int) -> int:
    """Return the sum over a window's columns that opens the gate, in 1/64 of a step of the network's input."""
    return round(config.margin * STEP * window_frames)


class Gate:
    """Tells from int8 columns on which windows the network runs.

    Parameters
    ----------
    config
        Of the detector.
    n_mels, window_frames, stride_frames
        Bands of a column, columns of a window, and from one window to the next.
    """

    def __init__(self, config: GateConfig, n_mels: int, window_frames: int, stride_frames: int) -> None:
        self._core = _core()
        self.idle = np.array(config.idle, np.int8)
        self._memory = np.zeros(n_mels + window_frames, np.int16)
        self._spec = _Spec(
            on_sum(config, window_frames), config.first_band, config.floor_shift, config.hold_windows,
            self.idle.ctypes.data,
        )  # fmt: skip
        self._state = _Gate()
        status = self._core.cheep_gate_init(
            self._state, self._spec, n_mels, window_frames, stride_frames, self._memory.ctypes.data
        )
        if status != 0:
            raise CheepError(f"gate={config.to_json()}: first_band must be below the {n_mels} bands of the model")

    @property
    def mean(self) -> float:
        """Mean distance of the last window's columns, in steps of the network's input."""
        return self._state.sum / (STEP * self._state.window_frames)

    def reset(self) -> None:
        """Forget the past: the next column is the first of a recording."""
        self._core.cheep_gate_reset(self._state)

    def push(self, columns: np.ndarray) -> np.ndarray:
        """Take successive columns, (n, n_mels) int8; return of each window they complete whether it is run, bool."""
        columns = np.ascontiguousarray(columns, np.int8)
        open_ = np.zeros(len(columns), np.uint8)
        n = self._core.cheep_gate_run(self._state, columns.ctypes.data, len(columns), open_.ctypes.data)
        return open_[:n].astype(bool)


def distances(columns: np.ndarray, window_frames: int, stride_frames: int, config: GateConfig) -> np.ndarray:
    """Return of each window of a recording the mean distance that is compared with ``margin``, float64.

    Parameters
    ----------
    columns : (n, n_mels) int8
        Of the whole recording.
    config : GateConfig
        Its ``first_band`` and ``floor_shift`` count.
    """
    gate = Gate(config, columns.shape[1], window_frames, stride_frames)
    first = np.ascontiguousarray(columns[:window_frames], np.int8)
    rows = []
    at = len(first)
    if at < window_frames:
        return np.zeros(0)
    gate.push(first)
    while True:
        rows.append(gate.mean)
        if at + stride_frames > len(columns):
            return np.array(rows)
        gate.push(columns[at : at + stride_frames])
        at += stride_frames
