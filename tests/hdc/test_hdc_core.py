# SPDX-License-Identifier: MIT
"""The C core of the hyperdimensional head gives the bits of its numpy twin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheep.errors import CheepError
from cheep.hdc import HdcConfig, HdcLearner, HdcModel, HdcScaling, hamming_distance, projection_matrix
from cheep.hdc.core import CoreHdc
from cheep.hdc.model import fit_scaling, isqrt, prototypes_of, similarity, typical
from cheep.hdc.projection import (
    lane_code,
    lane_decode,
    normal_quantiles,
    pack_bits,
    projection_table,
    random_words,
    unpack_bits,
    walsh_hadamard,
)

PROJECTIONS = ("gaussian", "bipolar", "hadamard")
FORMS = ("int8", "bipolar", "binary")


def random_embeddings(rng: np.random.Generator, n: int, dims: int) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(-128, 128, (n, dims)).astype(np.int8)
    if kind == 1:  # as ReLU and pooling leave them: many at the zero point
        return np.clip(rng.normal(-128, 30, (n, dims)), -128, 127).astype(np.int8)
    if kind == 2:
        return np.where(rng.random((n, dims)) < 0.5, -128, 127).astype(np.int8)
    return np.full((n, dims), rng.integers(-128, 128), np.int8)


def make_model(rng: np.random.Generator, dims: int, classes: int = 3, **options) -> HdcModel:
    config = HdcConfig(**options)
    scaling = fit_scaling(random_embeddings(rng, 50, dims), config)
    sums = rng.normal(0, 1000, (classes, config.hyper)).astype(np.int64)
    prototypes = prototypes_of(sums, config.form)
    reminders = random_embeddings(rng, classes * 2, dims).reshape(classes, 2, dims)
    labels = tuple(f"c{i}" for i in range(classes))
    return HdcModel(config, scaling, prototypes, labels, reject=3000, reminders=reminders)


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("table", [False, True])
def test_same_bits_over_sizes(projection, form, table):
    rng = np.random.default_rng([PROJECTIONS.index(projection), FORMS.index(form), table])
    for dims, hyper in [(1, 256), (16, 512), (33, 256), (64, 2048), (100, 768), (256, 1024)]:
        for likeness in ("cosine", "dot"):
            options = {"projection": projection, "form": form, "hyper": hyper, "similarity": likeness}
            model = make_model(rng, dims, seed=int(rng.integers(2**32)), **options)
            core = CoreHdc(model, n_slots=1, table=table)
            x = random_embeddings(rng, 6, dims)
            assert np.array_equal(core.encode(x), model.encode(x))
            assert np.array_equal(core.scores(x)[:, :3], model.scores(x))
            result = core.classify(x[0])
            ordered = np.sort(model.scores(x[:1])[0])[::-1]
            assert result[1:] == (int(model.scores(x[:1])[0].argmax()), ordered[0], ordered[1])
            assert result[0] == model.predict(x[:1], unknown=True)[0]


def test_largest_values_do_not_overflow():
    """127 x 127 in each of 8,192 elements, and 256 dimensions at the ends of their range."""
    config = HdcConfig(hyper=8192, form="int8", projection="gaussian", normalize="none", seed=5)
    scaling = fit_scaling(np.full((2, 256), 127, np.int8), config)
    loud = np.sign(projection_matrix("gaussian", 256, 8192, 5)[:1]).astype(np.int8) * 127
    loud = np.vstack([loud, -loud, np.full((1, 256), 127, np.int8), np.full((1, 256), -128, np.int8)])
    for shift in (0, 5, 20):
        steep = HdcScaling(scaling.center, np.full(256, 32767, np.int16), shift)
        model = HdcModel(config, steep, np.full((1, 8192), 127, np.int8), ("a",))
        core = CoreHdc(model)
        assert np.array_equal(core.encode(loud), model.encode(loud))
        assert np.array_equal(core.scores(loud), model.scores(loud))
    config = config.model_copy(update={"similarity": "dot"})
    hv = np.full((1, 8192), 127, np.int8)
    assert similarity(hv, hv, config)[0, 0] == 8192 * 127 * 127


def test_detector_scores_are_rounded_cosines():
    core = CoreHdc(make_model(np.random.default_rng(0), 16), n_slots=2)
    assert core.detector_scores([32767, 127, 128, -129, -2147483648]).tolist() == [127, 0, 1, -1, -128]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 256), st.sampled_from(PROJECTIONS), st.sampled_from(FORMS))
def test_learning_gives_the_same_bits(seed, dims, projection, form):
    """A random sequence of add, learn, unlearn, refine, rehearse, adopt and forget."""
    rng = np.random.default_rng(seed)
    model = make_model(rng, dims, projection=projection, form=form, hyper=256, seed=seed)
    core, twin = CoreHdc(model, n_slots=2), HdcLearner(model, 2)
    probe = random_embeddings(rng, 3, dims)
    for step in range(12):
        x = random_embeddings(rng, 1, dims)
        action = rng.choice(["add", "learn", "learn", "learn", "unlearn", "refine", "rehearse", "adopt", "forget"])
        index = int(rng.integers(3, 5))
        outcome = []
        for side in (core, twin):
            try:
                if action == "add":
                    outcome.append(side.add_class(f"n{step}"))
                elif action == "adopt":
                    outcome.append(side.adopt(int(step % 3), 1 + step * 6) if step % 3 != 2 else None)
                elif action == "rehearse":
                    outcome.append(side.rehearse(1 + step % 3))
                elif action == "forget":
                    outcome.append(side.forget(index))
                else:
                    outcome.append(getattr(side, action)(index, x))
            except CheepError:
                outcome.append("refused")
        assert outcome[0] == outcome[1], action
        assert np.array_equal(core.scores(probe), twin.scores(probe)), action
        for mine, theirs in zip(core.learned(), twin.slots, strict=True):
            if theirs is None:
                assert mine is None
            else:
                assert mine == (theirs.name, theirs.count, theirs.overrides, theirs.sum.tobytes())


def test_learning_saturates_and_unlearning_is_exact():
    rng = np.random.default_rng(3)
    model = make_model(rng, 20, hyper=256, normalize="none")
    core, twin = CoreHdc(model, n_slots=1), HdcLearner(model, 1)
    examples = random_embeddings(np.random.default_rng(9), 5, 20)
    for side in (core, twin):
        index = side.add_class("new")
        for x in examples:
            side.learn(index, x)
        for x in examples[1:]:
            side.unlearn(index, x)
    assert core.learned()[0][3] == model.encode(examples[0])[0].astype(np.int16).tobytes()
    for _ in range(700):
        core.learn(index, examples[0])
        twin.learn(index, examples[0])
    assert np.abs(twin.slots[0].sum).max() == 32767
    assert core.learned()[0][3] == twin.slots[0].sum.tobytes()


def test_rehearsal_gives_old_classes_back_what_a_new_one_took():
    rng = np.random.default_rng(2)
    centers = rng.normal(size=(3, 32)) * 30
    centers[2] = centers[0] + rng.normal(size=32) * 12  # the new class is much like the first one
    x = [np.clip(np.rint(c + rng.normal(size=(40, 32)) * 16), -128, 127).astype(np.int8) for c in centers]
    config = HdcConfig(hyper=512)
    empty = HdcModel(config, fit_scaling(np.vstack(x[:2]), config), np.ones((2, 512), np.int8), ("a", "b"))
    sums = np.stack([empty.encode(rows[:2]).astype(int).sum(axis=0) for rows in x[:2]])  # poor: two examples each
    model = dataclasses.replace(
        empty, prototypes=prototypes_of(sums, "int8"), reminders=np.stack([typical(rows, 4, 1) for rows in x[:2]])
    )
    core, twin = CoreHdc(model, n_slots=1), HdcLearner(model, 1)
    for side in (core, twin):
        index = side.add_class("new")
        for row in x[2][:20]:
            side.learn(index, row)
    before = np.mean(twin.predict(x[0]) == 0)
    corrections = core.rehearse(10)
    assert corrections == twin.rehearse(10) > 0
    assert core.learned()[0] == ("new", 20, 0xFFFF, twin.slots[0].sum.tobytes())
    assert np.mean(twin.predict(x[0]) == 0) > before + 0.1
    assert np.mean(twin.predict(x[2][20:]) == 2) > 0.5
    assert twin.rehearse(10) <= corrections and twin.rehearse(0) == 0


def test_typical_embeddings_lie_among_their_own():
    rng = np.random.default_rng(6)
    groups = np.concatenate([rng.normal(m, 3, (30, 8)) for m in (-90, 0, 90)])
    found = typical(np.rint(groups).astype(np.int8), 3, 1)
    assert sorted(np.rint(found.mean(axis=1) / 90).tolist()) == [-1, 0, 1]
    assert len(typical(np.ones((2, 8), np.int8), 5, 1)) == 5


def test_an_overridden_class_is_silent_until_forgotten():
    rng = np.random.default_rng(4)
    model = make_model(rng, 32, hyper=512)
    learner = HdcLearner(model, 1)
    x = random_embeddings(rng, 2, 32)
    before = learner.scores(x)
    index = learner.adopt(1, 8)
    during = learner.scores(x)
    assert (during[:, 1] == -(2**31)).all()
    assert np.abs(during[:, index] - before[:, 1]).max() <= 1  # the same prototype, up to its rounding
    learner.forget(index)
    assert np.array_equal(learner.scores(x), before)


def test_streams_are_reproducible():
    """Fixed by the words that devices in the field hold; a change orphans what they have learned."""
    assert [f"{w:08x}" for w in random_words(1, np.arange(3))] == ["23064794", "c839ed16", "136164f0"]
    corner = projection_matrix("gaussian", 64, 256, 7)[:2, :6]
    assert corner.tolist() == [[23, 38, -115, -13, -84, -36], [-36, 21, -16, 6, 22, 8]]


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_projections_keep_angles(kind):
    """Cosines of hypervectors are those of embeddings, and other seeds give other rows."""
    rng = np.random.default_rng(1)
    matrix = projection_matrix(kind, 64, 2048, 3).astype(float)
    x = rng.normal(size=(20, 64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    hv = x @ matrix.T
    hv /= np.linalg.norm(hv, axis=1, keepdims=True)
    assert np.abs(hv @ hv.T - x @ x.T).max() < 0.12
    other = projection_matrix(kind, 64, 2048, 4)
    assert abs(np.corrcoef(matrix.ravel(), other.ravel())[0, 1]) < 0.07  # 4 / sqrt(2,048 signs)


def test_hadamard_rows_of_a_block_are_orthogonal():
    block = projection_matrix("hadamard", 64, 256, 1)[:64].astype(int)
    assert np.array_equal(block @ block.T, 64 * np.eye(64, dtype=int))
    assert np.array_equal(walsh_hadamard(8)[5], [1, -1, 1, -1, -1, 1, -1, 1])


def test_normal_quantiles_are_symmetric():
    q = normal_quantiles().astype(int)
    assert np.array_equal(q, -q[::-1]) and abs(q.std() - 40) < 1 and q.min() == -115


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_codes_round_trip(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-127, 128, (3, 64)).astype(np.int8)
    assert np.array_equal(lane_decode(lane_code(values)), values)
    signs = np.where(values >= 0, 1, -1).astype(np.int8)
    assert np.array_equal(unpack_bits(pack_bits(values)), signs)
    assert np.array_equal(hamming_distance(signs, signs[:2]), (signs[:, None] != signs[None, :2]).sum(axis=2))


def test_a_table_has_the_stated_size():
    assert projection_table("gaussian", 64, 2048, 1).nbytes == 131072
    assert projection_table("bipolar", 64, 2048, 1).nbytes == 16384
    assert projection_table("hadamard", 64, 2048, 1).nbytes == 256


def test_integer_square_root():
    x = np.concatenate([np.arange(2000), np.arange(1, 2000) ** 2, np.arange(2, 2000) ** 2 - 1, [2**50 - 1, 2**50]])
    root = isqrt(x.astype(np.int64))
    assert (root * root <= x).all() and ((root + 1) ** 2 > x).all()


def test_what_the_core_refuses():
    rng = np.random.default_rng(0)
    model = make_model(rng, 16, classes=3)
    with pytest.raises(CheepError, match="refuses this model"):
        CoreHdc(model, n_slots=62)
    with pytest.raises(CheepError, match="must be at most 64"):
        HdcLearner(model, 62)
    with pytest.raises(CheepError, match=r"must be int8 \(n, 16\)"):
        model.encode(np.zeros((1, 17), np.int8))
    with pytest.raises(CheepError, match=r"1..256 \(cut the network at a narrower layer\)"):
        projection_matrix("gaussian", 257, 256, 1)
    core, twin = CoreHdc(model, n_slots=1), HdcLearner(model, 1)
    for name in ("", "sixteen bytes ok"):
        with pytest.raises(CheepError):
            core.add_class(name)
        with pytest.raises(CheepError, match="1 to 15 bytes"):
            twin.add_class(name)
    twin.add_class("one")
    with pytest.raises(CheepError, match="already learned"):
        twin.add_class("one")
    with pytest.raises(CheepError, match="slots are in use"):
        twin.add_class("two")
