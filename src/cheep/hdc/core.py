# SPDX-License-Identifier: MIT
"""The C core ``cheep_hdc`` from Python."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import numpy as np

from cheep.ccore import load_core
from cheep.errors import CheepError
from cheep.hdc.config import FORMS, PROJECTIONS
from cheep.hdc.learner import NO_SCORE, UNKNOWN
from cheep.hdc.model import HdcModel
from cheep.hdc.projection import lane_code, pack_bits

STATUS = ("ok", "argument", "memory", "model", "mismatch", "io", "corrupt")
BLOCK = 64
_c = ctypes


class Spec(_c.Structure):
    """``cheep_hdc_spec``."""

    _fields_ = [  # noqa: RUF012
        ("id", _c.c_uint32),
        ("n_dims", _c.c_uint16),
        ("hyper", _c.c_uint16),
        ("projection", _c.c_uint8),
        ("form", _c.c_uint8),
        ("similarity", _c.c_uint8),
        ("shift", _c.c_uint8),
        ("gain_shift", _c.c_uint8),
        ("seed", _c.c_uint32),
        ("center", _c.c_void_p),
        ("gain", _c.c_void_p),
        ("matrix", _c.c_void_p),
        ("n_classes", _c.c_uint16),
        ("prototypes", _c.c_void_p),
        ("reject", _c.c_int32),
        ("reminders", _c.c_void_p),
        ("n_reminders", _c.c_uint16),
    ]


class _Slot(_c.Structure):
    _fields_ = [  # noqa: RUF012
        ("name", _c.c_char * 16),
        ("overrides", _c.c_uint16),
        ("count", _c.c_uint16),
        ("used", _c.c_bool),
        ("sum", _c.POINTER(_c.c_int16)),
        ("prototype", _c.POINTER(_c.c_uint32)),
    ]


class HdcState(_c.Structure):
    _fields_ = [  # noqa: RUF012
        ("spec", _c.POINTER(Spec)),
        ("n_slots", _c.c_uint16),
        ("pairs", _c.c_void_p),
        ("query", _c.c_void_p),
        ("scratch", _c.c_void_p),
        ("inverse", _c.c_void_p),
        ("slot", _c.POINTER(_Slot)),
        ("query_norm2", _c.c_uint32),
    ]


class _Result(_c.Structure):
    _fields_ = [  # noqa: RUF012
        ("class_index", _c.c_uint16),
        ("nearest", _c.c_uint16),
        ("score", _c.c_int32),
        ("second", _c.c_int32),
    ]


Erase = _c.CFUNCTYPE(_c.c_int, _c.c_void_p, _c.c_uint)
Move = _c.CFUNCTYPE(_c.c_int, _c.c_void_p, _c.c_uint, _c.c_uint32, _c.POINTER(_c.c_uint8), _c.c_uint32)


class Storage(_c.Structure):
    """Two slots that keep the learned classes: functions that erase, write and read them (``cheep_hdc_storage``)."""

    _fields_ = [  # noqa: RUF012
        ("context", _c.c_void_p),
        ("slot_bytes", _c.c_uint32),
        ("erase", Erase),
        ("write", Move),
        ("read", Move),
    ]


@functools.cache
def _library() -> ctypes.CDLL:
    core = load_core()
    h, spec, u16, p = _c.POINTER(HdcState), _c.POINTER(Spec), _c.c_uint16, _c.c_void_p
    signatures = {
        "memory_bytes": (_c.c_size_t, spec, u16),
        "init": (_c.c_int, h, spec, u16, p, _c.c_size_t),
        "encode": (None, h, p),
        "query_values": (None, h, p),
        "compare": (None, h, p, _c.POINTER(_Result)),
        "detector_scores": (None, h, p, p),
        "add_class": (_c.c_int, h, _c.c_char_p, _c.POINTER(u16)),
        "adopt": (_c.c_int, h, u16, u16, _c.POINTER(u16)),
        "learn": (_c.c_int, h, u16, p),
        "unlearn": (_c.c_int, h, u16, p),
        "refine": (_c.c_int, h, u16, p, _c.POINTER(_c.c_bool)),
        "rehearse": (_c.c_uint32, h, u16),
        "forget": (_c.c_int, h, u16),
        "find": (u16, h, _c.c_char_p),
        "record_bytes": (_c.c_uint32, h),
        "save": (_c.c_int, h, _c.POINTER(Storage)),
        "load": (_c.c_int, h, _c.POINTER(Storage)),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(core, f"cheep_hdc_{name}")
        function.restype, function.argtypes = result, arguments
    return core


class CoreHdc:
    """``cheep_hdc`` with a model's constants.

    Parameters
    ----------
    model
        The trained head.
    n_slots
        Classes that can be learned.
    table
        True: the projection is read from a table; False: it is made from the seed at every call.
    """

    def __init__(self, model: HdcModel, n_slots: int = 0, table: bool = False):
        self.model, self.n_slots = model, n_slots
        config, scaling = model.config, model.scaling
        self._center = np.ascontiguousarray(scaling.center, np.int16)
        self._gain = np.ascontiguousarray(scaling.gain, np.int16)
        self._matrix = model.table() if table or model.matrix is not None else None
        self._prototypes = prototype_words(model)
        self._reminders = None if model.reminders is None else np.ascontiguousarray(model.reminders, np.int8)
        self.spec = Spec(
            model.id32,
            model.n_dims,
            config.hyper,
            PROJECTIONS.index(config.projection),
            FORMS.index(config.form),
            1 if config.similarity == "dot" else 0,
            scaling.shift,
            scaling.gain_shift,
            config.seed,
            self._center.ctypes.data,
            self._gain.ctypes.data,
            None if self._matrix is None else self._matrix.ctypes.data,
            len(model.labels),
            self._prototypes.ctypes.data,
            model.reject,
            None if self._reminders is None else self._reminders.ctypes.data,
            0 if self._reminders is None else self._reminders.shape[1],
        )
        self._core = _library()
        self.memory_bytes = int(self._core.cheep_hdc_memory_bytes(self.spec, n_slots))
        if self.memory_bytes == 0:
            raise CheepError("the C core refuses this model (too many classes, or a size out of range)")
        self._memory = np.zeros(self.memory_bytes // 8 + 1, np.uint64)
        self._h = HdcState()
        self._check(self._core.cheep_hdc_init(self._h, self.spec, n_slots, self._memory.ctypes.data, self.memory_bytes))

    def encode(self, embedding: np.ndarray) -> np.ndarray:
        """Return the hypervectors (n, H) int8 of embeddings (n, n_dims) int8."""
        rows = self._rows(embedding)
        out = np.empty((len(rows), self.model.config.hyper), np.int8)
        for row, hv in zip(rows, out, strict=True):
            self._core.cheep_hdc_encode(self._h, row.ctypes.data)
            self._core.cheep_hdc_query_values(self._h, hv.ctypes.data)
        return out

    def scores(self, embedding: np.ndarray) -> np.ndarray:
        """Return the scores (n, classes + slots) int32 of embeddings (n, n_dims) int8."""
        rows = self._rows(embedding)
        out = np.empty((len(rows), len(self.model.labels) + self.n_slots), np.int32)
        for row, score in zip(rows, out, strict=True):
            self._core.cheep_hdc_encode(self._h, row.ctypes.data)
            self._core.cheep_hdc_compare(self._h, score.ctypes.data, None)
        return out

    def classify(self, embedding: np.ndarray) -> tuple[int, int, int, int]:
        """Return (class or -1 for unknown, nearest class, its score, the next score) of an embedding (n_dims,) int8."""
        self._core.cheep_hdc_encode(self._h, self._rows(embedding)[0].ctypes.data)
        result = _Result()
        self._core.cheep_hdc_compare(self._h, None, result)
        index = -1 if result.class_index == UNKNOWN else result.class_index
        return index, result.nearest, result.score, result.second

    def detector_scores(self, scores: np.ndarray) -> np.ndarray:
        """Return cosine scores (classes + slots,) int32 as int8 for the detector, same shape (scale 1/128, zero 0)."""
        scores = np.ascontiguousarray(scores, np.int32)
        out = np.empty(len(scores), np.int8)
        self._core.cheep_hdc_detector_scores(self._h, scores.ctypes.data, out.ctypes.data)
        return out

    def add_class(self, name: str) -> int:
        """Take a free slot; returns the class index."""
        index = _c.c_uint16()
        self._check(self._core.cheep_hdc_add_class(self._h, name.encode(), index))
        return index.value

    def adopt(self, fixed_class: int, weight: int) -> int:
        """Make a fixed class learnable; returns the slot's class index."""
        index = _c.c_uint16()
        self._check(self._core.cheep_hdc_adopt(self._h, fixed_class, weight, index))
        return index.value

    def learn(self, class_index: int, embedding: np.ndarray) -> None:
        """Bundle one example (n_dims,) int8."""
        self._check(self._core.cheep_hdc_learn(self._h, class_index, self._rows(embedding)[0].ctypes.data))

    def unlearn(self, class_index: int, embedding: np.ndarray) -> None:
        """Take one example (n_dims,) int8 out."""
        self._check(self._core.cheep_hdc_unlearn(self._h, class_index, self._rows(embedding)[0].ctypes.data))

    def refine(self, class_index: int, embedding: np.ndarray) -> bool:
        """Learn one example (n_dims,) int8 only if it is mistaken; returns whether anything changed."""
        changed = _c.c_bool()
        self._check(self._core.cheep_hdc_refine(self._h, class_index, self._rows(embedding)[0].ctypes.data, changed))
        return changed.value

    def rehearse(self, passes: int) -> int:
        """Take reminders of fixed classes out of the learned classes that win them; returns how often."""
        return int(self._core.cheep_hdc_rehearse(self._h, passes))

    def forget(self, class_index: int) -> None:
        """Drop a learned class."""
        self._check(self._core.cheep_hdc_forget(self._h, class_index))

    @property
    def record_bytes(self) -> int:
        """Bytes of a storage slot that hold every learned class."""
        return int(self._core.cheep_hdc_record_bytes(self._h))

    def save(self, storage: Storage) -> str:
        """Save the learned classes; returns the status ("ok", "io", ...)."""
        return STATUS[self._core.cheep_hdc_save(self._h, storage)]

    def load(self, storage: Storage) -> str:
        """Load the newest good record; returns the status."""
        return STATUS[self._core.cheep_hdc_load(self._h, storage)]

    def learned(self) -> Sequence[tuple[str, int, int, bytes] | None]:
        """Return (name, count, overrides, sum as bytes) per slot; None for a free one."""
        out: list[tuple[str, int, int, bytes] | None] = []
        for i in range(self.n_slots):
            slot = self._h.slot[i]
            total = bytes(np.ctypeslib.as_array(slot.sum, (self.model.config.hyper,)).tobytes())
            out.append((slot.name.decode(), slot.count, slot.overrides, total) if slot.used else None)
        return out

    def _rows(self, embedding: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(np.atleast_2d(embedding))
        if rows.dtype != np.int8 or rows.shape[1] != self.model.n_dims:
            raise CheepError(f"embedding {rows.dtype} {rows.shape}: must be int8 (n, {self.model.n_dims})")
        return rows

    def _check(self, status: int) -> None:
        if status != 0:
            raise CheepError(f"cheep_hdc: {STATUS[status]}")


def prototype_words(model: HdcModel) -> np.ndarray:
    """Return the prototypes as the C core reads them, (classes, words) uint32: lane-coded int8, or bits."""
    code = pack_bits if model.config.form == "binary" else lane_code
    return np.ascontiguousarray(code(model.prototypes).reshape(len(model.labels), -1))


__all__ = ["NO_SCORE", "STATUS", "CoreHdc", "Spec", "Storage", "prototype_words"]
