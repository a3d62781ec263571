# SPDX-License-Identifier: MIT
"""The head as files, the cut network, and the command."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import numpy as np
import pytest

from cheep.ccore import find_compiler
from cheep.cli import main
from cheep.errors import CheepError
from cheep.hdc import HdcConfig, HdcModel
from cheep.hdc.core import CoreHdc
from cheep.hdc.export import (
    PLACEMENT,
    load_head,
    metadata,
    model_from_metadata,
    render_headers,
    render_projection,
    sizes,
)
from cheep.hdc.model import fit_scaling, prototypes_of
from cheep.job.hdc_study import Embedded, Study, against_examples, against_hyper, few_shot, steps, train_head
from cheep.resources import firmware_root, include_dir

SHA = "0123456789abcdef" * 4


def make_model(form: str = "int8", projection: str = "hadamard", hyper: int = 512) -> HdcModel:
    rng = np.random.default_rng(3)
    config = HdcConfig(hyper=hyper, form=form, projection=projection, seed=9)
    scaling = fit_scaling(rng.integers(-128, 128, (20, 64)).astype(np.int8), config)
    labels = ("knock", 'say "hi"', "überall")
    prototypes = prototypes_of(rng.integers(-99, 99, (3, hyper)), form)
    reminders = rng.integers(-128, 128, (3, 2, 64)).astype(np.int8)
    return HdcModel(config, scaling, prototypes, labels, 1234, SHA, 0.05, -3, reminders)


@pytest.mark.parametrize("form", ["int8", "bipolar", "binary"])
def test_metadata_round_trip(form, tmp_path):
    model = make_model(form)
    values = metadata(model, {"file": "x.tflite", "bytes": 1000, "sha256": SHA}, 0xABCD, 2)
    (tmp_path / "hdc.json").write_text(json.dumps(values))
    again, read = load_head(tmp_path)
    assert read["bytes"] == {**sizes(model, 1000, 2, False)}
    assert np.array_equal(again.prototypes, model.prototypes)
    x = np.random.default_rng(0).integers(-128, 128, (5, 64)).astype(np.int8)
    assert np.array_equal(again.scores(x), model.scores(x)) and again.id32 == model.id32
    assert again.labels == model.labels and again.reject == 1234
    assert np.array_equal(again.reminders, model.reminders)
    assert read["bytes"]["reminders"] == 3 * 2 * 64 and sizes(model, 1000, 0, False)["reminders"] == 0
    assert set(values["placement"]) == set(PLACEMENT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("scaling"), "damaged"),
        (lambda v: v.update(prototypes=v["prototypes"][:-8]), "damaged"),
        (lambda v: v["config"].update(seed=10), "do not belong together"),
        (lambda v: v["config"].update(hyper=500), "multiple of 256"),
        (lambda v: v["extractor"].update(sha256="ff" * 32), "do not belong together"),
    ],
)
def test_damaged_metadata_says_so(change, message):
    values = metadata(make_model(), {"file": "x", "bytes": 1, "sha256": SHA}, 1, 1)
    change(values)
    with pytest.raises(CheepError, match=message):
        model_from_metadata(values)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(CheepError, match="make it with cheep hdc train"):
        load_head(tmp_path)
    (tmp_path / "hdc.json").write_text("{")
    with pytest.raises(CheepError, match="damaged JSON"):
        load_head(tmp_path)


def test_headers_are_marked_and_reproducible():
    model = make_model()
    files = render_headers(model, 0xABCD1234, 2)
    assert files == render_headers(model, 0xABCD1234, 2)
    for text in files.values():
        first = text.splitlines()[0]
        assert "DO NOT EDIT" in first and SHA[:16] in first and "0xabcd1234" in first
    assert "CHEEP_HDC_MATRIX_WORDS 0\n" in render_projection(model, 1)
    table = render_projection(make_model(projection="gaussian"), 1, with_table=True)
    assert "CHEEP_HDC_MATRIX_WORDS 8192\n" in table


def compile_headers(folder, files) -> subprocess.CompletedProcess:
    (folder / "generated").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "generated" / name).write_text(text)
    source = firmware_root() / "common" / "src" / "cheep_hdc_generated.c"
    command = [*find_compiler(), "-std=c11", "-Wall", "-Wextra", "-Werror", "-DCHEEP_HDC", f"-I{include_dir()}"]
    command += [f"-I{folder}", "-c", str(source), "-o", str(folder / "o.o")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_headers_compile_and_headers_of_two_heads_do_not(tmp_path):
    model = make_model()
    files = render_headers(model, 1, 2)
    result = compile_headers(tmp_path, files)
    assert result.returncode == 0, result.stderr
    other = dataclasses.replace(model, config=model.config.model_copy(update={"seed": 10}))
    mixed = {**files, "cheep_hdc_projection.h": render_headers(other, 1, 2)["cheep_hdc_projection.h"]}
    result = compile_headers(tmp_path, mixed)
    assert result.returncode != 0 and "different heads: run cheep hdc export" in result.stderr


def test_export_command_writes_checks_and_notices(tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    (run / "hdc").mkdir(parents=True)
    values = metadata(make_model(), {"file": "x", "bytes": 1, "sha256": SHA}, 7, 3)
    (run / "hdc" / "hdc.json").write_text(json.dumps(values))
    assert main("hdc", ["export", "--run", str(run), "--output", str(out)]) == 0
    assert main("hdc", ["export", "--run", str(run), "--output", str(out), "--check"]) == 0
    assert main("hdc", ["export", "--run", str(run), "--output", str(out), "--check", "--slots", "1"]) == 1
    header = out / "cheep_hdc_prototypes.h"
    header.write_text(header.read_text().replace("CLASSES 3", "CLASSES 4"))
    assert main("hdc", ["export", "--run", str(run), "--output", str(out), "--check"]) == 1
    assert main("hdc", ["export", "--run", str(run), "--output", str(out), "--slots", "62"]) == 2
    assert "--slots 62: must be 0..61" in capsys.readouterr().err


def blobs_study(classes: int = 4, seed: int = 0) -> Study:
    """Embeddings like a trained network's, without a network: 12 clips of 3 windows per class and split."""
    centers = np.random.default_rng(50).normal(size=(classes + 2, 32)) * 25
    splits = {}
    for number, name in enumerate(("train", "val", "test")):
        rng = np.random.default_rng([seed, number])
        target = np.repeat(np.arange(classes), 36)
        x = centers[target] + rng.normal(size=(len(target), 32)) * 20
        q = np.clip(np.rint(x), -128, 127).astype(np.int8)
        scores = -((x[:, None] - centers[None, :classes]) ** 2).sum(axis=2)
        splits[name] = Embedded(
            x.astype(np.float32), scores, q, scores, target, np.arange(len(target)) // 3 + 1000 * number
        )

    class FakeExtractor:
        data, sha256, scale, zero_point, n_dims = b"x" * 100, SHA, 1.0, 0, 32

    return Study(tuple(f"c{i}" for i in range(classes)), None, FakeExtractor(), 100, splits)


def test_the_study_finds_what_it_should():
    study = blobs_study()
    base = HdcConfig(hyper=512, epochs=5)
    by_step = {row["step"]: row for row in steps(study, base, lambda model, table: 7 + table)}
    assert by_step["int8 network, int8 HDC, gaussian table"]["instructions"] == 8
    assert by_step["int8 network, binary HDC, hadamard"]["instructions"] == 7
    assert "instructions" not in by_step["int8 network, softmax"]
    assert all(row["clip_accuracy"] > 0.95 and row["clips"] == 48 for row in by_step.values())
    gaussian = by_step["int8 network, int8 HDC, gaussian table"]["bytes"]
    assert gaussian == 100 + 512 * 32 + 4 * 512 + 4 * 32
    assert by_step["int8 network, binary HDC, hadamard"]["bytes"] == 100 + 4 * 64 + 4 * 32
    assert [r["hyper"] for r in against_hyper(study, base, (256, 512))] == [256, 256, 512, 512]
    few, many = against_examples(study, base, (1, 10), draws=3)
    assert many["clip_accuracy"] >= few["clip_accuracy"] - 0.02 and many["clip_accuracy"] > 0.9
    with pytest.raises(CheepError, match="24 training clips; 99 are asked for"):
        against_examples(study, base, (99,), draws=1)


def test_few_shot_learns_new_classes_and_keeps_old_ones():
    whole = blobs_study(classes=6)
    old = blobs_study(classes=4)

    def only_new(part: Embedded) -> Embedded:
        rows = part.target >= 4
        fields = (part.float_embedding, part.float_scores, part.embedding, part.scores)
        return Embedded(*(f[rows] for f in fields), part.target[rows] - 4, part.clip[rows])

    from cheep.job.hdc_study import NewClasses

    new = NewClasses(("n0", "n1"), only_new(whole.splits["train"]), only_new(whole.splits["test"]))
    row = few_shot(old, new, HdcConfig(hyper=1024, epochs=2), 5, draws=2)
    assert row["old_before"] > 0.95 and row["hdc_old"] > 0.9 and row["hdc_new"] > 0.9 and row["softmax_all"] > 0.9
    assert row["hdc_old"] >= row["bundle_old"]
    assert "softmax_all" not in few_shot(old, new, HdcConfig(hyper=1024, epochs=2), 5, draws=1, softmax=False)


def test_a_trained_head_keeps_the_order_of_the_network():
    study = dataclasses.replace(blobs_study(), labels=("zebra", "ant", "mole", "bee"))
    model = train_head(study, HdcConfig(hyper=512, epochs=1))
    part = study.splits["test"]
    assert model.labels == study.labels
    assert np.mean(model.predict(part.embedding) == part.target) > 0.9
    assert np.array_equal(CoreHdc(model).scores(part.embedding[:5]), model.scores(part.embedding[:5]))
