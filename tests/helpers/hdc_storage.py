# SPDX-License-Identifier: MIT
"""Storage for the learned classes whose power can be cut."""

from __future__ import annotations

import ctypes

import numpy as np

from cheep.hdc import core


class Storage(core.Storage):
    """Two slots in memory; power can be cut after so many bytes.

    Parameters
    ----------
    slot_bytes
        Size of a slot.
    cut_after
        Bytes erased or written until the power fails: then what is being changed is left half done, its next bytes
        damaged, and nothing works any more. None: never.
    rng
        Decides how the damaged bytes look.
    """

    def __init__(self, slot_bytes: int, cut_after: int | None = None, rng: np.random.Generator | None = None):
        self.slots = [bytearray(b"\xff" * slot_bytes) for _ in range(2)]
        self.cut_after = cut_after
        self.touched = 0
        self.is_cut = False
        self._rng = rng or np.random.default_rng(0)
        self._calls = core.Erase(self._erase), core.Move(self._write), core.Move(self._read)  # kept alive
        super().__init__(None, slot_bytes, *self._calls)

    def _change(self, slot: int, offset: int, data: bytes) -> int:
        if self.is_cut:
            return core.STATUS.index("io")
        n = len(data)
        if self.cut_after is not None and self.touched + n > self.cut_after:
            n = self.cut_after - self.touched
            self.is_cut = True
        self.slots[slot][offset : offset + n] = data[:n]
        self.touched += n
        if self.is_cut:
            damaged = min(int(self._rng.integers(0, 9)), len(data) - n)
            self.slots[slot][offset + n : offset + n + damaged] = self._rng.bytes(damaged)
            return core.STATUS.index("io")
        return 0

    def _erase(self, _context: object, slot: int) -> int:
        return self._change(slot, 0, b"\xff" * len(self.slots[slot]))

    def _write(self, _context: object, slot: int, offset: int, data: object, n: int) -> int:
        if offset % core.BLOCK or n != core.BLOCK or offset + n > len(self.slots[slot]):
            return core.STATUS.index("argument")
        return self._change(slot, offset, bytes(data[:n]))

    def _read(self, _context: object, slot: int, offset: int, data: object, n: int) -> int:
        if offset + n > len(self.slots[slot]):
            return core.STATUS.index("argument")
        ctypes.memmove(data, bytes(self.slots[slot][offset : offset + n]), n)
        return 0
