# SPDX-License-Identifier: MIT
"""The head on the emulated Cortex-M4F: numpy's bits with the DSP instructions, and the instructions it may take."""

from __future__ import annotations

import numpy as np
import pytest

from cheep.bench.hdc import build_hdc, host_bytes, run_hdc
from cheep.hdc import HdcConfig, HdcModel
from cheep.hdc.model import fit_scaling, prototypes_of


def make_model(hyper: int, dims: int, classes: int, **options) -> tuple[HdcModel, np.ndarray]:
    rng = np.random.default_rng([hyper, dims])
    embeddings = np.clip(rng.normal(-60, 25, (40, dims)), -128, 127).astype(np.int8)
    config = HdcConfig(hyper=hyper, **options)
    sums = rng.normal(0, 1000, (classes, hyper)).astype(np.int64)
    labels = tuple(f"c{i}" for i in range(classes))
    reminders = np.concatenate([embeddings[: 2 * classes]] * 2)[: 2 * classes].reshape(classes, 2, dims)
    scaling = fit_scaling(embeddings, config)
    model = HdcModel(config, scaling, prototypes_of(sums, config.form), labels, reminders=reminders)
    return model, np.vstack([embeddings[:2], np.full((1, dims), 127), np.full((1, dims), -128)]).astype(np.int8)


@pytest.mark.parametrize(
    ("projection", "form", "dims", "table", "optimization"),
    [
        ("gaussian", "int8", 64, True, "-O2"),
        ("gaussian", "binary", 48, True, "-Os"),
        ("gaussian", "bipolar", 7, False, "-O1"),
        ("bipolar", "int8", 100, True, "-O3"),
        ("hadamard", "int8", 256, False, "-O2"),
        ("hadamard", "binary", 64, True, "-O0"),
    ],
)
def test_same_bits_on_the_emulated_core(tmp_path, projection, form, dims, table, optimization):
    """Hypervectors and scores, before and while a class is learned, and after a rehearsal."""
    model, x = make_model(512, dims, 3, projection=projection, form=form)
    elf = build_hdc(tmp_path, model, 1, table, optimization)
    result, data = run_hdc(elf, x, tmp_path, count=False)
    assert data == host_bytes(model, x, 1)
    assert result.values["corrections"] > 0  # the new class is learned from the reminders themselves


@pytest.mark.parametrize(
    ("projection", "form", "table", "most_classify", "most_compare"),
    [
        ("gaussian", "int8", True, 150_000, 23_000),
        ("hadamard", "int8", False, 70_000, 23_000),
        ("hadamard", "binary", False, 50_000, 13_000),
    ],
)
def test_instructions_of_a_classification(tmp_path, projection, form, table, most_classify, most_compare):
    """H = 2,048 from 64 values, 10 classes."""
    model, x = make_model(2048, 64, 10, projection=projection, form=form)
    result, _ = run_hdc(build_hdc(tmp_path, model, 0, table), x[:1], tmp_path)
    assert 10_000 < result.values["classify"] <= most_classify
    assert 5_000 < result.values["compare"] <= most_compare
