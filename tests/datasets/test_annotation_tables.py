# SPDX-License-Identifier: MIT
"""Tables as people have them: every program's, any separator and encoding, and what split makes of them."""

import math
import unicodedata

import pytest

from cheep import cli
from cheep.config.data import WindowConfig, means_background
from cheep.datasets import load_manifest
from cheep.datasets.labels.boxes import NOTHING, Box, NoAnnotationsError
from cheep.datasets.labels.files import read_annotations
from cheep.datasets.labels.matching import boxes_for
from cheep.datasets.sources.recording import Recording, settled_labels
from cheep.datasets.split import balance
from cheep.datasets.windows import choose_windows
from cheep.errors import CheepError
from recorder_files import calls, data_set, moth, put, wav

HEAD = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"


def raven(rows, columns="Species"):
    """A Raven selection table of ``(begin, end, low, high, *rest)``."""
    lines = [f"{i + 1}\tSpectrogram 1\t1\t" + "\t".join(map(str, row)) for i, row in enumerate(rows)]
    return "\n".join([HEAD + columns, *lines]) + "\n"


def split(*arguments):
    arguments = [*arguments, "--window", "1", "--hop", "0.5"]  # whatever the recordings speak for
    return cli.main("split-dataset", [str(argument) for argument in arguments])


def examples(path, label):
    """``{(file stem, start)}`` of the examples of a label."""
    part = load_manifest(path).where("label", label)
    return {
        (name.rsplit("/", 1)[-1].split(".")[0], start)
        for name, start in zip(part.column("path"), part.start_s, strict=True)
    }


def test_a_column_per_species_zero_is_a_negative(tmp_path):
    folder = data_set(tmp_path / "set")
    text = "file,start_time,end_time,robin\n"
    text += "".join(f"robin{i}.wav,{k}.0,{k + 1}.0,{int(k in (1, 4))}\n" for i in range(4) for k in range(6))
    table = put(tmp_path / "labels.csv", text)
    assert read_annotations(table)["robin0.wav"][:2] == [Box(0, 1, nothing=True), Box(1, 2, "robin")]
    out = tmp_path / "m.csv"
    assert split(folder, "--annotations", table, "-o", out, "--group-by", "recording") == 0
    assert examples(out, "robin") == {(f"robin{i}", at) for i in range(4) for at in (0.5, 1, 1.5, 3.5, 4, 4.5)}
    negatives = load_manifest(out).where("reason", "annotated: nothing there")
    assert set(negatives.column("label")) == {"background"} and set(negatives.start_s) == {0, 2, 2.5, 3, 5}


def test_columns_per_species_of_other_programs(tmp_path):
    text = "Audiofilename,Starttime,Endtime,A,B\nx.wav,1,2,POS,NEG\nx.wav,3,4,UNK,NEG\nx.wav,5,6,NEG,NEG\n"
    found = read_annotations(put(tmp_path / "a.csv", text))
    assert found == {"x.wav": [Box(1, 2, "A"), Box(5, 6, nothing=True)]}
    clips = read_annotations(
        put(tmp_path / "b.csv", "file,robin,wren,fold\na.wav,1,1,1\nb.wav,0,0,2\nc.wav,False,True,1\n")
    )
    assert clips == {
        "a.wav": [Box(0, math.inf, "robin"), Box(0, math.inf, "wren")], "b.wav": [NOTHING],
        "c.wav": [Box(0, math.inf, "wren")],
    }  # fmt: skip
    scores = read_annotations(
        put(tmp_path / "c.csv", "file,start_time,end_time,robin\na.wav,0,3,0.25\na.wav,3,6,0.75\n")
    )
    assert [box.score for box in scores["a.wav"]] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("name", "text"),
    [("robin0.Table.1.selections.txt", raven([])), ("robin0.txt", ""), ("robin0.csv", "start_s,end_s,label\n")],
)
def test_an_empty_table_is_a_negative(tmp_path, name, text, caplog):
    folder = data_set(tmp_path / "set")
    put(tmp_path / "notes" / name, text)
    for i in range(1, 4):
        put(tmp_path / "notes" / f"robin{i}.Table.1.selections.txt", raven([(1.0, 1.3, 2000, 3000, "robin")]))
    out = tmp_path / "m.csv"
    assert split(folder, "--annotations", tmp_path / "notes", "-o", out, "--group-by", "recording") == 0
    assert "1 recording(s) in which nothing was found: negatives" in caplog.text
    assert "left out whole" not in caplog.text
    assert "'robin': 1 recording(s) have no window of it, only some of other labels" in caplog.text
    assert {name for name, _ in examples(out, "robin")} == {"robin1", "robin2", "robin3"}
    assert len([name for name, _ in examples(out, "background") if name == "robin0"]) == 11


def test_an_empty_table_of_a_model_says_less(tmp_path):
    table = put(tmp_path / "a.txt", HEAD + "Common Name\tConfidence\n")
    assert boxes_for([table], [tmp_path / "a.wav"]) == {tmp_path / "a.wav": []}
    # annotated, no box and no negative: nothing is an example, except of background
    assert {w.reason for w in choose_windows(None, "robin", WindowConfig(), 0, 3, boxes=[])} == {"not annotated"}
    assert {w.label for w in choose_windows(None, "background", WindowConfig(), 0, 3, boxes=[])} == {"background"}


def test_a_models_nocall_is_no_mark(tmp_path):
    rows = [(0, 3, 0, 15000, "nocall", "nocall", "1.0")]
    table = put(tmp_path / "a.txt", raven(rows, "Common Name\tSpecies Code\tConfidence"))
    assert boxes_for([table], [tmp_path / "a.wav"]) == {tmp_path / "a.wav": []}


def test_a_negative_without_a_class_for_it_is_left_out(tmp_path):
    folder = data_set(tmp_path / "set", labels=("robin", "wren"))
    table = put(tmp_path / "robin0.txt", "")
    out = tmp_path / "m.csv"
    assert split(folder, "--annotations", table, "-o", out, "--group-by", "recording") == 0
    assert load_manifest(out).labels == ["robin", "wren"]
    left = load_manifest(tmp_path / "m.left_out.csv").where("recording", "robin0")
    assert set(left.column("reason")) == {"annotated: nothing there (too few without a background label)"}


DEVICES = [f"24F3190261F38D1{i}" for i in range(4)]


@pytest.mark.parametrize("tables", ["beside", "apart"])
def test_recorders_with_equal_file_names(tmp_path, tables):
    """Several AudioMoths on one schedule: a table belongs to the recording of its folder; the device is the site."""
    for site, at in enumerate((1.0, 4.0, 2.0, 3.0)):
        for day in (1, 2, 3):
            place = tmp_path / "set" / "robin" / DEVICES[site]
            pcm = calls(6, (at,), seed=9 * site + day)
            put(place / f"2024060{day}_050000.WAV", moth(pcm, DEVICES[site], day))
            notes = place if tables == "beside" else tmp_path / "notes" / DEVICES[site]
            text = raven([(at, at + 0.3, 2000, 3000, "robin")])
            put(notes / f"2024060{day}_050000.Table.1.selections.txt", text)
            noise = tmp_path / "set" / "background" / DEVICES[site] / f"2024060{day}_120000.WAV"
            put(noise, moth(calls(6, (), seed=300 + 9 * site + day), DEVICES[site], day))
    notes = tmp_path / ("set" if tables == "beside" else "notes")
    out = tmp_path / "m.csv"
    assert split(tmp_path / "set", "--annotations", notes, "--group-by", "site", "-o", out) == 0
    manifest = load_manifest(out)
    assert set(manifest.column("group")) == {name.lower() for name in DEVICES}
    for site, at in enumerate((1.0, 4.0, 2.0, 3.0)):
        part = manifest.where("group", DEVICES[site].lower()).where("label", "robin")
        assert set(part.start_s) == {at - 0.5, at}, site
    assert len(set(manifest.column("recording"))) == 24


def test_a_name_that_may_be_two_recordings_is_refused(tmp_path):
    audio = [tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav"]
    table = put(tmp_path / "notes" / "x.txt", "1\t2\trobin\n")
    with pytest.raises(CheepError, match=r"'x' may be .*a/x.wav or .*b/x.wav: put the table beside"):
        boxes_for([table], audio)


def test_boxes_of_another_recorders_file_are_not_taken(tmp_path, caplog):
    """A combined table names files of two sites; the set has one of them."""
    audio = [tmp_path / "set" / "B2" / "20240601_050000.WAV"]
    rows = ["/card/A1/20240601_050000.WAV,1,2,robin", "/card/B2/20240601_050000.WAV,3,4,robin"]
    table = put(tmp_path / "all.csv", "file,start_s,end_s,label\n" + "\n".join(rows) + "\n")
    assert boxes_for([table], audio) == {audio[0]: [Box(3, 4, "robin")]}
    assert "1 recording(s) named that are not in the set (e.g. '/card/A1/" in caplog.text
    with pytest.raises(CheepError, match="may both be"):
        boxes_for([table], [tmp_path / "set" / "20240601_050000.WAV"])
    plain = put(tmp_path / "plain.csv", "file,start_s,end_s,label\n/data/20240601_050000.WAV,1,2,robin\n")
    assert len(boxes_for([plain], audio)[audio[0]]) == 1  # one folder of another computer: taken at its word


P = "/data/card7/erithacus_rubecula"
BIRDNET = {
    "BirdNET_SelectionTable.txt": "Selection\tBegin Time (s)\tEnd Time (s)\tCommon Name\tScientific Name\t"
    "Species Code\tConfidence\tView\tChannel\tFile Offset (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin Path\n"
    + "".join(
        f"{i + 1}\t{6 * i}.0\t{6 * i + 3}.0\tEuropean Robin\tErithacus rubecula\teurrob1\t0.91\tSpectrogram 1\t1\t0.0\t"
        f"0\t4000\t{P}/erithacus_rubecula{i}.wav\n"
        for i in range(4)
    ),
    "BirdNET_CombinedTable.csv": "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    + "".join(f"0.0,3.0,Erithacus rubecula,European Robin,0.91,{P}/erithacus_rubecula{i}.wav\n" for i in range(4)),
    "BirdNET_RTable.csv": "filepath,start,end,scientific_name,common_name,confidence,lat,lon,week,overlap,sensitivity\n"
    + "".join(
        f"{P}/erithacus_rubecula{i}.wav,0.0,3.0,Erithacus rubecula,European Robin,0.91,-1,-1,-1,0.0,1.0\n"
        for i in range(4)
    ),
    "BirdNET_Kaleidoscope.csv": "INDIR,FOLDER,IN FILE,OFFSET,DURATION,scientific_name,common_name,confidence\n"
    + "".join(
        f"/data/card7,erithacus_rubecula,erithacus_rubecula{i}.wav,0.0,3.0,Erithacus rubecula,European Robin,0.91\n"
        for i in range(4)
    ),
    "package.csv": "input,start_time,end_time,species_name,confidence\n"
    + "".join(
        f'"{P}/erithacus_rubecula{i}.flac","00:00:00.00","00:00:03.00","Erithacus rubecula_European Robin",0.91\n'
        for i in range(4)
    ),
    **{
        f"audacity/erithacus_rubecula{i}.BirdNET.results.txt": "0.0\t3.0\tErithacus rubecula_European Robin\t0.91\n"
        for i in range(4)
    },
    **{
        f"single/erithacus_rubecula{i}.BirdNET.results.csv": "Start (s),End (s),Scientific name,Common name,"
        "Confidence\n0.0,3.0,Erithacus rubecula,European Robin,0.91\n3.0,6.0,Parus major,Great Tit,0.11\n"
        for i in range(4)
    },
}


@pytest.mark.parametrize("name", sorted({name.split("/")[0] for name in BIRDNET}))
def test_birdnet_tables_in_every_form(tmp_path, name, capsys):
    folder = data_set(tmp_path / "set", labels=("erithacus_rubecula", "background"))
    for file, text in BIRDNET.items():
        put(tmp_path / file, text)
    out = tmp_path / "m.csv"
    common = [folder, "--annotations", tmp_path / name, "-o", out, "--group-by", "recording"]
    assert split(*common) == 2
    error = capsys.readouterr().err
    assert "carry a model's confidence" in error and "4 at 0.9-1.0" in error and "--min-confidence" in error
    assert split(*common, "--min-confidence", "0.5") == 0
    expected = {(f"erithacus_rubecula{i}", at / 2) for i in range(4) for at in range(6)}
    assert examples(out, "erithacus_rubecula") == expected
    assert split(*common, "--min-confidence", "0.95") == 2  # nothing is left of the species, and that is said
    assert "every window was left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "name"), [("erithacus_rubecula", "European Robin"), ("Rotkehlchen", "Erithacus rubecula")]
)
def test_a_bird_is_known_by_its_other_names(tmp_path, label, name, caplog):
    """Kaleidoscope tables give one name only: a list of common birds knows the others."""
    folder = data_set(tmp_path / "set", labels=(label, "background"))
    text = "INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,confidence\n"
    text += "".join(f"/data,{label},{label}{i}.wav,0.0,3.0,{name},0.91\n" for i in range(4))
    table = put(tmp_path / "BirdNET_Kaleidoscope.csv", text)
    common = [
        folder,
        "--annotations",
        table,
        "--min-confidence",
        "0.5",
        "-o",
        tmp_path / "m.csv",
        "--group-by",
        "recording",
    ]
    assert split(*common) == 0
    assert len(examples(tmp_path / "m.csv", label)) == 24
    assert f"by Cheep's list of birds: {name} = {label}" in caplog.text


def test_a_name_without_its_scientific_one_is_joined_by_hand(tmp_path, caplog):
    folder = data_set(tmp_path / "set", labels=("erithacus_rubecula", "background"))
    text = "INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,confidence\n"
    text += "".join(f"D:\\\\card,x,erithacus_rubecula{i}.wav,0.0,3.0,Roodborst,0.91\n" for i in range(4))
    table = put(tmp_path / "k.csv", text)
    common = [
        folder,
        "--annotations",
        table,
        "--min-confidence",
        "0.5",
        "-o",
        tmp_path / "m.csv",
        "--group-by",
        "recording",
    ]
    assert split(*common) == 2
    assert "annotations name 1 label(s) that no recording has; their windows are left out: Roodborst 4" in caplog.text
    assert split(*common, "--rename", "roodborst=erithacus_rubecula") == 0
    assert len(examples(tmp_path / "m.csv", "erithacus_rubecula")) == 24


def test_the_highest_score_wins_a_window():
    boxes = [
        Box(0, 3, "wren", score=0.6),
        Box(0, 3, "robin", score=0.9),
        Box(3, 6, "wren", score=0.7),
        Box(3.4, 6, "robin"),
    ]
    fate = {w.start_s: w.label for w in choose_windows(None, "", WindowConfig(), 0, 6, boxes=boxes)}
    assert fate[0] == fate[2] == "robin" and fate[3] == "robin"  # a person's word before a model's
    assert choose_windows(None, "", WindowConfig(), 0, 3, boxes=boxes, others=frozenset({"robin"}))[0].label == ""


def test_kaleidoscope_by_hand_before_by_machine(tmp_path):
    text = "INDIR,FOLDER,IN FILE,OFFSET,DURATION,AUTO ID*,MATCH RATIO,MANUAL ID\nd,,a.wav,1,0.5,EPTSER,0.8,\n"
    found = read_annotations(
        put(tmp_path / "id.csv", text + "d,,a.wav,2,0.5,EPTSER,0.8,NYCNOC\nd,,a.wav,3,1,Noise,,Noise\n")
    )
    assert found == {"d/a.wav": [Box(1, 1.5, "EPTSER", score=0.8), Box(2, 2.5, "NYCNOC"), Box(3, 4, nothing=True)]}


def test_an_events_csv_given_back_is_what_it_is(tmp_path, capsys):
    """Events of ``cheep test`` are stretches with scores, as annotations and as a list of recordings."""
    folder = data_set(tmp_path / "set")
    rows = [f"{folder}/robin/robin{i}.wav,{at}.000,{at + 1}.000,robin,0.{9 - i}100" for i in range(4) for at in (1, 4)]
    events = put(tmp_path / "events.csv", "file,start_s,end_s,label,score\n" + "\n".join(rows) + "\n")
    out = tmp_path / "m.csv"
    common = [folder, "--annotations", events, "-o", out, "--group-by", "recording"]
    assert split(*common) == 2 and "2 at 0.6-0.7, 2 at 0.7-0.8" in capsys.readouterr().err
    assert split(*common, "--min-confidence", "0.65") == 0
    assert {name for name, _ in examples(out, "robin")} == {"robin0", "robin1", "robin2"}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "windows-1252"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_any_separator_and_encoding(tmp_path, encoding, separator):
    comma = "," if separator != "," else "."
    rows = [
        ("file", "start_s", "end_s", "label"),
        ("Grün.wav", f"1{comma}5", "2", "Zaunkönig"),
        ("Grün.wav", "0:03", "4", "x"),
    ]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    table = put(tmp_path / "a.csv", text.encode(encoding))
    assert read_annotations(table) == {"Grün.wav": [Box(1.5, 2, "Zaunkönig"), Box(3, 4, "x")]}
    excel = put(tmp_path / "b.csv", f"sep={separator}\r\n{text}".encode(encoding))
    assert read_annotations(excel) == read_annotations(table)


def test_rows_that_end_early_and_rows_that_are_too_long(tmp_path):
    table = put(tmp_path / "a.txt", raven([(1.0, 1.3, 2000, 3000, "robin")], "Species\tdistance\ttype"))
    assert read_annotations(table) == {"": [Box(1, 1.3, "robin", 2000, 3000)]}
    with pytest.raises(CheepError, match=r"b.csv:2: 5 fields, the header has 3 \(decimal commas"):
        read_annotations(put(tmp_path / "b.csv", "start_s,end_s,label\n1,5,2,5,robin\n"))


def test_boxes_behind_the_end_are_reported(tmp_path, caplog, capsys):
    folder = data_set(tmp_path / "set")
    rows = [(6 * i + 1.0, 6 * i + 1.3, 2000, 3000, f"robin{i}.wav", "robin") for i in range(4)]
    table = put(tmp_path / "all.txt", raven(rows, "Begin File\tSpecies"))
    common = [folder, "-o", tmp_path / "m.csv", "--group-by", "recording", "--annotations"]
    assert split(*common, table) == 2
    error = capsys.readouterr().err
    assert "3 annotation(s) of 3 recording(s) begin behind the end" in error and "File Offset (s)" in error
    rows = [(1.0, 1.3, 2000, 3000, f"robin{i}.wav", "robin") for i in range(4)] + [
        (5.9, 9, 0, 1, "robin0.wav", "robin")
    ]
    rows.append((7.0, 9.0, 0, 1, "robin1.wav", "robin"))
    assert split(*common, put(tmp_path / "some.txt", raven(rows, "Begin File\tSpecies"))) == 0
    assert "1 annotation(s) of 1 recording(s) begin behind the end" in caplog.text


def test_settings_and_summaries_among_tables_are_passed_over(tmp_path, caplog):
    folder = data_set(tmp_path / "set")
    notes = tmp_path / "notes"
    for i in range(4):
        put(notes / f"robin{i}.Table.1.selections.txt", raven([(1.0, 1.3, 2000, 3000, "robin")]))
    settings = put(notes / "CONFIG.TXT", "Device ID                       : 24F3190261F38D1F\n\nTime zone : UTC+1\n")
    put(notes / "BirdNET_analysis_params.csv", "File splitting duration,Segment length,Sample rate\n600,3.0,48000\n")
    put(notes / "SUMMARY.CSV", "File Name,Time,Battery (V)\nx.WAV,01:00:00,4.1\n")
    put(notes / "._robin0.Table.1.selections.txt", b"\0\5\x16\7")
    put(notes / "recordings.json", "{}")
    out = tmp_path / "m.csv"
    assert split(folder, "--annotations", notes, "-o", out, "--group-by", "recording") == 0
    assert "1 hidden file(s) passed over" in caplog.text
    assert "4 file(s) passed over: no annotations in them" in caplog.text
    assert len(examples(out, "robin")) == 8
    with pytest.raises(NoAnnotationsError, match=r"CONFIG.TXT:1: no columns for start and end"):
        read_annotations(settings)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_macos_and_of_others(tmp_path, form):
    for i in range(2):
        put(
            tmp_path / "set" / unicodedata.normalize("NFD", "grünspecht") / f"gr\u0075\u0308n{i}.wav",
            wav(calls(3, (1,), seed=i)),
        )
        put(tmp_path / "set" / "noise " / f"n{i}.wav", wav(calls(3, (), seed=7 + i)))
    rows = "".join(
        f"{unicodedata.normalize(form, f'grün{i}.wav')},1,1.3,{unicodedata.normalize(form, 'Grünspecht')}\n"
        for i in range(2)
    )
    table = put(tmp_path / "a.csv", "file,start_s,end_s,label\n" + rows)
    out = tmp_path / "m.csv"
    assert split(tmp_path / "set", "--annotations", table, "-o", out, "--val", 0) == 0
    manifest = load_manifest(out)
    assert manifest.labels == ["background", unicodedata.normalize("NFC", "grünspecht")]
    assert set(manifest.where("reason", "annotated").start_s) == {0.5, 1.0}


def test_noise_without_a_site_is_grouped_by_recording(tmp_path, caplog):
    for site in range(4):
        for day in (1, 2):
            put(
                tmp_path / "set" / "robin" / f"{site}{day}.WAV",
                moth(calls(6, (1.0,), seed=9 * site + day), DEVICES[site], day),
            )
    for i in range(6):
        put(tmp_path / "set" / "background" / f"{1 + i}-{1000 + i}-A-10.wav", wav(calls(6, (), seed=100 + i)))
    out = tmp_path / "m.csv"
    assert split(tmp_path / "set", "--group-by", "site", "-o", out) == 0
    assert "6 of 14 recordings have no site: each of them is a group of its own" in caplog.text
    assert len(set(load_manifest(out).column("group"))) == 4 + 6


BACKGROUND = [
    "Background",
    "noise",
    "Noise",
    "silence",
    "no_bird",
    "other",
    "Negatives",
    "No call",
    "Hintergrund",
    "noise ",
]


@pytest.mark.parametrize("name", BACKGROUND)
def test_background_under_another_name(tmp_path, name, caplog):
    folder = data_set(tmp_path / "set", labels=("robin",))
    for i in range(3):
        put(folder / name / f"n{i}.wav", wav(calls(3, (), seed=40 + i)))
    out = tmp_path / "m.csv"
    assert split(folder, "-o", out) == 0
    assert load_manifest(out).labels == ["background", "robin"]
    assert f"label {name.strip()!r} means that no target species is there: it is taken as 'background'" in caplog.text


def test_one_rule_for_labels_in_all_stages(caplog):
    from cheep.config import TrainConfig
    from cheep.datasets import Manifest
    from cheep.training.data import LabelPlan

    assert all(map(means_background, BACKGROUND)) and not any(
        map(means_background, ("robin", "unknown", "?", "noisy_miner"))
    )
    rows = [{"path": "a.wav", "label": label, "start_s": 0, "duration_s": 1} for label in ("robin", "Noise")]
    assert LabelPlan.of(Manifest.from_rows(rows), TrainConfig()) == LabelPlan(("robin",), "sigmoid", "Noise")
    with pytest.raises(CheepError, match="labels Noise, silence: all of them mean"):
        LabelPlan.of(Manifest.from_rows([*rows, {**rows[0], "label": "silence"}]), TrainConfig())
    recordings = [Recording("a.wav", label, "a") for label in ("Robin", "robin")]
    assert [item.label for item in settled_labels(recordings, WindowConfig())] == ["Robin", "robin"]
    assert "labels 'Robin' and 'robin' differ in spelling only" in caplog.text
    with pytest.raises(CheepError, match=r"label 'a,b;c=d': must not be empty or hold ';'"):
        settled_labels([Recording("a.wav", "a,b;c=d", "a")], WindowConfig())


def test_zeros_of_expanded_recordings_are_no_audio(tmp_path, caplog):
    """Between two triggers nobody listened: no floor, no gap, no background, no hours."""
    import numpy as np

    for i in range(4):
        pcm = np.concatenate([calls(6, (2.0,), seed=i), np.zeros(160000, "<i2"), calls(6, (1.0,), seed=50 + i)])
        put(tmp_path / "set" / "robin" / f"r{i}.wav", moth(pcm, day=i + 1))
        put(
            tmp_path / "set" / "background" / f"n{i}.wav",
            wav(np.concatenate([calls(6, (), seed=90 + i), np.zeros(80000)])),
        )
    out = tmp_path / "m.csv"
    assert split(tmp_path / "set", "-o", out, "--group-by", "recording", "--gaps") == 0
    manifest = load_manifest(out)
    assert examples(out, "robin") == {(f"r{i}", at) for i in range(4) for at in (1.5, 2.0, 26.5, 27.0)}
    for label, end in (("quiet gap", 5.0), ("background", 5.5)):
        starts = manifest.where("reason", label).start_s
        assert len(starts) and all(start <= end or start >= 26 for start in starts), label
    assert "8 file(s) hold exact zeros (120.0 s in sum" in caplog.text


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Training_Set", "Validation_Set"), {"train": 8, "val": 6}),
        (("train", "val", "test"), {"train": 8, "val": 6, "test": 6}),
        (("TRAIN", "Testing"), {"train": 6, "val": 2, "test": 6}),
    ],
)
def test_a_set_that_is_split_already_is_used_so(tmp_path, names, splits, caplog):
    for part, name in enumerate(names):
        for i in range(3 if part else 4):
            put(tmp_path / "set" / name / "Yellowhammer" / f"YH_{i}.wav", wav(calls(3, (1.0,), seed=10 * part + i)))
            put(
                tmp_path / "set" / name / "Negatives" / f"Background_{i}.wav",
                wav(calls(3, (), seed=100 + 10 * part + i)),
            )
    out = tmp_path / "m.csv"
    assert split(tmp_path / "set", "-o", out) == 0
    manifest = load_manifest(out)
    assert manifest.labels == ["Yellowhammer", "background"]
    assert "split already, and used so: " in caplog.text
    assert ("there is no test set" in caplog.text) == ("test" not in splits)
    found = {name: len(manifest.of_split(name).where("label", "Yellowhammer")) for name in splits}
    assert found == splits
    for path, name in zip(manifest.column("path"), manifest.column("split"), strict=True):
        part = path.split("/")[-3]
        assert (
            {"t": "train", "v": "val"}.get(part[0].lower(), "") == name
            or part.lower().startswith("test")
            or name == "val"
        )


def test_a_split_set_with_the_same_recording_on_two_sides_is_a_leak(tmp_path, capsys):
    for name in ("train", "test"):
        for i in range(2):
            put(tmp_path / name / "robin" / f"{name}{i}.wav", wav(calls(3, (1.0,), seed=i)))  # the same bytes
            put(tmp_path / name / "noise" / f"{name}{i}.wav", wav(calls(3, (), seed=50 + i + len(name))))
    assert split(tmp_path, "-o", tmp_path / "m.csv") == 1
    assert "leak: sha256" in capsys.readouterr().err
    put(tmp_path / "val" / "x.wav", wav(calls(3, ())))
    assert split(tmp_path, "-o", tmp_path / "m.csv") == 2
    assert "val holds no label folders" in capsys.readouterr().err


def test_recordists_are_counted_where_they_are_known(tmp_path):
    assert split(data_set(tmp_path / "set"), "-o", tmp_path / "m.csv") == 0
    assert {line["recordists"] for line in balance(load_manifest(tmp_path / "m.csv"))} == {0}


def test_a_list_of_stretches_gives_stretches(tmp_path, caplog, capsys):
    """Files several times with start and end: marked stretches, not each file as often as it has rows."""
    folder = data_set(tmp_path / "set")
    files = [f"{label}/{label}{i}.wav;{label}" for label in ("robin", "background") for i in range(4)]
    rows = [f"{name};{at},0;{at + 1},0;P{name.split('.')[0][-1]}" for name in files for at in (1, 4)]
    table = put(folder / "list.csv", "file;label;start_s;end_s;recordist\n" + "\n".join([*rows, rows[0]]) + "\n")
    out = tmp_path / "m.csv"
    assert split("--csv", table, "-o", out) == 0
    assert examples(out, "robin") == {(f"robin{i}", at) for i in range(4) for at in (1, 4)}
    assert set(load_manifest(out).column("recordist")) == {"P0", "P1", "P2", "P3"}
    assert "1 row(s) say again what another says: counted once" in caplog.text
    # events of cheep test as a list: scores are asked about
    rows = [f"robin/robin{i}.wav,{at}.000,{at + 1}.000,robin,0.{9 - i}100" for i in range(4) for at in (1, 4)]
    rows += [f"background/background{i}.wav,1.000,2.000,noise,0.9900" for i in range(4)]
    events = put(folder / "events.csv", "file,start_s,end_s,label,score\n" + "\n".join(rows) + "\n")
    assert split("--csv", events, "-o", out) == 2
    assert "events.csv: 12 of them carry a model's confidence" in capsys.readouterr().err
    assert split("--csv", events, "-o", out, "--min-confidence", "0.65") == 0
    assert {name for name, _ in examples(out, "robin")} == {"robin0", "robin1", "robin2"}


def test_a_list_in_one_hot_form(tmp_path):
    folder = data_set(tmp_path / "set")
    text = "file,start_time,end_time,robin\n"
    text += "".join(f"robin{i}.wav,{k}.0,{k + 1}.0,{int(k in (1, 4))}\n" for i in range(4) for k in range(6))
    table = put(tmp_path / "labels.csv", text)
    for more in ([], ["--columns", "label=robin"]):
        out = tmp_path / "m.csv"
        assert split("--csv", table, "--audio-root", folder / "robin", "-o", out, *more) == 0
        assert examples(out, "robin") == {(f"robin{i}", at) for i in range(4) for at in (1, 4)}
        assert len(examples(out, "background")) == 16


def test_a_list_written_elsewhere_finds_its_files(tmp_path):
    folder = data_set(tmp_path / "set")
    (folder / "robin" / "robin0.wav").rename(folder / "robin" / unicodedata.normalize("NFD", "Rötel.wav"))
    names = ["robin\\Rötel.wav", "D:\\data\\robin\\robin1.WAV", "/home/x/robin/robin2.wav", "Robin/robin3.wav"]
    names += [f"background/background{i}.wav" for i in range(4)]
    rows = "".join(f"{name};{'robin' if 'ob' in name else 'background'}\r\n" for name in names)
    table = put(folder / "list.csv", ("file;label\r\n" + rows).encode("windows-1252"))
    assert split("--csv", table, "-o", tmp_path / "m.csv") == 0
    assert len({name for name, _ in examples(tmp_path / "m.csv", "robin")}) == 4
    lost = put(folder / "lost.csv", "file;label\r\nrobin9.wav;robin\r\n")
    assert split("--csv", lost, "-o", tmp_path / "m.csv") == 2
