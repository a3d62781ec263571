# SPDX-License-Identifier: MIT
"""Annotations in the forms of the programs that people draw them with, and what is wrong in such files."""

import collections
import io
import math
import zipfile

import pytest

from cheep import cli
from cheep.datasets import load_manifest
from cheep.datasets.bird_names import species_of
from cheep.datasets.labels.boxes import NOTHING, UNKNOWN, Box, NoAnnotationsError
from cheep.datasets.labels.files import read_annotations
from cheep.datasets.labels.matching import boxes_for
from cheep.errors import CheepError
from recorder_files import data_set, put

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 6.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "Turdus merula"
        xmin = 0
        xmax = 6.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 1.25
            text = ""
        intervals [2]:
            xmin = 1.25
            xmax = 2.5
            text = "song ""A"" 7 "
        intervals [3]:
            xmin = 2.5
            xmax = 6.5
            text = ""
    item [2]:
        class = "TextTier"
        name = "notes"
        xmin = 0
        xmax = 6.5
        points: size = 1
        points [1]:
            number = 3.5
            mark = "click"
"""
SHORT = """File type = "ooTextFile"
"TextGrid"

0
6.5
<exists>
2
"IntervalTier"
"Turdus merula"
0
6.5
3
0
1.25
""
1.25
2.5
"song ""A"" 7 "
2.5
6.5
""
"TextTier"
"notes"
0
6.5
1
3.5
"click"
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
def test_praat_in_both_forms(tmp_path, text, encoding):
    notes = collections.Counter()
    found = read_annotations(put(tmp_path / "a.TextGrid", text.encode(encoding)), notes)
    assert found == {"": [Box(1.25, 2.5, 'song "A" 7', names=("Turdus merula",))]}
    assert dict(notes) == {"point(s) and box(es) without length passed over: they mark no stretch": 1}


def test_praat_with_nothing_in_it_and_cut_off(tmp_path):
    empty = LONG.replace("tiers? <exists>", "tiers? <absent>")
    assert read_annotations(put(tmp_path / "a.TextGrid", empty)) == {"": [NOTHING]}
    with pytest.raises(CheepError, match=r"b.TextGrid:1[0-9]: ends early"):
        read_annotations(put(tmp_path / "b.TextGrid", SHORT[:120]))
    with pytest.raises(CheepError, match=r'c.TextGrid:22: "1.25": must be a number|c.TextGrid:\d+: time=\'"x"\''):
        read_annotations(put(tmp_path / "c.TextGrid", SHORT.replace("1.25\n2.5", '"x"\n2.5')))


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-06-01T10:00:00+01:00" FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Data/night one.wav"
 MIME_TYPE="audio/x-wav" RELATIVE_MEDIA_URL="./night one.wav"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1500"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="2750"/>
<TIME_SLOT TIME_SLOT_ID="ts3"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="birds">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>Erithacus rubecula</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE>untimed</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="sub" PARENT_REF="birds" TIER_ID="kind"><ANNOTATION>
<REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1"><ANNOTATION_VALUE>call</ANNOTATION_VALUE></REF_ANNOTATION>
</ANNOTATION></TIER></ANNOTATION_DOCUMENT>
"""


def test_elan(tmp_path):
    notes = collections.Counter()
    found = read_annotations(put(tmp_path / "x.eaf", EAF), notes)
    assert found == {
        "night one.wav": [
            Box(1.5, 2.75, "Erithacus rubecula", names=("birds",)),
            Box(1.5, 2.75, "call", names=("kind",)),
        ]
    }
    assert dict(notes) == {"annotation(s) without a time of their own passed over": 1}
    with pytest.raises(CheepError, match=r"y.eaf:1: not XML"):
        read_annotations(put(tmp_path / "y.eaf", EAF[:300].replace("\n", "")))
    bomb = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><ANNOTATION_DOCUMENT/>'
    with pytest.raises(CheepError, match="entities"):
        read_annotations(put(tmp_path / "z.eaf", bomb))


def test_elans_tables_count_in_any_unit(tmp_path):
    head = "Tier\tBegin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tAnnotation\tFile Name\n"
    text = head + "birds\t00:00:01.500\t00:00:02.750\trobin\tx.eaf\n"
    assert read_annotations(put(tmp_path / "a.txt", text)) == {"x.eaf": [Box(1.5, 2.75, "robin")]}
    text = "Begin Time - msec\tDuration - msec\tEnd Time - msec\tAnnotation\n1500\t1250\t2750\trobin\n"
    assert read_annotations(put(tmp_path / "b.txt", text)) == {"": [Box(1.5, 2.75, "robin")]}
    text = "Begin Time - ss.msec\tEnd Time - ss.msec\tAnnotation\n1.5\t2.75\trobin\n"
    assert read_annotations(put(tmp_path / "c.txt", text)) == {"": [Box(1.5, 2.75, "robin")]}


def test_sonic_visualiser(tmp_path):
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE sonic-visualiser>\n<sv>\n  <data>\n'
        '    <model id="3" name="Boxes" sampleRate="48000" start="48000" end="96000" type="sparse" dimensions="2" '
        'resolution="1" subtype="box" dataset="2"/>\n    <dataset id="2" dimensions="2">\n'
        '      <point frame="48000" value="1200" duration="24000" extent="800.5" label="robin"/>\n'
        '      <point frame="60000" label="an instant"/>\n    </dataset>\n  </data>\n</sv>\n'
    )
    notes = collections.Counter()
    assert read_annotations(put(tmp_path / "a.svl", text), notes) == {"": [Box(1, 1.5, "robin", 1200.0, 2000.5)]}
    assert sum(notes.values()) == 1
    regions = "TIME,VALUE,DURATION,LABEL\n1.0,0,0.5,robin\n"
    assert read_annotations(put(tmp_path / "b.csv", regions)) == {"": [Box(1, 1.5, "robin")]}
    with pytest.raises(NoAnnotationsError, match="no header line"):
        read_annotations(put(tmp_path / "c.csv", "1.000000000,0.5,robin\n"))


def test_avianz(tmp_path):
    text = (
        '[{"Operator": "A", "Reviewer": "B", "Duration": 60.0}, [1.5, 3, 0, 0, [{"species": "Kiwi (Little Spotted)", '
        '"certainty": 100, "filter": "M"}]], [4, 5, 1000, 5000, [{"species": "Morepork", "certainty": 50}, '
        '{"species": "Don\'t Know", "certainty": 0}]]]'
    )
    assert read_annotations(put(tmp_path / "a.wav.data", text)) == {
        "": [
            Box(1.5, 3, "Kiwi (Little Spotted)"),
            Box(4, 5, "Morepork", 1000, 5000, 0.5),
            Box(4, 5, UNKNOWN, 1000, 5000),
        ]
    }
    assert read_annotations(put(tmp_path / "b.wav.data", '[{"Operator": ""}]')) == {"": [NOTHING]}
    with pytest.raises(NoAnnotationsError):
        read_annotations(put(tmp_path / "c.data", b"\0\1\2"))
    audio = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert set(boxes_for([tmp_path], audio, 0.5)) == set(audio)


def test_arbimon_counts_from_the_minute(tmp_path):
    head = "id,recording,site,year,month,day,hour,minute,species,songtype,x1,x2,y1,y2,frequency,validated,"
    head += "url,score,site_id"
    rows = [
        "1,S_20240319_135700.WAV,S,2024,3,19,14,1,Amazona albifrons,Call,9.5,11.25,1000,9000,24000,present,u,0.21,5",
        "2,S_20240319_135700.WAV,S,2024,3,19,13,57,Amazona albifrons,Call,1.0,2.0,1000,9000,24000,not present,u,0.19,5",
        "3,S_20240319_135700.WAV,S,2024,3,19,13,58,Amazona albifrons,Call,1,2,1000,9000,24000,(not validated),u,0.6,5",
    ]
    found = read_annotations(put(tmp_path / "pm.csv", "\n".join([head, *rows]) + "\n"))
    name = "Amazona albifrons"
    assert found == {
        "S_20240319_135700.WAV": [
            Box(249.5, 251.25, name, 1000, 9000), Box(1, 2, UNKNOWN), Box(61, 62, name, 1000, 9000, 0.6),
        ]
    }  # fmt: skip


def test_raven_saved_as_csv_keeps_offsets_and_views(tmp_path):
    head = (
        "Selection,View,Channel,Begin Time (s),End Time (s),Low Freq (Hz),High Freq (Hz),Begin File,File Offset (s),Sp"
    )
    rows = ["1,Waveform 1,1,70.5,71.5,0,8000,b.wav,10.5,robin", "1,Spectrogram 1,1,70.5,71.5,0,8000,b.wav,10.5,robin"]
    rows += ["2,Spectrogram 1,2,1,1,0,8000,a.wav,1,robin", "3,Spectrogram 1,1,-0.25,1,0,8000,a.wav,-0.25,robin"]
    notes = collections.Counter()
    found = read_annotations(put(tmp_path / "a.csv", "\n".join([head, *rows]) + "\n"), notes)
    assert found == {"b.wav": [Box(10.5, 11.5, "robin", 0, 8000)], "a.wav": [Box(0, 1, "robin", 0, 8000)]}
    assert sum(notes.values()) == 1


def test_a_table_whose_species_stand_in_an_unknown_column_says_so(tmp_path, caplog):
    text = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tMy Bird\n1\tSpectrogram 1\t1\t1\t2\tcrow\n"
    put(tmp_path / "a.Table.1.selections.txt", text)
    assert boxes_for([tmp_path], [tmp_path / "a.wav"]) == {tmp_path / "a.wav": [Box(1, 2)]}
    assert "1 file(s) without a column 'label' or 'species'" in caplog.text and "My Bird" in caplog.text


def test_label_tracks_may_begin_before_the_recording(tmp_path):
    text = "-0,500000\t1,000000\trobin\n\\\t100\t200\n2.5e-05\t3\trobin\n"
    first, second = read_annotations(put(tmp_path / "a.txt", text))[""]
    assert first == Box(0, 1, "robin", 100, 200) and second == Box(2.5e-05, 3, "robin")


KALEIDOSCOPE = (
    "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,Fmin,Fmean,Fmax,DATE,TIME,HOUR,DATE-12,TIME-12,HOUR-12,TOP1MATCH,"
    "TOP1DIST,VOCALIZATIONS,MANUAL ID\n"
    "D:\\in,S1,a.wav,0,1.5,0.8,2000,2500,3000,2024-06-01,05:00:01,5,2024-05-31,17:00:01,17,song.kcs.07,0.41,1,\n"
    "D:\\in,S1,a.wav,0,4.5,0.8,2000,2500,3000,2024-06-01,05:00:04,5,2024-05-31,17:00:04,17,song.kcs.07,0.41,1,robin\n"
    "D:\\in,S1,a.wav,0,6.5,0.8,2000,2500,3000,2024-06-01,05:00:06,5,2024-05-31,17:00:06,17,song.kcs.09,0.21,1,Noise\n"
)


def test_kaleidoscopes_clusters_are_no_persons_word(tmp_path):
    notes = collections.Counter()
    (boxes,) = read_annotations(put(tmp_path / "cluster.csv", KALEIDOSCOPE), notes).values()
    assert [(box.start_s, box.label, box.nothing) for box in boxes] == [(4.5, "robin", False), (6.5, "", True)]
    assert dict(notes) == {"row(s) that only a program has named passed over (no MANUAL ID, no confidence)": 1}


@pytest.mark.parametrize(
    ("column", "values", "scores"),
    [
        ("confidence", ("0.9731254577636719", "0.1"), (0.9731254577636719, 0.1)),  # as 64-bit floats are written
        ("logit", ("0", "-30.5"), (0.5, 1 / (1 + math.exp(30)))),
        ("confidence", ("3", "1"), (None, None)),  # how sure a person was
        ("confidence", ("high", "low"), (None, None)),
        ("confidence", ("87.5", "12"), "holds 12 to 87.5: a model's confidence must lie in 0..1"),
        ("score", ("-2.1", "4.0"), "holds -2.1 to 4: a model's confidence must lie in 0..1"),
    ],
)
def test_a_models_confidence_is_known_as_one(tmp_path, column, values, scores):
    text = f"file,start_s,end_s,label,{column}\na.wav,0,1,x,{values[0]}\na.wav,1,2,x,{values[1]}\n"
    path = put(tmp_path / "a.csv", text)
    if isinstance(scores, str):
        with pytest.raises(CheepError, match=scores):
            read_annotations(path)
        return
    assert [box.score for box in read_annotations(path)["a.wav"]] == pytest.approx(list(scores))


@pytest.mark.parametrize(
    ("name", "species"),
    [
        ("Turdus merula merula", "turdus_merula"),
        ("Turdus merula (Linnaeus, 1758)", "turdus_merula"),
        ("Turdus merula Linnaeus, 1758", "turdus_merula"),
        ("Turdus merula", ""),
        ("Turdus sp.", ""),
        ("Turdus cf. merula", ""),
        ("Turdus spec", ""),
    ],
)
def test_the_species_of_a_subspecies(name, species):
    assert species_of(name) == species


def test_former_names_and_subspecies_belong_to_a_label(tmp_path, caplog):
    folder = data_set(tmp_path / "set", ("Cyanistes caeruleus", "background"))
    name = "Cyanistes caeruleus"
    rows = [f"{name}{i}.wav,1,1.3,{'Parus caeruleus' if i % 2 else name + ' obscurus'}\n" for i in range(4)]
    table = put(tmp_path / "a.csv", "file,start_s,end_s,label\n" + "".join(rows))
    split = [str(folder), "--annotations", str(table), "-o", str(tmp_path / "m.csv"), "--window", "1", "--hop", "0.5"]
    assert cli.main("split-dataset", split) == 0
    marked = load_manifest(tmp_path / "m.csv").where("reason", "annotated")
    assert set(marked.column("label")) == {name} and len(set(marked.column("recording"))) == 4
    assert "Cyanistes caeruleus obscurus = Cyanistes caeruleus, Parus caeruleus = Cyanistes caeruleus" in caplog.text


@pytest.mark.parametrize("label", ["?", "Unknown", "NoID", "unidentified", "UNK"])
def test_what_nobody_knows_is_no_species(tmp_path, label):
    (box,) = read_annotations(put(tmp_path / "a.csv", f"start_s,end_s,label\n0,1,{label}\n"))[""]
    assert box.label == UNKNOWN and not box.nothing


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("5,4", r"a.csv:2: start=5, end=4: must be 0 <= start < end \(seconds\): swap them"),
        ("-3,-2", r"start=-3, end=-2: .* it ends before the recording"),
        (
            "2024-06-01 05:00:12,2024-06-01 05:00:14",
            r"a.csv:2: start_s='2024-06-01 05:00:12': is a date; must be seconds",
        ),
        ("01.06.2024 05:00,7", r"is a date; must be seconds"),
        ("1;5,2", r"start_s='1;5': must be a number"),
    ],
)
def test_times_that_cannot_be_say_what_to_do(tmp_path, row, message):
    with pytest.raises(CheepError, match=message):
        read_annotations(put(tmp_path / "a.csv", f"start_s,end_s\n{row}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,timestamp_s,label\na.wav,5.0,robin\n", r"a start \(timestamp_s\) without an end or a duration"),
        ("file,species\na.wav,robin\n", "labels of whole recordings are a list: --csv"),
    ],
)
def test_a_table_that_lacks_something_says_what(tmp_path, text, message):
    with pytest.raises(NoAnnotationsError, match=message):
        read_annotations(put(tmp_path / "a.csv", text))


def workbook(*sheets):
    """An xlsx of sheets of rows; numbers are numbers, other cells text."""
    schemas = "http://schemas.openxmlformats.org"
    main, ns = f"{schemas}/spreadsheetml/2006/main", f"{schemas}/package/2006/relationships"
    rel = f"{schemas}/officeDocument/2006/relationships"

    def links(*targets):
        items = (
            f'<Relationship Id="r{i}" Type="{rel}/{kind}" Target="{t}"/>' for i, (kind, t) in enumerate(targets, 1)
        )
        return f'<Relationships xmlns="{ns}">{"".join(items)}</Relationships>'

    def cell(value):
        text = isinstance(value, str)
        return f'<c t="inlineStr"><is><t>{value}</t></is></c>' if text else f"<c><v>{value}</v></c>"

    out = io.BytesIO()
    numbers = range(1, len(sheets) + 1)
    names = "".join(f'<sheet name="S{i}" sheetId="{i}" r:id="r{i}"/>' for i in numbers)
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("_rels/.rels", links(("officeDocument", "xl/workbook.xml")))
        book.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{rel}"><sheets>{names}</sheets></workbook>'
        )
        book.writestr("xl/_rels/workbook.xml.rels", links(*(("worksheet", f"worksheets/s{i}.xml") for i in numbers)))
        for i, rows in zip(numbers, sheets, strict=True):
            data = "".join("<row>" + "".join(map(cell, row)) + "</row>" for row in rows)
            book.writestr(
                f"xl/worksheets/s{i}.xml", f'<worksheet xmlns="{main}"><sheetData>{data}</sheetData></worksheet>'
            )
    return out.getvalue()


def test_a_workbook_is_a_table(tmp_path, caplog):
    head = ("Datei", "file", "start_s", "end_s", "species")
    one = [head, ("x", "a.wav", 1, 2.25, "Turdus merula"), ("x", "a.wav", "0:00:03", "0:00:04.5", "Noise")]
    two = [head, ("x", "b.wav", 5, 6, "Turdus merula")]
    data = workbook(one, [("what", "this is")], two)
    found = read_annotations(put(tmp_path / "a.xlsx", data))
    assert found == {
        "a.wav": [Box(1, 2.25, "Turdus merula"), Box(3, 4.5, nothing=True)],
        "b.wav": [Box(5, 6, "Turdus merula")],
    }
    assert "sheet(s) with other columns passed over: S2" in caplog.text
    with pytest.raises(CheepError, match=r"b.xlsx: cannot be read as a workbook .*; save the table as CSV"):
        read_annotations(put(tmp_path / "b.xlsx", data[:300]))
