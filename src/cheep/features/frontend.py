# SPDX-License-Identifier: MIT
"""The C front end from Python: whole recordings, streams, and the one quantizer of features."""

from __future__ import annotations

import ctypes
import functools
import threading

import numpy as np

from cheep.ccore import load_core, pointer
from cheep.config import FeatureConfig
from cheep.errors import CheepError
from cheep.features.tables import FrontendTables, frontend_spec_tables, pcen_smoothing

_F32, _U16, _I16 = ctypes.c_float, ctypes.c_uint16, ctypes.c_int16
_LOCAL = threading.local()  # the front end last used by compute_features in this thread


class FrontendSpec(ctypes.Structure):
    """``cheep_frontend_spec`` of ``cheep_frontend.h``."""

    _fields_ = [
        ("feature_hash", ctypes.c_uint32),
        ("sample_rate_hz", ctypes.c_uint32),
        ("frame_samples", _U16),
        ("fft_size", _U16),
        ("hop_samples", _U16),
        ("n_mels", _U16),
        ("spectrum", ctypes.c_uint8),
        ("compression", ctypes.c_uint8),
        ("weight_count", _U16),
        ("twiddle_count", _U16),
        ("window", ctypes.POINTER(_F32)),
        ("twiddle", ctypes.POINTER(_F32)),
        ("band_start", ctypes.POINTER(_U16)),
        ("band_count", ctypes.POINTER(_U16)),
        ("band_weight", ctypes.POINTER(_F32)),
        ("log_floor", _F32),
        ("log_offset", _F32),
        ("pcen_smoothing", _F32),
        ("pcen_gain", _F32),
        ("pcen_bias", _F32),
        ("pcen_power", _F32),
        ("pcen_eps", _F32),
    ]


class FrontendState(ctypes.Structure):
    """``cheep_frontend`` of ``cheep_frontend.h``."""

    _fields_ = [
        ("spec", ctypes.POINTER(FrontendSpec)),
        ("history", ctypes.POINTER(_I16)),
        ("work", ctypes.POINTER(_F32)),
        ("power", ctypes.POINTER(_F32)),
        ("smooth", ctypes.POINTER(_F32)),
        ("filled", ctypes.c_uint32),
        ("skip", ctypes.c_uint32),
        ("chained", ctypes.c_bool),
        ("columns", ctypes.c_uint64),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    core = load_core()
    spec, state, size = ctypes.POINTER(FrontendSpec), ctypes.POINTER(FrontendState), ctypes.c_size_t
    core.cheep_frontend_memory_bytes.argtypes = [spec]
    core.cheep_frontend_memory_bytes.restype = size
    core.cheep_frontend_init.argtypes = [state, spec, ctypes.c_void_p, size]
    core.cheep_frontend_init.restype = ctypes.c_int
    core.cheep_frontend_reset.argtypes = [state]
    core.cheep_frontend_reset.restype = None
    core.cheep_frontend_run.argtypes = [state, ctypes.c_void_p, size, ctypes.c_void_p, size, ctypes.POINTER(size)]
    core.cheep_frontend_run.restype = size
    core.cheep_lanes_scratch_bytes.argtypes = [spec]
    core.cheep_lanes_scratch_bytes.restype = size
    core.cheep_lanes_run.argtypes = [state, ctypes.c_void_p, size, ctypes.c_void_p, size, ctypes.c_void_p]
    core.cheep_lanes_run.restype = size
    core.cheep_quantize.argtypes = [ctypes.c_void_p, size, _F32, ctypes.c_int32, ctypes.c_void_p]
    core.cheep_quantize.restype = None
    return core


def frontend_spec_values(config: FeatureConfig) -> dict[str, int | float]:
    """Return the scalar members of ``cheep_frontend_spec`` by name, in the order of the C struct."""
    tables = frontend_spec_tables(config)
    return {
        "feature_hash": config.hash32,
        "sample_rate_hz": config.sample_rate_hz,
        "frame_samples": config.frame_samples,
        "fft_size": config.fft_size,
        "hop_samples": config.hop_samples,
        "n_mels": config.n_mels,
        "spectrum": ("power", "magnitude").index(config.spectrum),
        "compression": ("db", "pcen", "both").index(config.compression),
        "weight_count": int(tables.band_count.sum()),
        "twiddle_count": tables.twiddle.size,
        "log_floor": config.log_floor,
        "log_offset": config.log_offset,
        "pcen_smoothing": pcen_smoothing(config),
        "pcen_gain": config.pcen_gain,
        "pcen_bias": config.pcen_bias,
        "pcen_power": config.pcen_power,
        "pcen_eps": config.pcen_eps,
    }


def make_spec(config: FeatureConfig) -> tuple[FrontendSpec, FrontendTables]:
    """Return the C description of ``config`` and the tables it points into (keep both alive)."""
    tables = frontend_spec_tables(config)
    spec = FrontendSpec(**frontend_spec_values(config))
    for name in ("window", "twiddle", "band_weight"):
        setattr(spec, name, pointer(getattr(tables, name), _F32))
    for name in ("band_start", "band_count"):
        setattr(spec, name, pointer(getattr(tables, name), _U16))
    return spec, tables


def _as_pcm(pcm: np.ndarray) -> np.ndarray:
    if not isinstance(pcm, np.ndarray) or pcm.dtype != np.int16 or pcm.ndim != 1:
        found = f"{pcm.dtype} {pcm.shape}" if isinstance(pcm, np.ndarray) else type(pcm).__name__
        raise CheepError(f"pcm={found}: must be a one-dimensional int16 array (cheep.audio.float_to_int16 converts)")
    return np.ascontiguousarray(pcm)


class FrontendStream:
    """The front end over a stream: push chunks of any length, get the columns that they complete.

    Parameters
    ----------
    config
        The sound's description.

    Notes
    -----
    Not thread-safe; any number of streams are independent. The same samples give the same bits however they
    are cut into chunks.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._core = _library()
        self._spec, self._tables = make_spec(config)
        self._memory_bytes = self._core.cheep_frontend_memory_bytes(self._spec)
        self._memory = np.zeros(self._memory_bytes // 8 + 1, np.float64)
        self._scratch: np.ndarray | None = None
        self._state = FrontendState()
        status = self._core.cheep_frontend_init(self._state, self._spec, self._memory.ctypes.data, self._memory.nbytes)
        if status != 0:
            raise CheepError(
                f"{config.to_json()}: the C front end refuses these settings "
                "(log_floor and pcen_eps must be at least 1e-30, pcen_power at least 0.001)"
            )

    @property
    def memory_bytes(self) -> int:
        """Bytes of state that the front end uses on the device, besides the struct and the tables."""
        return int(self._memory_bytes)

    @property
    def columns(self) -> int:
        """Columns made since the start or the last :meth:`reset`."""
        return int(self._state.columns)

    @property
    def core(self) -> ctypes.CDLL:
        """The loaded C core."""
        return self._core

    @property
    def state(self) -> FrontendState:
        """The C state, initialized for :attr:`config`."""
        return self._state

    def push(self, pcm: np.ndarray) -> np.ndarray:
        """Take ``pcm`` (n,) int16, any n, and return the columns it completes, (k, n_mels) float32, dB or PCEN."""
        pcm = _as_pcm(pcm)
        room = pcm.size // self.config.hop_samples + 2  # one more than can be completed: all samples are taken
        columns = np.empty((room, self.config.n_mels), np.float32)
        if self._scratch is None:
            self._scratch = np.zeros(self._core.cheep_lanes_scratch_bytes(self._spec) // 8 + 1, np.float64)
        made = self._core.cheep_lanes_run(
            self._state, pcm.ctypes.data, pcm.size, columns.ctypes.data, room, self._scratch.ctypes.data
        )
        return columns[:made]

    def reset(self) -> None:
        """Forget the past: the next sample is the first of a new recording."""
        self._core.cheep_frontend_reset(self._state)


def compute_features(pcm: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Compute the columns of a whole recording.

    Parameters
    ----------
    pcm
        (n,) int16, mono, at ``config.sample_rate_hz``.
    config
        The sound's description.

    Returns
    -------
    ndarray
        (columns, n_mels) float32, ``columns = config.frames_of(n)``; dB (or PCEN units). Column ``t`` covers
        samples ``t * hop_samples`` to ``t * hop_samples + frame_samples``.
    """
    stream = getattr(_LOCAL, "stream", None)
    if stream is None or stream.config != config:
        stream = _LOCAL.stream = FrontendStream(config)
    else:
        stream.reset()
    return stream.push(pcm)


def quantize(x: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Quantize features as the device does: ``clip(round_half_even(x / scale + zero_point), -128, 127)``.

    Single precision, with ``float32(1 / scale)`` as the factor; NaN gives -128.

    Parameters
    ----------
    x
        Any shape, converted to float32.
    scale, zero_point
        Of the model's input tensor.

    Returns
    -------
    ndarray
        The same shape, int8.
    """
    if not scale > 0:
        raise CheepError(f"scale={scale}: must be above 0 (read it from the model's input tensor)")
    if not -128 <= zero_point <= 127:
        raise CheepError(f"zero_point={zero_point}: must lie in -128..127 (an int8 tensor)")
    values = np.ascontiguousarray(x, np.float32)
    q = np.empty(values.shape, np.int8)
    _library().cheep_quantize(values.ctypes.data, values.size, inverse_scale(scale), int(zero_point), q.ctypes.data)
    return q


def inverse_scale(scale: float) -> float:
    """Return the float32 factor ``1 / scale`` that the device multiplies with (computed from float32 ``scale``)."""
    return float(np.float32(1.0 / float(np.float32(scale))))
