# SPDX-License-Identifier: MIT
"""Classes learned after training, from a few examples: the numpy twin of ``cheep_hdc_learn.c``."""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.errors import CheepError
from cheep.hdc.model import HdcModel, prototypes_of, similarity

NO_SCORE = -(2**31)
UNKNOWN = 0xFFFF
NAME_BYTES = 16
MAX_CLASSES = 64


@dataclasses.dataclass
class LearnedClass:
    """One learned class: its saturating sum of hypervectors (H,) int16 and the number of examples in it."""

    name: str
    sum: np.ndarray
    count: int = 0
    overrides: int = UNKNOWN


class HdcLearner:
    """A model with room for classes that are learned on the device.

    Parameters
    ----------
    model
        The fixed part.
    n_slots
        How many classes can be learned.
    """

    def __init__(self, model: HdcModel, n_slots: int):
        if n_slots < 0 or len(model.labels) + n_slots > MAX_CLASSES:
            raise CheepError(
                f"slots={n_slots}: {len(model.labels)} fixed classes and the slots together "
                f"must be at most {MAX_CLASSES}"
            )
        self.model = model
        self.slots: list[LearnedClass | None] = [None] * n_slots

    @property
    def labels(self) -> list[str | None]:
        """Names of all classes; None for a free slot."""
        learned = [None if s is None else s.name for s in self.slots]
        return [*self.model.labels, *learned]

    def add_class(self, name: str) -> int:
        """Take a free slot; returns the class index."""
        size = len(name.encode())
        if not 1 <= size < NAME_BYTES:
            raise CheepError(f"class name {name!r}: must have 1 to {NAME_BYTES - 1} bytes")
        if any(s is not None and s.name == name for s in self.slots):
            raise CheepError(f"class name {name!r}: already learned (forget it first, or learn more examples)")
        for i, slot in enumerate(self.slots):
            if slot is None:
                self.slots[i] = LearnedClass(name, np.zeros(self.model.config.hyper, np.int16))
                return len(self.model.labels) + i
        raise CheepError(f"class {name!r}: all {len(self.slots)} slots are in use (forget a class, or raise --slots)")

    def adopt(self, fixed_class: int, weight: int) -> int:
        """Make a fixed class learnable; its prototype counts as ``weight`` (1..64) examples."""
        if not 0 <= fixed_class < len(self.model.labels) or not 1 <= weight <= 64:
            raise CheepError(f"class {fixed_class}, weight {weight}: must be a fixed class and 1..64")
        index = self.add_class(f"={fixed_class:02d}")
        slot = self._slot(index)
        slot.sum = _clip16(self.model.prototypes[fixed_class].astype(np.int32) * weight)
        slot.count, slot.overrides = weight, fixed_class
        return index

    def learn(self, class_index: int, embedding: np.ndarray) -> None:
        """Bundle one example (n_dims,) int8 into a learned class."""
        self._bundle(self._slot(class_index), self.model.encode(embedding)[0], 1)

    def unlearn(self, class_index: int, embedding: np.ndarray) -> None:
        """Take one example (n_dims,) int8 out again."""
        slot = self._slot(class_index)
        if slot.count == 0:
            raise CheepError(f"class {slot.name!r}: holds no example to take out")
        self._bundle(slot, self.model.encode(embedding)[0], -1)

    def refine(self, class_index: int, embedding: np.ndarray) -> bool:
        """Learn one example (n_dims,) int8 only if it is mistaken; returns whether anything changed."""
        slot = self._slot(class_index)
        hv = self.model.encode(embedding)
        nearest = int(self.scores_of(hv)[0].argmax())
        if nearest == class_index:
            return False
        self._bundle(slot, hv[0], 1)
        if nearest >= len(self.model.labels) and self._slot(nearest).count > 1:
            self._bundle(self._slot(nearest), hv[0], -1)
        return True

    def rehearse(self, passes: int) -> int:
        """Take reminders of fixed classes out of the learned classes that win them; returns how often."""
        reminders = self.model.reminders
        if reminders is None:
            return 0
        fixed, total = len(self.model.labels), 0
        hv = self.model.encode(reminders.reshape(-1, reminders.shape[2]))
        for _ in range(passes):
            before = total
            for i, row in enumerate(hv):
                scores = self.scores_of(row[None])[0]
                nearest = int(scores.argmax())
                if nearest < fixed or scores[nearest] == NO_SCORE:
                    continue
                slot = self._slot(nearest)
                if slot.overrides != i // reminders.shape[1]:
                    slot.sum = _clip16(slot.sum.astype(np.int32) - row)
                    total += 1
            if total == before:
                break
        return total

    def forget(self, class_index: int) -> None:
        """Drop a learned class."""
        self._slot(class_index)
        self.slots[class_index - len(self.model.labels)] = None

    def scores_of(self, hv: np.ndarray) -> np.ndarray:
        """Return scores (n, classes + slots) int32 of hypervectors (n, H) int8; :data:`NO_SCORE` where none is."""
        fixed = self.model.scores_of(hv)
        out = np.full((len(hv), fixed.shape[1] + len(self.slots)), NO_SCORE, np.int32)
        out[:, : fixed.shape[1]] = fixed
        for i, slot in enumerate(self.slots):
            if slot is None:
                continue
            if slot.overrides != UNKNOWN:
                out[:, slot.overrides] = NO_SCORE
            if slot.count > 0:
                prototype = prototypes_of(slot.sum[None], self.model.config.form)
                out[:, fixed.shape[1] + i] = similarity(hv, prototype, self.model.config)[:, 0]
        return out

    def scores(self, embedding: np.ndarray) -> np.ndarray:
        """Encode and compare: (n, n_dims) int8 -> (n, classes + slots) int32."""
        return self.scores_of(self.model.encode(embedding))

    def predict(self, embedding: np.ndarray) -> np.ndarray:
        """Return the nearest class, fixed or learned, of embeddings (n, n_dims) int8: (n,) int64.

        An overriding slot reports its own index.
        """
        return self.scores(embedding).argmax(axis=1)

    def _slot(self, class_index: int) -> LearnedClass:
        i = class_index - len(self.model.labels)
        slot = self.slots[i] if 0 <= i < len(self.slots) else None
        if slot is None:
            raise CheepError(f"class {class_index}: not a learned class in use")
        return slot

    def _bundle(self, slot: LearnedClass, hv: np.ndarray, sign: int) -> None:
        slot.sum = _clip16(slot.sum.astype(np.int32) + sign * hv.astype(np.int32))
        slot.count += sign


def _clip16(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -32767, 32767).astype(np.int16)
