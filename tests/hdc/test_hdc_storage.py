# SPDX-License-Identifier: MIT
"""What a device has learned survives power cuts: the old classes or the new ones, never a mixture."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from cheep.hdc import HdcConfig, HdcModel
from cheep.hdc.core import BLOCK, CoreHdc
from cheep.hdc.model import fit_scaling, prototypes_of
from hdc_storage import Storage

RECORD_BLOCKS = 2 + 2 * (1 + 256 * 2 // BLOCK)


def make_model(seed: int = 1, form: str = "int8") -> HdcModel:
    rng = np.random.default_rng(seed)
    config = HdcConfig(hyper=256, form=form, seed=seed)
    scaling = fit_scaling(rng.integers(-128, 128, (20, 16)).astype(np.int8), config)
    return HdcModel(config, scaling, prototypes_of(rng.integers(-999, 999, (2, 256)), form), ("a", "b"))


def examples(seed: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-128, 128, (n, 16)).astype(np.int8)


def taught(model: HdcModel, old_only: bool = False) -> CoreHdc:
    core = CoreHdc(model, n_slots=2)
    index = core.add_class("knock")
    for x in examples(10):
        core.learn(index, x)
    if not old_only:
        index = core.add_class("ring")
        for x in examples(11):
            core.learn(index, x)
        core.learn(2, examples(12)[0])
    return core


def saved_old(model: HdcModel, times: int = 1) -> tuple[Storage, CoreHdc]:
    old = taught(model, old_only=True)
    storage = Storage(RECORD_BLOCKS * BLOCK)
    for _ in range(times):
        assert old.save(storage) == "ok"
    return storage, old


@pytest.mark.parametrize("form", ["int8", "binary"])
def test_round_trip(form):
    model = make_model(form=form)
    core = taught(model)
    storage = Storage(core.record_bytes)
    assert core.save(storage) == "ok"
    other = CoreHdc(model, n_slots=2)
    assert other.load(storage) == "ok"
    assert other.learned() == core.learned()
    x = examples(5, 20)
    assert np.array_equal(other.scores(x), core.scores(x))


def test_blank_storage_is_no_error():
    core = taught(make_model())
    for blank in (b"\xff", b"\x00"):
        storage = Storage(core.record_bytes)
        storage.slots = [bytearray(blank * core.record_bytes) for _ in range(2)]
        assert core.load(storage) == "ok"
        assert core.learned() == [None, None]


def test_saves_alternate_and_the_newest_wins():
    storage, old = saved_old(make_model(), times=5)
    first = [bytes(s) for s in storage.slots]
    new = taught(old.model)
    assert new.save(storage) == "ok"
    assert sum(a != bytes(b) for a, b in zip(first, storage.slots, strict=True)) == 1
    core = CoreHdc(old.model, n_slots=2)
    assert core.load(storage) == "ok"
    assert core.learned() == new.learned()


def test_the_sequence_number_may_wrap():
    model = make_model()
    storage, _ = saved_old(model)
    core = CoreHdc(model, n_slots=2)

    def renumber(slot: int, sequence: int) -> None:
        data = storage.slots[slot]
        blocks = int.from_bytes(data[16:20], "little")
        data[8:12] = sequence.to_bytes(4, "little")
        crc = zlib.crc32(bytes(data[: blocks * BLOCK]))
        data[blocks * BLOCK : blocks * BLOCK + 8] = crc.to_bytes(4, "little") + (crc ^ 0xFFFFFFFF).to_bytes(4, "little")

    renumber(0, 0xFFFFFFFF)
    new = taught(model)
    assert new.save(storage) == "ok"
    assert int.from_bytes(storage.slots[1][8:12], "little") == 0
    assert core.load(storage) == "ok"
    assert core.learned() == new.learned()


def cut_once(model: HdcModel, old: CoreHdc, new: CoreHdc, storage: Storage, cut: int, seed: int) -> str:
    """Cut the power after ``cut`` bytes of saving ``new`` over ``old``; returns what is loaded afterwards."""
    torn = Storage(RECORD_BLOCKS * BLOCK, cut, np.random.default_rng(seed))
    torn.slots = [bytearray(s) for s in storage.slots]
    status = new.save(torn)
    assert (status == "ok") == (not torn.is_cut)
    again = Storage(RECORD_BLOCKS * BLOCK)
    again.slots = torn.slots
    core = CoreHdc(model, n_slots=2)
    assert core.load(again) == "ok"
    assert core.learned() in (old.learned(), new.learned()), f"a mixture after {cut} bytes"
    kept = "new" if core.learned() == new.learned() else "old"
    # The next save must work, whatever the cut left.
    assert new.save(again) == "ok"
    assert core.load(again) == "ok"
    assert core.learned() == new.learned()
    return kept


def test_power_cut_at_every_byte():
    model = make_model()
    storage, old = saved_old(model)
    new = taught(model)
    total = RECORD_BLOCKS * BLOCK * 2  # erase a slot, then write it
    kept = [cut_once(model, old, new, storage, cut, cut) for cut in range(total + 1)]
    assert kept[-1] == "new" and kept[0] == "old"
    # Only the last bytes of the foot decide, and those after its eight are padding.
    assert set(kept[: total - BLOCK]) == {"old"} and kept[total - BLOCK + 8 :] == ["new"] * (BLOCK - 7)


def test_a_thousand_power_cuts_at_random():
    """Both slots in use, several saves before, cuts anywhere, damaged bytes after the cut."""
    model = make_model(seed=2)
    rng = np.random.default_rng(2)
    new = taught(model)
    prepared = [saved_old(model, times) for times in (1, 2, 3)]
    kept = {"old": 0, "new": 0}
    for i in range(1000):
        storage, old = prepared[i % 3]
        cut = int(rng.integers(0, RECORD_BLOCKS * BLOCK * 2 + 1))
        kept[cut_once(model, old, new, storage, cut, i)] += 1
    assert sum(kept.values()) == 1000 and kept["old"] > 900


def test_every_damaged_byte_is_noticed():
    model = make_model()
    storage, _ = saved_old(model)
    core = CoreHdc(model, n_slots=2)
    used = int.from_bytes(storage.slots[0][16:20], "little") * BLOCK + 8
    for at in range(0, used, 3):
        damaged = Storage(RECORD_BLOCKS * BLOCK)
        damaged.slots = [bytearray(s) for s in storage.slots]
        damaged.slots[0][at] ^= 1 << (at % 8)
        assert core.load(damaged) == "corrupt"
        assert core.learned() == [None, None]


def test_both_slots_damaged_falls_back_to_neither_and_one_to_the_other():
    storage, old = saved_old(make_model(), times=2)
    core = CoreHdc(old.model, n_slots=2)
    storage.slots[1][100] ^= 4
    assert core.load(storage) == "ok"
    assert core.learned() == old.learned()
    storage.slots[0][100] ^= 4
    assert core.load(storage) == "corrupt"


def test_a_record_of_another_model_is_refused():
    storage, _ = saved_old(make_model())
    core = CoreHdc(make_model(seed=3), n_slots=2)
    assert core.load(storage) == "mismatch"
    assert core.learned() == [None, None]


def test_too_small_a_slot_is_refused_before_anything_is_erased():
    core = taught(make_model())
    storage = Storage(core.record_bytes - BLOCK)
    assert core.save(storage) == "memory"
    assert storage.touched == 0


def test_more_classes_than_slots_is_refused():
    model = make_model()
    core = taught(model)
    storage = Storage(core.record_bytes)
    assert core.save(storage) == "ok"
    assert CoreHdc(model, n_slots=1).load(storage) == "mismatch"
