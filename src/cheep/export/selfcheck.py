# SPDX-License-Identifier: MIT
"""What the firmware will compute about itself at boot, computed here by the same C code."""

from __future__ import annotations

import ctypes
import functools
import struct
import zlib

import numpy as np

from cheep.ccore import compile_shared, core_sources
from cheep.config import DetectorConfig, FeatureConfig
from cheep.detector import Detector, ScoreScale
from cheep.errors import CheepError
from cheep.features import inverse_scale
from cheep.features.frontend import FrontendSpec, make_spec
from cheep.resources import include_dir, source_dir


@functools.cache
def library() -> ctypes.CDLL:
    """Return the C core with ring, text, lines and self-check (no board, no model)."""
    source = source_dir()
    names = ("cheep_ring.c", "cheep_text.c", "cheep_lines.c", "cheep_selfcheck.c", "cheep_model_check.c")
    path = compile_shared([*core_sources(), *(source / name for name in names)], [include_dir()], name="cheep_boot")
    core = ctypes.CDLL(str(path))
    spec, size = ctypes.POINTER(FrontendSpec), ctypes.c_size_t
    core.cheep_frontend_memory_bytes.argtypes = [spec]
    core.cheep_frontend_memory_bytes.restype = size
    core.cheep_selfcheck_frontend.argtypes = [
        spec, ctypes.c_float, ctypes.c_int32, ctypes.c_void_p, size, *[ctypes.POINTER(ctypes.c_uint32)] * 2,
    ]  # fmt: skip
    core.cheep_selfcheck_frontend.restype = ctypes.c_int
    core.cheep_selfcheck_pcm.argtypes = [ctypes.POINTER(ctypes.c_uint32), ctypes.c_void_p, size]
    core.cheep_selfcheck_pcm.restype = None
    core.cheep_crc32.argtypes = [ctypes.c_uint32, ctypes.c_void_p, size]
    core.cheep_crc32.restype = ctypes.c_uint32
    return core


def frontend_memory_bytes(config: FeatureConfig) -> int:
    """Return the bytes of working memory that the C front end wants for ``config``."""
    spec, _tables = make_spec(config)
    return int(library().cheep_frontend_memory_bytes(spec))


def frontend_crc(config: FeatureConfig, scale: float, zero_point: int) -> tuple[int, int]:
    """Return the CRC-32 of the front end's first columns of the test sound, in single precision and as int8.

    Parameters
    ----------
    config : FeatureConfig
        The model's feature settings.
    scale, zero_point
        Quantization of the model's input.
    """
    core = library()
    spec, _tables = make_spec(config)
    memory = np.zeros(frontend_memory_bytes(config) // 8 + 1, np.float64)
    columns_crc, int8_crc = ctypes.c_uint32(), ctypes.c_uint32()
    status = core.cheep_selfcheck_frontend(
        spec, inverse_scale(scale), zero_point, memory.ctypes.data, memory.nbytes, columns_crc, int8_crc
    )
    if status != 0:
        raise CheepError(f"{config.to_json()}: the C front end refuses these settings (status {status})")
    return int(columns_crc.value), int(int8_crc.value)


def detector_crc(config: DetectorConfig, n_classes: int, scale: ScoreScale) -> int:
    """Return what ``cheep_selfcheck_detector`` gives: the CRC-32 of the events of made rows of scores."""
    detector = Detector(config, n_classes, scale)
    rows = np.full((n_classes, config.smoothing_windows + config.min_windows + 1, n_classes), -128, np.int8)
    for c in range(n_classes):
        rows[c, :, c] = 127
    events = [*detector.push(rows.reshape(-1, n_classes)), *detector.flush()]
    packed = (struct.pack("<BBIIi", e.label, e.ended, e.first_window, e.last_window, e.peak_sum) for e in events)
    return zlib.crc32(b"".join(packed))


def selfcheck_pcm(n_samples: int) -> np.ndarray:
    """Return the first samples of the test sound, (n_samples,) int16."""
    pcm = np.empty(n_samples, np.int16)
    library().cheep_selfcheck_pcm(ctypes.c_uint32(0), pcm.ctypes.data, n_samples)
    return pcm
