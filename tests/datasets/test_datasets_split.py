# SPDX-License-Identifier: MIT
"""Manifests and splits: no leak, the same bytes, clear errors."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cheep import cli
from cheep.datasets import Manifest, SplitConfig, assign_splits, check_leaks, load_manifest
from cheep.datasets.sources.folders import recordings_in_folder
from cheep.datasets.sources.recording import recording_of
from cheep.datasets.split import balance, components
from cheep.errors import CheepError, GateError

RATE = 8000


def row(label="robin", recording="r1", group="", **more):
    base = {"path": f"{recording}.wav", "label": label, "start_s": 0, "duration_s": 1, "recording": recording}
    return {**base, "group": group, "sha256": more.pop("sha256", recording), "split": "", **more}


rows_strategy = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 8), st.integers(1, 4)),
    min_size=20,
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@example([(label, rec, 0, 1) for rec, pair in enumerate(("ac", "bc", "ab")) for label in pair] * 4, 0)
@given(rows_strategy, st.integers(0, 5))
def test_no_recording_and_no_group_is_ever_on_two_sides(spec, seed):
    rows = [row(label, f"r{rec}", f"g{group}" if group else "") for label, rec, group, n in spec for _ in range(n)]
    manifest = Manifest.from_rows(rows)
    try:
        result = assign_splits(manifest, SplitConfig(seed=seed))
    except CheepError as error:
        assert not isinstance(error, GateError)
        assert "at least 2" in str(error)
        return
    for name in ("recording", "group", "sha256"):
        seen = {}
        for value, split in zip(result.column(name), result.column("split"), strict=True):
            if value:
                assert seen.setdefault(value, split) == split
    # every label is trained on and tested on
    for line in balance(result):
        assert line["train"] and line["test"]


def test_components_join_over_several_columns():
    rows = [
        row(recording=r, group=g) for r, g in [("a", "x"), ("b", "x"), ("b", "y"), ("c", "y"), ("d", ""), ("e", "")]
    ]
    ids = components(Manifest.from_rows(rows), ("recording", "group"))
    assert ids.tolist() == [0, 0, 0, 0, 1, 2]


def test_equal_audio_under_two_names_stays_together():
    rows = [row(recording=f"r{i}", sha256=f"s{i // 2}") for i in range(40)]
    result = assign_splits(Manifest.from_rows(rows), SplitConfig())
    splits = result.column("split")
    assert splits[0::2] == splits[1::2]
    assert len(set(splits)) == 3


def test_shares_are_met_and_the_seed_decides():
    rows = [row("ab"[i % 2], f"r{i}", f"g{i // 3}") for i in range(600)]
    manifest = Manifest.from_rows(rows)
    one, again, other = (assign_splits(manifest, SplitConfig(seed=seed)).column("split") for seed in (1, 1, 2))
    assert one == again != other
    assert abs(one.count("train") / 600 - 0.7) < 0.02
    assert abs(one.count("val") / 600 - 0.15) < 0.02


def test_folds_decide_where_they_are_asked_to():
    rows = [row(recording=f"r{i}", fold=str(i % 5 + 1)) for i in range(50)]
    result = assign_splits(Manifest.from_rows(rows), SplitConfig(test_folds=("5",), val_folds=("4",)))
    for fold, split in zip(result.column("fold"), result.column("split"), strict=True):
        assert split == {"5": "test", "4": "val"}.get(fold, "train")
    with pytest.raises(CheepError, match="fold '9': not among the folds"):
        assign_splits(Manifest.from_rows(rows), SplitConfig(test_folds=("9",)))


def test_leak_check_names_the_recording():
    rows = [row(recording="XC1", split="train"), row(recording="XC1", split="test")]
    with pytest.raises(GateError, match="recording 'XC1' is in test and train"):
        check_leaks(Manifest.from_rows(rows))
    # folds that cut a recording in two are refused too
    rows = [row(recording="XC1", fold="1"), row(recording="XC1", fold="2"), row(recording="XC2", fold="2")]
    with pytest.raises(GateError, match="leak"):
        assign_splits(Manifest.from_rows(rows), SplitConfig(test_folds=("2",)))


def test_a_label_with_one_recording_is_an_error():
    rows = [row(recording=f"r{i}") for i in range(5)] + [row("wren", "w1"), row("wren", "w1")]
    with pytest.raises(CheepError, match="label 'wren' has 1 recording: at least 2"):
        assign_splits(Manifest.from_rows(rows), SplitConfig())
    rows = [row(recording=f"r{i}") for i in range(5)] + [row("wren", f"w{i}", "bob") for i in range(4)]
    with pytest.raises(CheepError, match="4 recordings, all of one group"):
        assign_splits(Manifest.from_rows(rows), SplitConfig())


def test_labels_that_share_their_groups_cannot_all_be_on_both_sides():
    # three labels, three recordings, two labels in each: one side of every split holds both recordings of some label
    rows = [row(label, f"r{rec}") for rec, labels in enumerate(("ac", "bc", "ab")) for label in labels]
    with pytest.raises(CheepError, match=r"hold other labels too.*at least 2"):
        assign_splits(Manifest.from_rows(rows), SplitConfig())
    # a fourth recording makes it possible
    result = assign_splits(Manifest.from_rows([*rows, row("c", "r3"), row("b", "r3")]), SplitConfig())
    assert all(line["train"] and line["test"] for line in balance(result))


def test_round_trip_keeps_every_value(tmp_path):
    rows = [
        row(f"l{i % 3}", f'r,"{i}\n', recordist="Zoë", start_s=i * 0.5, note=f"n{i}", snr_db=i / 7) for i in range(9)
    ]
    manifest = Manifest.from_rows(rows, tmp_path)
    digest = manifest.write(tmp_path / "dataset.csv")
    again = load_manifest(tmp_path / "dataset.csv")
    assert again.write(tmp_path / "again.csv") == digest
    assert (tmp_path / "dataset.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    for name in ("label", "recording", "recordist", "note"):
        assert again.column(name) == manifest.column(name)
    assert np.array_equal(again.start_s, manifest.start_s)
    # moved: paths follow
    again.write(tmp_path / "deep" / "m.csv")
    assert load_manifest(tmp_path / "deep" / "m.csv").audio_path(0).resolve() == again.audio_path(0).resolve()


GOOD = "path,label,start_s,duration_s,recording,recordist,licence,attribution,split,sha256\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("path,label\na,b\n", r":1: column\(s\) start_s, .* missing"),
        (GOOD + "a.wav,x,0,1\n", r":2: 4 fields, the header has 10"),
        (GOOD + "a.wav,x,zero,1,r,,,,,\n", r":2: start_s='zero': must be a number"),
        (GOOD + "a.wav,x,0,inf,r,,,,,\n", r":2: duration_s='inf': must be a finite number"),
        (GOOD + "a.wav,x,-1,1,r,,,,,\n", r"row 1: start_s=-1: must be at least 0"),
        (GOOD + "a.wav,x,0,0,r,,,,,\n", r"row 1: duration_s=0: must be above 0"),
        (GOOD + "a.wav,x,0,1,r,,,,dev,\n", r"split='dev': must be train, val, test or empty"),
        (GOOD + "a.wav,,0,1,r,,,,,\n", r"row 1: label is empty"),
    ],
)
def test_a_wrong_manifest_is_named_by_line_and_column(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(CheepError, match=message):
        load_manifest(path)


def song(rng, seconds, calls):
    """Noise with 1.5-2.5 kHz calls of 0.3 s at ``calls`` s."""
    n = int(seconds * RATE)
    out = rng.normal(0, 0.01, n)
    t = np.arange(int(0.3 * RATE)) / RATE
    for at in calls:
        begin = int(at * RATE)
        call = 0.3 * np.sin(2 * np.pi * (1500 + 3000 * t) * t) * np.hanning(len(t))
        out[begin : begin + len(t)] += call[: n - begin]
    return out


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(1)
    root = tmp_path / "data"
    for label, calls in (("robin", [1.0, 5.2]), ("background", [])):
        (root / label).mkdir(parents=True)
        for i in range(6):
            soundfile.write(root / label / f"{label}{i}.wav", song(rng, 8, calls), RATE)
    return root


def split(*arguments):
    return cli.main("split-dataset", [str(item) for item in arguments])


def test_a_folder_becomes_a_manifest_with_the_active_windows(folder, tmp_path, capsys):
    out = tmp_path / "dataset.csv"
    assert split(folder, "-o", out, "--jobs", 1) == 0
    text = capsys.readouterr().out
    assert "no activity" in text and "left out" in text
    manifest = load_manifest(out)
    robin = manifest.where("label", "robin")
    for recording in range(6):
        mine = robin.where("recording", f"robin{recording}")
        # the calls lie at 1.0-1.3 and 5.2-5.5 s: these windows hold all or most of one of them
        assert {0.5, 1.0, 4.5, 5.0} <= set(mine.start_s.tolist()) <= {0.0, 0.5, 1.0, 4.5, 5.0}
    assert len(manifest.where("label", "background")) == 6 * 15
    left = load_manifest(tmp_path / "dataset.left_out.csv")
    assert set(left.column("reason")) == {"no activity"}
    assert len(left) + len(manifest) == 12 * 15
    # the same input gives the same bytes, with two workers too
    before = out.read_bytes()
    assert split(folder, "-o", out, "--jobs", 2) == 0
    assert out.read_bytes() == before
    # a manifest is split again with another seed
    again = tmp_path / "again.csv"
    assert split("--csv", out, "--seed", 7, "-o", again) == 0
    assert load_manifest(again).column("split") != manifest.column("split")


def test_gaps_become_background(folder, tmp_path):
    out = tmp_path / "dataset.csv"
    assert split(folder, "-o", out, "--gaps", "--labels", "robin") == 0
    manifest = load_manifest(out)
    gaps = manifest.where("reason", "quiet gap")
    assert set(gaps.column("label")) == {"background"}
    assert len(gaps) == 6 * len({2.0, 2.5, 3.0, 3.5, 6.0, 6.5, 7.0})
    for start in gaps.start_s:
        assert not any(start - 0.5 < call + 0.3 and call < start + 1.5 for call in (1.0, 5.2))


def test_csv_with_the_users_columns(folder, tmp_path):
    csv = tmp_path / "list.csv"
    lines = ["clip,what,who,keep"] + [f"robin/robin{i}.wav,robin,p{i},yes" for i in range(5)]
    lines += [f"background/background{i}.wav,background,p{i},{'yes' if i else 'no'}" for i in range(5)]
    csv.write_text("\n".join(lines))
    out = tmp_path / "dataset.csv"
    columns = ["--columns", "path=clip", "label=what", "--group-column", "who"]
    common = ["--csv", csv, "--audio-root", folder, "-o", out]
    assert split(*common, *columns, "--include", "keep=yes", "--rename", "robin=bird") == 0
    manifest = load_manifest(out)
    assert manifest.labels == ["background", "bird"]
    assert "background0" not in manifest.column("recording")
    check_leaks(manifest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nowhere"], "no such folder"),
        (["{data}", "--window", "0"], "windows.window_s=0: must be above 0"),
        (["{data}", "--hop", "2"], "hop_s=2.0: must be at most window_s=1.0"),
        (["{data}", "--labels", "robn"], "did you mean 'robin'"),
        (["{data}", "--val", "0.6", "--test", "0.5"], "must leave at least 0.05"),
        (["{data}", "--rename", "robin"], "must look like NAME=VALUE"),
        (["{data}", "--group-by", "site"], "have no site"),
        (["{data}", "--activity-db", "59"], "every window was left out"),
        (["--csv", "{tmp}/nowhere.csv"], "no such file"),
        (["--csv", "{tmp}/bad.csv"], "no column for label"),
        (["--csv", "{tmp}/gone.csv"], "gone.csv:2: .*no such file"),
        (["{tmp}/one"], "label 'robin' has 1 recording"),
        (["{tmp}/corrupt"], "x.wav"),
        (["{tmp}/hollow"], "no audio in this label folder"),
        (["{tmp}/one/robin"], "1 recording\\(s\\) lie in it without a label; .*one per species"),
        (["{tmp}/corrupt", "--skip-bad"], "label 'robin': none of its 1 file\\(s\\) can be read"),
        (["{data}", "--annotations", "{tmp}/hollow"], "hollow: no label file in this folder"),
        (["{data}", "--annotations", "{tmp}/notes"], "notes: no annotation of audio in the set .1 file.*CONFIG"),
        (["--csv", "{tmp}/one"], "one: no such file"),
    ],
)
def test_mistakes_are_named(folder, tmp_path, capsys, arguments, message):
    import re
    import shutil

    (tmp_path / "bad.csv").write_text("file\nx.wav\n")
    (tmp_path / "gone.csv").write_text("file,label\nx.wav,robin\n")
    (tmp_path / "one" / "robin").mkdir(parents=True)
    shutil.copy(folder / "robin" / "robin0.wav", tmp_path / "one" / "robin")
    (tmp_path / "corrupt" / "robin").mkdir(parents=True)
    (tmp_path / "corrupt" / "robin" / "x.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "hollow" / "robin").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "CONFIG.TXT").write_text("Device ID : 24A04F085FDF2701\n")
    arguments = [text.format(tmp=tmp_path, data=folder) for text in arguments]
    assert split(*arguments, "-o", tmp_path / "out.csv") == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert not (tmp_path / "out.csv").exists()


def test_all_files_that_cannot_be_read_are_named_at_once(folder, tmp_path, capsys, caplog):
    (folder / "robin" / "bad.wav").write_bytes(b"RIFFnothing")
    (folder / "robin" / "page.mp3").write_bytes(b"<html>not found</html>")
    (folder / "robin" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (folder / "robin" / "night.wac").write_bytes(b"x")
    assert split(folder, "-o", tmp_path / "out.csv") == 2
    error = capsys.readouterr().err
    assert "bad.wav" in error and "page.mp3" in error and "2 file(s) cannot be read" in error
    assert "1 file(s) or folder(s) left out that cannot be opened" in caplog.text and "gone.wav" in caplog.text
    assert "1 .wac (make WAV of it with Kaleidoscope)" in caplog.text
    assert split(folder, "-o", tmp_path / "out.csv", "--skip-bad") == 0


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("XC120371_0065.flac", "XC120371"),
        ("3-118059-A-0.wav", "118059"),
        ("184623-8-0-14.wav", "184623"),  # UrbanSound8K: slices of one sound
        ("2026-5-27-14.wav", "2026-5-27-14"),  # a date
        ("20260527-1-06-30.wav", "20260527-1-06-30"),  # a date, site, hour and minute
        ("wren_03.wav", "wren_03"),
    ],
)
def test_a_file_name_says_which_recording_it_was_cut_from(name, recording):
    assert recording_of(Path(name)) == recording


def test_files_that_metadata_does_not_name_are_left_out_and_said(tmp_path, caplog):
    for name in ("robin/a.wav", "robin/b.wav", "background/c.wav", "originals/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(RATE), RATE)
    (tmp_path / "metadata.csv").write_text("file,label\nrobin/a.wav,robin\n")
    assert [item.path.name for item in recordings_in_folder(tmp_path)] == ["a.wav"]
    assert "2 audio file(s)" in caplog.text and "(background 1, robin 1): add them to it" in caplog.text
    caplog.clear()
    (tmp_path / "metadata.csv").write_text(
        "file,label\nrobin/a.wav,robin\nrobin/b.wav,wren\nbackground/c.wav,background\n"
    )
    assert len(recordings_in_folder(tmp_path)) == 3 and "left out" not in caplog.text
    # named, and of a label that is not asked for
    assert len(recordings_in_folder(tmp_path, ["robin"])) == 1 and "left out" not in caplog.text
    with pytest.raises(CheepError, match=r"label 'dunnock': not in .*metadata\.csv"):
        recordings_in_folder(tmp_path, ["dunnock"])
