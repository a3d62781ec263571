# SPDX-License-Identifier: MIT
"""What other models teach: rows that cannot be read, soft labels, mixes, own detectors as ears, and the papers."""

import json

import numpy as np
import pytest

from cheep import runs
from cheep.audio import write_wav
from cheep.cli import main
from cheep.config import FeatureConfig, TrainConfig
from cheep.datasets.manifest import Manifest, load_manifest
from cheep.datasets.soft import SOFT_LABELS, read_soft, write_soft
from cheep.datasets.teacher import TeacherConfig, teach
from cheep.ears import Ears, hear_manifest
from cheep.ears.papers import add_papers, not_for_sale, notice, papers_beside
from cheep.ears.soften import soften
from cheep.errors import CheepError
from cheep.job.reference import ceiling_of, wanted_places
from cheep.job.windows import load_windows
from cheep.tf_runtime import import_tf
from crow_model import NAMES, RATE, crow_function
from tone_model import CENTRES_HZ, tones, write_tone_run

FEATURES = FeatureConfig(n_mels=24, hop_samples=256, window_frames=31)
PAPER = {"model": "birdnet 2.4", "sha256": "ab" * 32, "licence": "CC BY-NC-SA 4.0", "did": "judged labels",
         "commercial_use": False, "means": "not for commercial use"}  # fmt: skip


@pytest.fixture
def crows(tmp_path):
    """A data set of two crows in noise, six recordings each (s of low in a wave of 2 s); validation and test, too."""
    rows = []
    for number in range(16):
        label = ("high", "low")[number % 2]
        path = tmp_path / f"{number}.wav"
        write_wav(path, (tones([(0, 2, label)], 2, number) * 8).clip(-32768, 32767).astype(np.int16), RATE)
        split = "val" if number in (12, 13) else "test" if number > 13 else "train"
        rows.append({"path": str(path), "label": label, "group": str(number), "recording": str(number), "split": split,
                     "start_s": 0.5, "duration_s": 1.0, "sha256": f"{number:064d}"})  # fmt: skip
    Manifest.from_rows(rows).write(tmp_path / runs.DATASET)
    return tmp_path


def test_a_teacher_goes_on_past_what_cannot_be_read(model, crows, capsys):
    (crows / "4.wav").write_bytes(b"no sound")
    for by in (model, "forest"):
        assert main("dataset", ["teacher", str(crows / runs.DATASET), "--by", by, "--jobs", "1"]) == 0
        said = capsys.readouterr()
        assert "4.wav" in said.err and "1 recording(s) could not be read" in said.out
        assert len(load_manifest(crows / "dataset.taught.csv")) == 16  # its window stays
    manifest = load_manifest(crows / runs.DATASET)
    heard = hear_manifest(manifest, Ears(model), jobs=1)
    told = teach(manifest, TeacherConfig(judge="probe"), statistics=heard.embeddings)
    assert np.isnan(told.plausibility[4]) and np.isfinite(told.plausibility[:4]).all()
    for path in crows.glob("*.wav"):
        path.write_bytes(b"no sound")
    for by in (model, "forest"):
        assert main("dataset", ["teacher", str(crows / runs.DATASET), "--by", by, "--jobs", "1"]) == 2
        assert "can be heard" in capsys.readouterr().err


def test_annotate_looks_for_the_folder_before_the_model(tmp_path, capsys):
    assert main("dataset", ["annotate", str(tmp_path / "none"), "--by", "birdnet"]) == 2
    assert "none" in capsys.readouterr().err.splitlines()[-1]


def test_annotate_leaves_a_table_that_is_there(tmp_path, capsys):
    table = tmp_path / "mine.csv"
    table.write_text("corrected by hand\n")
    assert main("dataset", ["annotate", str(tmp_path), "--by", "birdnet", "-o", str(table)]) == 2
    assert "is there already" in capsys.readouterr().err and table.read_text() == "corrected by hand\n"


def test_soft_labels_of_windows_and_mixes(model, crows, capsys):
    dataset = crows / runs.DATASET
    before = dataset.read_bytes()
    command = ["soften", str(dataset), "--by", model, "--jobs", "1"]
    assert main("dataset", command) == 0
    assert dataset.read_bytes() == before  # nothing mixed: the data set is as it was
    soft = read_soft(crows / SOFT_LABELS)
    assert soft.labels == ("high", "low") and len(soft.rows) == 12  # training windows alone
    assert main("dataset", [*command, "--mixes", "6"]) == 0
    mixed = load_manifest(dataset)
    assert len(mixed) == 22 and mixed.column("split")[16:] == ["train"] * 6
    assert len(read_soft(crows / SOFT_LABELS).rows) == 18
    assert main("dataset", [*command, "--mixes", "0"]) == 0
    assert len(load_manifest(dataset)) == 16
    assert json.loads((crows / "ears.json").read_text())[0]["did"] == "taught soft labels"
    assert "6 of them mixes" in capsys.readouterr().out


def test_a_mix_holds_both_sounds(model, crows):
    made = soften(load_manifest(crows / runs.DATASET), Ears(model), crows, mixes=8, jobs=1)
    scores = hear_manifest(made.manifest.select(np.arange(16, 24)), Ears(model), jobs=1).scores
    assert (scores.min(axis=1) > 0.03).all() and len(set(made.manifest.column("label")[16:])) == 2
    again = soften(made.manifest, Ears(model), crows, mixes=8, jobs=1)
    assert len(again.manifest) == 24 and np.array_equal(again.values, made.values, equal_nan=True)


def test_training_blends_soft_labels_into_its_own(crows):
    with pytest.raises(CheepError, match="cheep dataset soften"):
        load_windows(crows, FEATURES, TrainConfig(soft_weight=0.5))
    manifest = load_manifest(crows / runs.DATASET)
    values = np.full((16, 2), np.nan)
    values[:10] = (0.9, 0.1)
    write_soft(crows / SOFT_LABELS, manifest, ("low", "high"), values)
    plain, blended = (load_windows(crows, FEATURES, TrainConfig(soft_weight=w)).splits for w in (0.0, 0.5))
    assert np.allclose(blended["train"].targets[:10], 0.5 * plain["train"].targets[:10] + 0.5 * np.array([0.1, 0.9]))
    assert np.array_equal(blended["train"].targets[10:], plain["train"].targets[10:])  # no soft label: the label
    assert np.array_equal(blended["val"].targets, plain["val"].targets)
    (crows / SOFT_LABELS).write_text("path,start_s,low\n0.wav,0.5,1\n")
    with pytest.raises(CheepError, match="no column for high"):
        load_windows(crows, FEATURES, TrainConfig(soft_weight=0.5))
    (crows / SOFT_LABELS).write_text("path,start_s,low,high\n0.wav,0.5,1.5,0\n")
    with pytest.raises(CheepError, match=r":2: must be a path"):
        load_windows(crows, FEATURES, TrainConfig(soft_weight=0.5))


def test_the_projects_own_detectors_have_ears(tmp_path, int8_model, small_features):
    from cheep.config import DetectorConfig
    from cheep.convert.bundle import write_bundle
    from cheep.device.bundle import load_bundle
    from cheep.features import compute_features, quantize
    from cheep.tflite.tflm import TflmModel

    run = write_tone_run(tmp_path / "tones")
    ears = Ears(str(run))
    assert ears.about.licence == "own" and "high" in ears.about.labels
    window = (tones([(0, 1, "high")], 1) / 32768).astype(np.float32)[: round(ears.about.window_s * RATE)]
    heard = ears.hear(window[None])
    assert heard.scores.argmax() == ears.about.labels.index("high")
    assert heard.embeddings.shape == (1, 3)  # one layer: the scores stand for the embedding
    labels = ("a", "b")
    write_bundle(tmp_path, "m.tflite", int8_model, features=small_features, labels=labels, detector=DetectorConfig())
    ears = Ears(str(tmp_path / "m.tflite"))
    samples = np.random.default_rng(1).normal(0, 0.1, small_features.window_samples).astype(np.float32)
    heard = ears.hear(samples[None])
    bundle = load_bundle(tmp_path / "m.tflite")
    columns = compute_features((samples * 32768).round().clip(-32768, 32767).astype(np.int16), small_features)
    raw = TflmModel(bundle.path).scores(quantize(columns, bundle.input.scale, bundle.input.zero_point)[None])
    assert np.allclose(heard.scores, bundle.scale.probabilities(raw)) and heard.embeddings.shape[1] > 2


def test_a_keras_file_has_ears(tmp_path):
    from cheep.models import build_model
    from cheep.models.saved import save_keras

    save_keras(build_model("sepconv_s", (31, 24), 2), tmp_path / "model.h5")
    about = {"features": FEATURES.to_dict(), "labels": ["a", "b"]}
    (tmp_path / "training.json").write_text(json.dumps(about))
    heard = Ears(str(tmp_path / "model.h5")).hear(np.zeros((1, FEATURES.window_samples), np.float32))
    assert heard.scores.shape == (1, 2) and heard.embeddings.shape[1] > 2
    (tmp_path / "training.json").write_text(json.dumps({**about, "labels": ["a"]}))
    with pytest.raises(CheepError, match="gives 2 scores"):
        Ears(str(tmp_path / "model.h5"))


def test_the_model_inside_a_saved_model_gives_the_embedding(tmp_path, model):
    """As YAMNet lies inside Keras models that were made around it: the signature has one number, or scores alone."""
    tf, serve = import_tf(), crow_function()

    class Inner(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32)])
        def __call__(self, waveform):
            found = serve(waveform[None])
            return tf.sigmoid(found["predictions"]), found["embeddings"]

    outer = tf.Module()
    outer.inner = Inner()

    @tf.function(input_signature=[tf.TensorSpec((8000,), tf.float32)])
    def loudest(samples):
        return {"class_output": tf.reduce_max(outer.inner(samples)[0], axis=1)}

    tf.saved_model.save(outer, str(tmp_path / "saved"), signatures=loudest)
    (tmp_path / "saved" / "assets" / "class_map.csv").write_text(
        "index,display_name\n" + "".join(f"{place},{name}\n" for place, name in enumerate(NAMES))
    )
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    ears = Ears(f"{tmp_path / 'saved'},{tmp_path / 'labels.txt'},8000")
    samples = np.sin(2 * np.pi * 3000 * np.arange(8000) / RATE).astype(np.float32)[None] / 2
    heard, as_file = ears.hear(samples), Ears(model).hear(samples)
    assert np.allclose(heard.scores, as_file.scores, atol=1e-3)
    assert np.allclose(heard.embeddings, as_file.embeddings, atol=1e-3)


def test_papers_follow_the_data(tmp_path, crows):
    add_papers(tmp_path / "boxes.ears.json", [PAPER, PAPER])
    assert papers_beside(tmp_path / "boxes.csv") == [PAPER]
    add_papers(tmp_path / "new" / "ears.json", [])
    assert not (tmp_path / "new").exists()
    assert "birdnet 2.4" in not_for_sale([PAPER]) and not not_for_sale([{**PAPER, "commercial_use": True}])
    assert "CC BY-NC-SA 4.0" in notice([PAPER]) and "Warning" in notice([PAPER])
    add_papers(crows / "ears.json", [PAPER])
    command = ["--csv", str(crows / runs.DATASET), "--run", str(tmp_path / "runs/r"), "--sample-rate", "8000"]
    assert main("split-dataset", command) == 0
    assert papers_beside(tmp_path / "runs/r") == [PAPER]


def test_a_second_opinion_on_false_alarms(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(CENTRES_HZ, "bird", CENTRES_HZ["high"])
    run = write_tone_run(tmp_path / "run", labels=("background", "bird", "low"))
    quiet = tones([(1, 3, "high")], 4)
    write_wav(tmp_path / "card/loud.wav", (quiet * 8.0).clip(-32768, 32767).astype(np.int16), RATE)
    write_wav(tmp_path / "card/quiet.wav", (quiet * 0.4).astype(np.int16), RATE)
    command = ["--model", str(run), "--background", str(tmp_path / "card"), "--reference", model]
    assert main("evaluate", command) == 0
    said = capsys.readouterr().out
    assert "of 2 strongest false alarms it hears bird in 1 (High Crow 1)" in said
    found = json.loads((run / "reference.json").read_text())
    heard = {item["file"].rsplit("/", 1)[-1]: item["heard"] for item in found["alarms"]}
    assert heard == {"loud.wav": NAMES[1], "quiet.wav": ""}
    page = (run / "disputed.html").read_text()
    assert "loud.wav" in page and "quiet.wav" not in page and "keep (row" not in page
    for name in ("loud", "quiet"):
        write_wav(tmp_path / f"card/{name}.wav", np.zeros(4 * RATE, np.int16), RATE)
    assert main("evaluate", command) == 0
    assert json.loads((run / "reference.json").read_text())["alarms"] == []  # not those of before
    write_wav(tmp_path / "card/loud.wav", (quiet * 8.0).clip(-32768, 32767).astype(np.int16), RATE)
    command[1] = str(write_tone_run(tmp_path / "other", labels=("background", "high", "low")))
    assert main("evaluate", command) == 2  # no crow of the reference is called high: nobody says that none is there
    assert "has no label for high: it judges" in capsys.readouterr().err


def test_a_second_opinion_on_a_run_and_its_ceiling(model, crows):
    manifest = load_manifest(crows / runs.DATASET)
    names = manifest.column("label")
    names[14] = names[15]  # a test label that is wrong
    manifest.with_column("label", names).write(crows / runs.DATASET)
    opinion = ceiling_of(crows, Ears(model), jobs=1)
    assert opinion.ceiling["clip_accuracy"] == 0.5 and opinion.ceiling["windows"] == 2
    assert opinion.doubted == (14,)


@pytest.mark.parametrize(
    ("label", "places"),
    [("bird", [1, 3, 5]), ("Vögel", [1, 3, 5]), ("great_tit", [1]), ("tit", [1]), ("eagle_owl", [5]), ("owl", [5]),
     ("coyote", [4]), ("frog", [6]), ("crow", []), ("background", [])],
)  # fmt: skip
def test_which_labels_of_a_reference_mean_a_detectors(label, places):
    labels = ("Dog_Dog", "Parus major_Great Tit", "Human vocal_Human vocal", "Corvus corax_Raven",
              "Canis latrans_Coyote", "Bubo bubo_Eagle-Owl", "Lithobates sylvaticus_Wood Frog",
              "Gryllus assimilis_Gryllus assimilis")  # fmt: skip
    assert wanted_places(label, labels) == places


def test_birds_are_told_by_scientific_names_alone_and_a_kind_by_its_own_name():
    assert wanted_places("bird", ("Speech", "Bird")) == [1]
    assert wanted_places("bird", ("Turdus merula", "Rana temporaria", "Acoustic_guitar", "Vulpes vulpes")) == [0]
