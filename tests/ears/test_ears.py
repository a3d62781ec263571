# SPDX-License-Identifier: MIT
"""Another model's ears: foreign files and labels, windows, what is kept, boxes, and what a licence means."""

import json

import numpy as np
import pytest

from cheep.cli import main
from cheep.datasets.labels.files import read_annotations
from cheep.datasets.manifest import Manifest
from cheep.ears import Ears, hear_manifest, hear_recording, hear_windows, places_of
from cheep.ears.about import meaning, non_commercial
from cheep.ears.annotate import annotate
from cheep.ears.model import ears_of, read_labels
from cheep.errors import CheepError
from crow_model import NAMES, RATE


def test_scores_and_embeddings_of_windows(model):
    ears = Ears(model)
    assert ears.about.labels == NAMES and ears.about.licence == "unknown" and ears.about.window_s == 1
    t = np.arange(4 * RATE) / RATE
    samples = (0.5 * np.sin(2 * np.pi * 3000 * t) * (t >= 2)).astype(np.float32)
    heard = hear_windows(samples, ears, np.array([0.0, 2.0, 0.0, 3.9]), np.array([1.0, 1.0, 4.0, 0.2]))
    assert heard.scores.shape == (4, 2) and heard.embeddings.shape == (4, 6)
    assert heard.scores[1, 1] > 0.9 and heard.scores[0, 1] < 0.1
    assert heard.scores[2, 1] == pytest.approx(heard.scores[1, 1], abs=0.01)  # the largest of a long window's
    assert heard.embeddings[2, 1] < heard.embeddings[1, 1]  # their mean
    assert heard.scores.min() >= 0 and heard.scores.max() <= 1
    with pytest.raises(ValueError, match="must be"):
        ears.hear(np.zeros((1, 7), np.float32))


def test_what_was_heard_is_kept_by_content(model, card, tmp_path, monkeypatch):
    manifest = Manifest.from_rows(
        {"path": str(card / "a.wav"), "label": label, "start_s": start, "duration_s": 1.0}
        for start, label in ((0.0, "low"), (2.0, "high"))
    )
    ears = ears_of(model)
    first = hear_manifest(manifest, ears, tmp_path, jobs=1)
    files = list((tmp_path / "ears").rglob("*.npz"))
    assert len(files) == 1
    monkeypatch.setattr(Ears, "hear", None)
    again = hear_manifest(manifest, ears, tmp_path, jobs=1)
    assert np.array_equal(first.embeddings, again.embeddings) and np.array_equal(first.scores, again.scores)
    monkeypatch.undo()
    files[0].write_bytes(b"damaged")
    assert np.array_equal(hear_manifest(manifest, ears, tmp_path, jobs=1).scores, first.scores)


def test_boxes_for_recordings(model, card, tmp_path, capsys):
    out = tmp_path / "boxes.csv"
    (card / "c.wav").write_bytes(b"no sound")
    command = ["annotate", str(card), "--by", model, "--species", "high crow", "-o", str(out), "--jobs", "1"]
    assert main("dataset", command) == 0
    boxes = read_annotations(out)
    (name,) = boxes
    assert name.endswith("a.wav")
    (box,) = boxes[name]
    assert (box.start_s, box.end_s, box.label) == (2.0, 4.0, "Corvus highus") and box.score > 0.9
    said = capsys.readouterr()
    assert "not asked for: Corvus lowus_Low Crow 1" in said.out and "nothing in 1 of 3" in said.out
    assert "c.wav" in said.err and "1 could not be heard" in said.out
    papers = json.loads(out.with_suffix(".ears.json").read_text())
    assert papers[0]["model"] == "crow" and "ask its authors" in papers[0]["means"]
    ears = ears_of(model)
    everything = annotate([card / "a.wav"], ears, [], step_s=0.5, jobs=1)
    assert [row[3] for row in everything.rows] == [NAMES[0], NAMES[1]]
    starts, scores = hear_recording(card / "b.wav", ears, 1.0)
    assert starts.tolist() == [0, 1, 2] and scores.max() < 0.1


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("parrot", "must be birdnet"),
        ("{file}", "must be birdnet"),
        ("{file},{folder}/none.txt,8000", "cannot be read as a labels file"),
        ("{file},{folder}/long.txt,8000", "gives .* values, the labels file has 3 lines"),
        ("{file},{labels}", "unknown rate"),
        ("{folder}/labels.txt,{labels},8000", "must be a .tflite"),
        ("{folder}/bad.tflite,{labels},8000", "cannot be opened"),
        ("{folder}/empty.txt,{folder}/empty.txt", "is empty"),
    ],
)
def test_what_does_not_fit_is_said(model, tmp_path, spec, match):
    file, labels, _ = model.split(",")
    (tmp_path / "long.txt").write_text("a\nb\nc\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "bad.tflite").write_bytes(b"\0" * 64)
    with pytest.raises(CheepError, match=match):
        Ears(spec.format(file=file, labels=labels, folder=tmp_path))


def test_a_packaged_model_is_never_fetched_unasked(monkeypatch):
    from cheep.ears import package

    monkeypatch.setitem(__import__("sys").modules, "birdnet", None)
    with pytest.raises(CheepError, match=r"pip install birdnet"):
        Ears("birdnet")
    monkeypatch.undo()
    pytest.importorskip("birdnet")
    monkeypatch.setattr(package, "_is_here", lambda *_: False)
    with pytest.raises(CheepError, match="nothing is downloaded unasked"):
        Ears("birdnet")


def test_the_list_and_no_download_without_a_yes(capsys):
    assert main("ears", ["list"]) == 0
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out
    assert main("ears", ["get", "birdnet"]) == 2  # nobody is at a terminal to say yes
    assert "nothing was downloaded" in capsys.readouterr().err


def test_a_manifest_is_judged_by_a_foreign_model(model, card, tmp_path, capsys):
    rows = [
        {"path": str(card / "a.wav"), "label": label, "group": str(group), "recording": str(group), "split": "train",
         "start_s": start, "duration_s": 1.0}
        for group in range(6)
        for start, label in ((0.0, "high" if group == 0 else "low"), (2.0, "high"), (3.0, "high"))
    ]  # fmt: skip
    Manifest.from_rows(rows).write(tmp_path / "dataset.csv")
    command = ["teacher", str(tmp_path / "dataset.csv"), "--by", model, "--drop", "0.3", "--below", "0.5"]
    assert main("dataset", [*command, "--jobs", "1", "--sample-rate", "8000"]) == 0
    said = capsys.readouterr().out
    assert "judged by crow" in said
    assert len((tmp_path / "dataset.taught.csv").read_text().splitlines()) == 1 + len(rows) - 1
    assert json.loads((tmp_path / "ears.json").read_text())[0]["did"] == "judged labels"


def test_labels_and_names(tmp_path):
    (tmp_path / "map.csv").write_text('index,mid,display_name\n0,/m/1,Speech\n1,/m/2,"Child speech, kid"\n')
    assert read_labels(tmp_path / "map.csv") == ("Speech", "Child speech, kid")
    assert places_of(["corvus HIGHUS", "Low Crow", NAMES[0]], NAMES) == [1, 0, 0]
    with pytest.raises(CheepError, match="low crow"):
        places_of(["Low Crew"], NAMES)


def test_what_a_licence_means():
    assert non_commercial("CC BY-NC-SA 4.0") and not non_commercial("Apache-2.0")
    assert "not for commercial use" in meaning("CC BY-NC-SA 4.0") and "name the model" in meaning("Apache-2.0")
