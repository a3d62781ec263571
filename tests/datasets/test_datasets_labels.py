# SPDX-License-Identifier: MIT
"""Annotations, AudioMoth headers, window choice, and what the splits make of them."""

import datetime
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cheep import cli
from cheep.config import ActivityConfig, WindowConfig
from cheep.datasets import audiomoth, load_manifest
from cheep.datasets.activity import LevelMeter, active_stretches, measure_levels
from cheep.datasets.labels.boxes import Box
from cheep.datasets.labels.files import read_annotations
from cheep.datasets.labels.matching import boxes_for
from cheep.datasets.sources.folders import recordings_in_noise_folder
from cheep.datasets.sources.lists import recordings_in_csv
from cheep.datasets.speech import SpeechMeter
from cheep.datasets.windows import choose_windows, window_starts
from cheep.errors import CheepError

RATE = 8000
SCRIPTS = Path(__file__).parents[2] / "scripts"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\tSpecies\n"
    "1\tWaveform 1\t1\t0.5\t1.25\t0\t8000\ta.wav\trobin\n1\tSpectrogram 1\t1\t0.5\t1.25\t1200\t8000.5\ta.wav\trobin\n"
    "2\tSpectrogram 1\t1\t3,5\t4,25\t0\t8000\tb.wav\t\n"
)


def test_raven_tables_give_one_box_per_selection(tmp_path):
    boxes = read_annotations(write(tmp_path, "x.Table.1.selections.txt", RAVEN))
    assert boxes == {"a.wav": [Box(0.5, 1.25, "robin", 0, 8000)], "b.wav": [Box(3.5, 4.25, "", 0, 8000)]}
    offset = "Selection\tBegin Time (s)\tEnd Time (s)\tFile Offset (s)\tBegin File\n1\t100.5\t101\t0.5\tb.wav\n"
    assert read_annotations(write(tmp_path, "y.txt", offset)) == {"b.wav": [Box(0.5, 1.0)]}


def test_audacity_labels_with_bands_and_points(tmp_path):
    text = (
        "0.500000\t1.250000\trobin\n\\\t1200.000000\t3000.000000\n2.5\t2.5\tpoint\n\\\t1\t2\n3,25\t4,5\tZoë's\n5\t6\n"
    )
    assert read_annotations(write(tmp_path, "a.txt", text)) == {
        "": [Box(0.5, 1.25, "robin", 1200, 3000), Box(3.25, 4.5, "Zoë's"), Box(5, 6)]
    }
    utf16 = write(tmp_path, "b.txt", "1\t2\tx\n".encode("utf-16"))
    assert read_annotations(utf16) == {"": [Box(1, 2, "x")]}


def test_times_in_csv_by_many_names(tmp_path):
    one = read_annotations(write(tmp_path, "a.csv", "file,start_s,end_s,label\na.wav,1,2.5,robin\n"))
    assert one == {"a.wav": [Box(1, 2.5, "robin")]}
    two = read_annotations(write(tmp_path, "b.csv", "onset;duration;class\n1,5;2;robin\n"))
    assert two == {"": [Box(1.5, 3.5, "robin")]}
    data = {"annotations": [{"xc_nr": "XC7", "start_time": "1", "end_time": 2, "scientific_name": "Turdus merula"}]}
    assert read_annotations(write(tmp_path, "c.json", json.dumps(data))) == {"XC7": [Box(1, 2, "Turdus merula")]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", RAVEN.replace("0.5\t1.25", "0.5\tx", 1), r"a.txt:2: End Time \(s\)='x': must be a number"),
        ("a.txt", RAVEN.replace("3,5\t4,25", "5\t4"), r"a.txt:4: start=5, end=4: must be 0 <= start < end"),
        (
            "a.txt",
            RAVEN.replace("1200\t8000.5", "1\t1").replace("0\t8000\ta", "9\t3\ta"),
            r"a.txt:2: low_hz=9, high_hz=3",
        ),
        ("a.txt", "1\t2\trobin\n3\n", r"a.txt:2: '3': must be start, end and label"),
        ("a.txt", "\\\t1\t2\n", r"a.txt:1: a line of frequencies must follow a label"),
        ("a.txt", "nan\t2\tx\n", r"a.txt:1: start='nan': must be a number"),
        ("a.csv", "file,label\na,b\n", r"a.csv:1: no columns for start and end"),
        ("a.csv", "start_s,end_s,label\n1,2,x\n1,1e99,x\n", r"a.csv:3: end_s='1e99': must be below 1e12"),
        ("a.csv", "", r"a.csv: empty"),
        ("a.csv", b"start_s,end_s\n1,\x81\n", r"a.csv:2: byte 16 is neither UTF-8 nor WINDOWS-1252"),
        ("a.json", "{", r"a.json:1: not JSON"),
        ("a.json", '{"annotations": [{"start_time": "x"}]}', r"annotations\[0\].start_time='x'"),
        ("a.json", "[" * 100000, r"a.json:1: nested too deeply"),
    ],
)
def test_a_wrong_annotation_names_file_line_and_field(tmp_path, name, text, message):
    with pytest.raises(CheepError, match=message):
        read_annotations(write(tmp_path, name, text))


def test_annotations_find_their_audio(tmp_path):
    audio = [tmp_path / "one" / "a.wav", tmp_path / "two" / "a.wav", tmp_path / "XC12.flac", tmp_path / "c.wav"]
    table = "Selection\tBegin Time (s)\tEnd Time (s)\n1\t0.5\t1.25\n2\t3.5\t4.25\n"
    write(tmp_path, "notes/XC12.Table.1.selections.txt", table)
    write(tmp_path, "notes/c_labels.txt", "1\t2\tx\n")
    write(tmp_path, "notes/times.csv", "file,start_s,end_s\ntwo\\a.wav,3,4\n")
    found = boxes_for([tmp_path / "notes"], audio)
    assert {path.relative_to(tmp_path).as_posix(): len(boxes) for path, boxes in found.items()} == {
        "XC12.flac": 2, "c.wav": 1, "two/a.wav": 1,
    }  # fmt: skip
    with pytest.raises(CheepError, match="speaks of no audio in the set"):
        boxes_for([write(tmp_path, "z.txt", "1\t2\tx\n")], audio)


COMMENTS = {
    "Recorded at 19:17:30 25/09/2020 (UTC) by AudioMoth 24F3190261F38D1F at medium gain while battery was 4.2V and "
    "temperature was 23.1C.": ("24F3190261F38D1F", "2020-09-25T19:17:30+00:00", "medium", 4.2, "", 23.1),
    "Recorded at 21:19:00 24/05/2018 by AudioMoth 0FE081F80FE081F0 at gain setting 2 while battery state was 3.8V": (
        "0FE081F80FE081F0", "2018-05-24T21:19:00+00:00", "medium", 3.8, "", None,
    ),
    "Recorded at 02:00:00.500 01/01/2024 (UTC-3:30) during deployment 1122AABB by AudioMoth 1 at low-medium gain while "
    "battery was greater than 4.9V and temperature was -5.2C. Band-pass filter applied.": (
        "1", "2024-01-01T02:00:00.500000-03:30", "low-medium", 4.9, "greater", -5.2,
    ),
    "Recorded at 02:00:00 01/01/2024 (UTC+5) by AudioMoth 1 using external microphone while battery was "
    "less than 2.5V.": (
        "1", "2024-01-01T02:00:00+05:00", "", 2.5, "less", None,
    ),
}  # fmt: skip


def fuzz_module():
    spec = importlib.util.spec_from_file_location("fuzz_parsers", SCRIPTS / "fuzz_parsers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("comment", COMMENTS)
def test_audiomoth_headers_of_every_firmware(tmp_path, comment):
    header = audiomoth.read_card_header(write(tmp_path, "a.WAV", fuzz_module().wav(comment)))
    device, time, gain, battery, bound, temperature = COMMENTS[comment]
    assert header.time == datetime.datetime.fromisoformat(time)
    assert (header.device, header.gain, header.battery_v, header.battery_bound, header.temperature_c) == (
        device, gain, battery, bound, temperature,
    )  # fmt: skip


def test_audiomoth_mistakes_and_other_wavs(tmp_path, capsys):
    wav = fuzz_module().wav
    assert (
        audiomoth.read_card_header(write(tmp_path, "x.wav", wav("hello").replace(b"AudioMoth", b"Something"))) is None
    )
    for comment, message in (
        ("Recorded at 25:00:00 01/01/2024 (UTC) by AudioMoth 1", "time '25:00:00' '01/01/2024'"),
        ("Recorded at 02:00:00 01/01/2024 (UTC+x) by AudioMoth 1", r"time zone 'UTC\+x'"),
        ("by AudioMoth 1 while battery was 99.9V", "battery '99.9': must be a number of 0 to 20"),
    ):
        with pytest.raises(CheepError, match=message):
            audiomoth.read_card_header(write(tmp_path, "x.wav", wav(comment)))
    with pytest.raises(CheepError, match="no WAV header"):
        audiomoth.read_card_header(write(tmp_path, "y.wav", b"nothing"))
    write(tmp_path, "card/a.wav", wav(next(iter(COMMENTS))))
    assert cli.main("dataset", ["card", str(tmp_path / "card")]) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "a.wav,2020-09-25T19:17:30+00:00,24F3190261F38D1F,,medium,4.2,,23.1"
    )
    (tmp_path / "empty").mkdir()
    assert cli.main("dataset", ["card", str(tmp_path / "empty")]) == 2
    assert "no WAV of an AudioMoth (nothing there)" in capsys.readouterr().err


def test_a_short_fuzz_of_every_parser(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a busy disk is not the parsers' fault
    module = fuzz_module()
    for name in module.TARGETS:
        most = 8 if name in ("wav", "triggered", "flac", "mp3") else 80  # what is no audio starts ffprobe
        _, inputs, refused = module.campaign(name, 60, 7, most=most)
        assert inputs == most
        assert refused or name == "xc-row"


def tone(seconds, calls, rate=RATE, level=0.3, noise=0.01, seed=1):
    out = np.random.default_rng(seed).normal(0, noise, int(seconds * rate))
    t = np.arange(int(0.3 * rate)) / rate
    for at in calls:
        out[int(at * rate) : int(at * rate) + len(t)] += level * np.sin(2 * np.pi * 2500 * t) * np.hanning(len(t))
    return (32767 * np.clip(out, -1, 1)).astype(np.int16)


def test_activity_is_the_same_in_blocks_and_finds_calls():
    pcm = tone(130, [10, 60, 61, 100], level=0.05)
    config = ActivityConfig()
    whole = measure_levels(pcm, RATE, config)
    blocks = measure_levels(iter(np.array_split(pcm, 37)), RATE, config)
    assert np.array_equal(whole.level_db, blocks.level_db)
    found = active_stretches(whole, config)
    assert [round(start) for start, _ in found] == [10, 60, 61, 100]
    for (start, end), at in zip(found, (10, 60, 61, 100), strict=True):
        assert at - 0.04 < start < at + 0.12 and at + 0.18 < end < at + 0.34
    # a loud steady hum, silence and a click are no activity
    t = np.arange(8 * RATE) / RATE
    hum = (8000 * np.sin(2 * np.pi * 1000 * t)).astype(np.int16) + tone(8, [])
    assert not active_stretches(measure_levels(hum, RATE, config), config)
    assert not active_stretches(measure_levels(np.zeros(RATE, np.int16), RATE, config), config)
    click = tone(8, [])
    click[4 * RATE] = 32000
    assert not active_stretches(measure_levels(click, RATE, config), config)
    assert len(measure_levels(np.zeros(10, np.int16), RATE, config).level_db) == 1


def test_a_two_hour_recording_stays_small(tmp_path):
    import tracemalloc

    block = tone(60, [5, 20], seed=3)
    meter = LevelMeter(RATE, ActivityConfig())
    tracemalloc.start()
    for _ in range(120):
        meter.push(block)
    levels = meter.levels()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert levels.duration_s == 7200
    assert peak < 80e6
    assert len(active_stretches(levels, ActivityConfig())) == 240


def test_windows_lie_on_the_grid():
    config = WindowConfig()
    assert window_starts(0, 3, config) == [0, 0.5, 1, 1.5, 2]
    assert window_starts(0, 2.9999999, config) == [0, 0.5, 1, 1.5, 2]
    assert window_starts(1.2, 3, config) == [1.5, 2.0]
    assert window_starts(0, 0.4, config) == [0]
    # a whole number of columns of 25 ms
    assert all((start / 0.025) == round(start / 0.025) for start in window_starts(0, 60, config))


def test_boxes_decide_where_there_are_any():
    levels = measure_levels(tone(10, [1.0, 5.0, 8.0]), RATE, ActivityConfig())
    boxes = [Box(1.0, 1.3, "robin"), Box(5.0, 5.3, "wren"), Box(7.2, 9.8)]
    config = WindowConfig(gaps=True)
    found = choose_windows(levels, "robin", config, 0, 10, boxes=boxes, others=frozenset({"wren"}))
    fate = {window.start_s: (window.label, window.reason) for window in found}
    assert fate[1.0] == ("robin", "annotated") and fate[0.5] == ("robin", "annotated")
    assert fate[5.0] == ("", "annotated as another label")
    assert fate[8.0] == ("robin", "annotated") and fate[8.5] == ("robin", "annotated")
    assert fate[3.0] == ("background", "quiet gap")
    # half of the shorter must overlap
    assert (
        choose_windows(levels, "robin", config, 0, 10, boxes=[Box(1.9, 2.3, "robin")])[2].reason
        == "edge of an annotation"
    )
    limited = choose_windows(levels, "robin", WindowConfig(max_per_recording=2), 0, 10)
    assert sum(bool(window.label) for window in limited) == 2
    assert "over the limit per recording" in {window.reason for window in limited}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    for label in ("robin", "wren"):
        for i in range(4):
            (root / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(root / label / f"{label}{i}.wav", tone(6, [1.0, 4.0], seed=i), RATE)
    return root


def test_a_recording_that_also_names_a_label_is_no_negative_for_it(folder, tmp_path):
    csv = ["file,label,recordist,species,also"]
    for label, species in (("robin", "Erithacus rubecula"), ("wren", "Troglodytes troglodytes")):
        for i in range(4):
            also = "Parus major;Erithacus rubecula" if (label, i) == ("wren", 2) else "Parus major"
            csv.append(f"{label}/{label}{i}.wav,{label},p{i},{species},{also}")
    write(folder, "metadata.csv", "\n".join(csv))
    out = tmp_path / "m.csv"
    assert cli.main("split-dataset", [str(folder), "-o", str(out), "--gaps", "--group-by", "recording"]) == 0
    manifest = load_manifest(out)
    assert "wren2" not in manifest.column("recording")
    left = load_manifest(tmp_path / "m.left_out.csv").where("recording", "wren2")
    assert "also names robin" in left.column("reason")
    # robin against the rest: wrens are background, but not the one with a robin
    more = ["--target", "robin", "--group-by", "recording"]
    assert cli.main("split-dataset", [str(folder), "-o", str(out), *more]) == 0
    manifest = load_manifest(out)
    assert manifest.labels == ["background", "robin"]
    assert set(manifest.where("label", "background").column("recording")) == {"wren0", "wren1", "wren3"}


def test_annotations_choose_the_windows_of_a_folder(folder, tmp_path):
    notes = tmp_path / "notes"
    for i in range(4):
        write(notes, f"robin{i}.txt", "4.0\t4.3\tRobin\n")
        write(notes, f"wren{i}.txt", "1.0\t1.3\tTroglodytes\n")
    out = tmp_path / "m.csv"
    common = [str(folder), "-o", str(out), "--annotations", str(notes)]
    assert cli.main("split-dataset", [*common, "--box-labels"]) == 0
    manifest = load_manifest(out)
    assert manifest.labels == ["Troglodytes", "robin"]
    assert set(manifest.where("label", "robin").start_s) == {3.5, 4.0}
    assert cli.main("split-dataset", common) == 2  # no box of a wren is left: said, not trained


def test_esc_style_folds_and_noise_folders(folder, tmp_path):
    noise = tmp_path / "noise"
    noise.mkdir()
    for fold in range(1, 6):
        for take in "AB":
            soundfile.write(noise / f"{fold}-11{fold}-{take}-10.wav", tone(2, [], seed=fold), RATE)
    found = recordings_in_noise_folder(noise, "background")
    assert {(item.fold, item.recording) for item in found} == {(str(f), f"11{f}") for f in range(1, 6)}
    esc = ["filename,fold,target,category,esc10,src_file,take"]
    esc += [
        f"{fold}-11{fold}-{take}-10.wav,{fold},10,rain,True,11{fold},{take}" for fold in range(1, 6) for take in "AB"
    ]
    csv = write(tmp_path, "esc50.csv", "\n".join(esc))
    assert {item.recording for item in recordings_in_csv(csv, noise)} == {f"11{f}" for f in range(1, 6)}
    out = tmp_path / "m.csv"
    options = ["--audio-root", str(noise), "--no-selection", "--test-folds", "5", "--val-folds", "4", "-o", str(out)]
    assert cli.main("split-dataset", ["--csv", str(csv), *options]) == 0
    manifest = load_manifest(out)
    assert {(f, s) for f, s in zip(manifest.column("fold"), manifest.column("split"), strict=True)} == {
        ("1", "train"), ("2", "train"), ("3", "train"), ("4", "val"), ("5", "test"),
    }  # fmt: skip
    assert cli.main("split-dataset", [str(folder), "--noise", str(noise), "-o", str(out)]) == 0
    assert len(load_manifest(out).where("label", "background")) == 10 * 3


def test_audiomoth_cards_split_by_site_and_date(tmp_path):
    rng = np.random.default_rng(1)
    for i in range(8):
        comment = (
            f"Recorded at 0{i % 4}:00:00 0{1 + i % 3}/05/2024 (UTC) by AudioMoth {'AABBCCDD'[i]}0 at medium "
            "gain while battery was 4.2V and temperature was 10.0C."
        )
        head = fuzz_module().wav(comment)[:-12]
        pcm = rng.normal(0, 3000, RATE).astype("<i2").tobytes()
        import struct

        body = head[8:] + b"data" + struct.pack("<I", len(pcm)) + pcm
        for label in ("robin",):
            write(tmp_path, f"set/{label}/{i}.wav", b"RIFF" + struct.pack("<I", len(body)) + body)
    out = tmp_path / "m.csv"
    options = ["--no-selection", "--group-by", "site", "-o", str(out)]
    assert cli.main("split-dataset", [str(tmp_path / "set"), *options]) == 0
    manifest = load_manifest(out)
    assert set(manifest.column("group")) == {"a0", "b0", "c0", "d0"}
    sides = {}
    for group, split in zip(manifest.column("group"), manifest.column("split"), strict=True):
        assert sides.setdefault(group, split) == split


def vowels(seconds, rate=RATE, seed=0):
    """A voice: gliding pitch with harmonics through two formants, in syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 130 * 2 ** (0.25 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    out = np.zeros(len(t))
    for harmonic in range(1, 20):
        f = 130 * harmonic
        gain = np.exp(-(((f - 600) / 300) ** 2)) + 0.5 * np.exp(-(((f - 1400) / 400) ** 2)) + 0.05
        out += gain * np.sin(harmonic * phase)
    return 3000 * out * (np.sin(2 * np.pi * 2.2 * t) > -0.3)


def test_announcements_are_found_and_whistles_are_not():
    noise = np.random.default_rng(1).normal(0, 30, 40 * RATE)
    spoken = noise.copy()
    spoken[: 4 * RATE] += vowels(4)
    spoken[37 * RATE :] += vowels(3, seed=2)
    meter = SpeechMeter(RATE)
    for block in np.array_split(spoken.astype(np.int16), 11):
        meter.push(block)
    found = meter.stretches()
    assert found[0][0] < 0.7 and 3.3 < found[0][1] < 5.2
    assert found[-1][1] > 39 and 36 < found[-1][0] < 38
    whistled = SpeechMeter(RATE)
    t = np.arange(40 * RATE) / RATE
    sweep = 3000 * np.sin(2 * np.pi * (2000 * t + 300 * np.sin(2 * np.pi * 3 * t) / 6)) * (np.sin(2 * np.pi * t) > 0)
    hoot = 3000 * np.sin(2 * np.pi * 450 * t) * (np.sin(2 * np.pi * 0.5 * t) > 0)
    for sound in (sweep, hoot, np.zeros(len(t))):
        whistled = SpeechMeter(RATE)
        whistled.push((noise + sound).astype(np.int16))
        assert whistled.stretches() == ()
    levels = measure_levels(spoken.astype(np.int16), RATE, ActivityConfig())
    kept = choose_windows(levels, "robin", WindowConfig(), 0, 40, speech=found)
    assert {window.reason for window in kept if window.start_s < 3} == {"speech-like"}


def test_numbers_that_are_none():
    from cheep.datasets.numbers import number_field, seconds_field

    assert number_field(" 1,5 ", Path("f"), 1, "x") == 1.5
    for text in ("", "1.5.2", "0x10", "1_000", "٣", "inf", "1 2"):
        with pytest.raises(CheepError, match="f:7: x="):
            number_field(text, Path("f"), 7, "x")
    for text, seconds in (("1:00:03,5", 3603.5), ("00:00:03.00", 3.0), ("2:05", 125.0), ("7.25", 7.25)):
        assert seconds_field(text, Path("f"), 7, "x") == seconds
    for text in ("1:60:00", "1:2:3:4", ":30", "1:-2"):
        with pytest.raises(CheepError, match="f:7: x="):
            seconds_field(text, Path("f"), 7, "x")
