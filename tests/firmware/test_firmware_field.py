# SPDX-License-Identifier: MIT
"""AudioMoth's field logic on this machine: settings, schedule, rows, WAV header, the store of waiting rows."""

from __future__ import annotations

import csv
import ctypes
import datetime
import io
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheep.ccore import compile_shared
from cheep.config import DetectorConfig
from cheep.detector import Detector, ScoreScale
from cheep.detector.scores import CScale
from cheep.resources import firmware_root, include_dir

LABELS = ("background", "Erithacus rubecula", "wren, the")
NOTE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
MAX_CLASSES = 64


class Period(ctypes.Structure):
    _fields_ = [("start", ctypes.c_uint16), ("stop", ctypes.c_uint16)]


class Level(ctypes.Structure):
    _fields_ = [("form", ctypes.c_int), ("value", ctypes.c_int32)]


MODEL, OFF, PROBABILITY, LOGIT = range(4)


class Settings(ctypes.Structure):
    _fields_ = [
        ("gain", ctypes.c_uint8),
        ("led", ctypes.c_bool),
        ("clip_s", ctypes.c_uint8),
        ("n_periods", ctypes.c_uint8),
        ("periods", Period * 8),
        ("low_battery_mv", ctypes.c_uint16),
        ("score_log", ctypes.c_bool),
        ("gate", ctypes.c_bool),
        ("clip_lead_s", ctypes.c_uint8),
        ("every_days", ctypes.c_uint8),
        ("first_day", ctypes.c_uint32),
        ("threshold", Level * MAX_CLASSES),
    ]


class Detection(ctypes.Structure):
    _fields_ = [
        ("utc", ctypes.c_uint32),
        ("utc_ms", ctypes.c_uint32),
        ("label", ctypes.c_char_p),
        ("score_e6", ctypes.c_uint32),
        ("duration_ms", ctypes.c_uint32),
        ("temperature_mc", ctypes.c_int32),
        ("battery_mv", ctypes.c_uint32),
        ("clip", ctypes.c_char_p),
    ]


class Wav(ctypes.Structure):
    _fields_ = [
        ("utc", ctypes.c_uint32),
        ("sample_rate_hz", ctypes.c_uint32),
        ("samples", ctypes.c_uint32),
        ("id_high", ctypes.c_uint32),
        ("id_low", ctypes.c_uint32),
        ("gain", ctypes.c_char_p),
        ("battery_mv", ctypes.c_uint32),
        ("temperature_mc", ctypes.c_int32),
        ("label", ctypes.c_char_p),
        ("score_e6", ctypes.c_uint32),
        ("at_sample", ctypes.c_uint32),
    ]


class Store(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("capacity", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
        ("dropped", ctypes.c_uint32),
    ]


class Session(ctypes.Structure):
    _fields_ = [
        ("begun_utc", ctypes.c_uint32),
        ("listened_s", ctypes.c_uint32),
        ("overruns", ctypes.c_uint32),
        ("lost_rows", ctypes.c_uint32),
        ("battery_mv", ctypes.c_uint32),
        ("temperature_mc", ctypes.c_int32),
    ]


class Threshold(ctypes.Structure):
    _fields_ = [("on_sum", ctypes.c_int32), ("off_sum", ctypes.c_int32)]


class Date(ctypes.Structure):
    _fields_ = [("year", ctypes.c_uint16)] + [(n, ctypes.c_uint8) for n in ("month", "day", "hour", "minute", "second")]


@pytest.fixture(scope="module")
def field():
    source = firmware_root() / "audiomoth" / "src"
    common = firmware_root() / "common" / "src"
    sources = [*sorted(source.glob("field_*.c")), common / "field_records.c", common / "field_time.c"]
    sources += [*(common / f"cheep_{name}.c" for name in ("text", "scores", "crc32"))]
    library = ctypes.CDLL(str(compile_shared(sources, [include_dir(), source], flags=["-Werror"], name="cheep_field")))
    library.field_date_of.argtypes = [ctypes.c_uint32]
    library.field_date_of.restype = Date
    library.field_schedule.argtypes = [ctypes.POINTER(Settings), ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]
    library.field_schedule.restype = ctypes.c_bool
    library.field_threshold.argtypes = [
        ctypes.POINTER(Threshold), Level, ctypes.c_uint16, ctypes.POINTER(CScale), ctypes.c_double,
    ]  # fmt: skip
    library.field_threshold.restype = Threshold
    library.field_row.argtypes = [ctypes.c_char_p, ctypes.POINTER(Detection)]
    library.field_row.restype = ctypes.c_size_t
    for name in ("rows", "summary"):
        getattr(library, f"field_name_{name}").argtypes = [ctypes.c_char_p, ctypes.c_uint32]
    library.field_name_clip.argtypes = [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint]
    library.field_store_add.argtypes = [ctypes.POINTER(Store), ctypes.c_char_p, ctypes.c_size_t]
    library.field_parser_feed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    library.field_parser_finish.argtypes = [ctypes.c_void_p]
    library.field_parser_finish.restype = ctypes.c_uint16
    return library


def label_array(labels=LABELS):
    return (ctypes.c_char_p * len(labels))(*[label.encode() for label in labels])


def parse(field, text, pieces=None):
    """Return (settings, problems as text)."""
    found, notes = Settings(), []
    note = NOTE(lambda _context, line: notes.append(line.decode("utf-8", "replace")))
    parser = ctypes.create_string_buffer(512)
    data = text if isinstance(text, bytes) else text.encode()
    labels = label_array()
    field.field_parser_init(parser, ctypes.byref(found), labels, len(LABELS), note, None)
    step = pieces or max(1, len(data))
    for at in range(0, len(data), step):
        field.field_parser_feed(parser, data[at : at + step], len(data[at : at + step]))
    assert field.field_parser_finish(parser) == len(notes)
    return found, notes


def written(field, scale, thresholds=(None, 0.8)):
    """Return the lines of the file that a device writes where there is none."""
    lines = []
    write = NOTE(lambda _context, line: lines.append(line.decode()))
    thresholds = (*thresholds, *[0.5] * (len(LABELS) - len(thresholds)))
    detector = Detector(DetectorConfig(smoothing_windows=2, threshold=thresholds), len(LABELS), scale)
    field.field_settings_write(label_array(), ctypes.byref(detector._spec), write, None)
    return lines


def test_the_default_file_gives_the_defaults(field):
    lines = written(field, ScoreScale())
    text = "\r\n".join([*lines, ""])
    found, notes = parse(field, text)
    assert notes == []
    expected = Settings()
    field.field_settings_default(ctypes.byref(expected))
    assert bytes(found) == bytes(expected)
    assert f"# threshold.{LABELS[0]} = off" in lines
    assert any(line.startswith("# threshold.Erithacus rubecula = 0.79") for line in lines)
    assert max(map(len, lines)) <= 95  # the parser's own limit
    assert found.gain == 2 and found.led and found.clip_s == 0 and found.low_battery_mv == 3300


@pytest.mark.parametrize("pieces", [None, 1, 7, 64])
def test_every_setting_is_read(field, pieces):
    text = (
        "\ufeff# field site 3\r\ngain = medium-high # loud\r\n\r\n schedule= 04:30-08:00 , 19:00 - 22:00,23:30-00:15\n"
        "led =off\ndays = every 3 from  2026-05-20\nscore_log = on\n"
        "clip_seconds=10\nlow_battery_millivolts = 0\nthreshold.Erithacus rubecula = 0.8125\n"
        "threshold.wren, the = off\nthreshold.background = 1"
    )
    found, notes = parse(field, text, pieces)
    assert notes == []
    assert (found.gain, found.led, found.clip_s, found.low_battery_mv, found.n_periods) == (3, False, 10, 0, 3)
    assert [(p.start, p.stop) for p in found.periods[:3]] == [(270, 480), (1140, 1320), (1410, 15)]
    assert found.score_log and (found.every_days, found.first_day) == (3, (UTC // 86400))
    levels = [(level.form, level.value) for level in found.threshold[:4]]
    assert levels == [(PROBABILITY, 1000000), (PROBABILITY, 812500), (OFF, 0), (MODEL, 0)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("gain = loud", "gain=loud: must be low, low-medium, medium, medium-high or high"),
        ("schedule = 4-8", "schedule=4-8: must be always, or up to 8 periods"),
        ("schedule = 04:30-04:30", "must be always"),
        ("schedule = 24:00-01:00", "must be always"),
        ("schedule = 04:60-05:00", "must be always"),
        ("schedule = 25:00-26:00", "must be always"),
        ("schedule = " + ",".join(["01:00-02:00"] * 7) + "," , "must be always"),
        ("days = every 32", "days=every 32: must be all, every 2 (to 31), or every 2 from 2026-05-20"),
        ("days = every 0", "must be all"),
        ("days = every", "must be all"),
        ("days = every 2 of 3", "must be all"),
        ("days = every 2 from 2026-02-30", "must be all"),
        ("days = every 2 from 2026-05-20 on", "must be all"),
        ("days = every 2from 2026-05-20", "must be all"),
        ("score_log = 1", "score_log=1: must be on or off"),
        ("led = yes", "led=yes: must be on or off"),
        ("clip_seconds = 11", "clip_seconds=11: must be 0 (no clips) to 10"),
        ("clip_seconds = ", "clip_seconds=: must be 0"),
        ("clip_lead_seconds = 9", "clip_lead_seconds=9: must be 0 to 8"),
        ("gate = 0", "gate=0: must be on or off"),
        ("low_battery_millivolts = 100", "must be 0 (never stop) or 2500 to 5000"),
        ("threshold.wren, the = 1.2", "must be 0 to 1 (6 decimals at most), logit and -100 to 100"),
        ("threshold.wren, the = 0,8", "must be 0 to 1"),
        ("threshold.wren, the = .", "must be 0 to 1"),
        ("threshold.wren, the = 0.9999999", "6 decimals at most"),
        ("threshold.wren, the = logit", "must be 0 to 1"),
        ("threshold.wren, the = logit 6.9072", "logit and -100 to 100 (3 decimals)"),
        ("threshold.wren, the = logit 100.5", "logit and -100 to 100"),
        ("threshold.robin = 0.5", "threshold.robin: the model has no such label"),
        ("volume = 3", "volume: no such setting (gain, schedule, days, led"),
        ("listen", "listen: not `name = value`"),
        ("led = on" + " " * 100 + "x", "too long"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_and_the_others_count(field, line, reason):
    found, notes = parse(field, f"\n{line}\nclip_seconds = 3\ngain = high\n")
    assert len(notes) == 1
    assert notes[0].startswith("SETTINGS.TXT line 2: ") and reason in notes[0]
    assert (found.gain, found.clip_s) == (4, 3)
    assert found.led and found.n_periods == 0 and not found.score_log
    assert (found.every_days, found.first_day) == (1, 0) and all(level.form == MODEL for level in found.threshold)


@pytest.mark.parametrize("pieces", [1, 3, 64])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-mark"])
def test_windows_editors_files_are_read(field, encoding, pieces):
    """Notepad's UTF-8, UTF-8 with a mark, UTF-16 both ways; CRLF; blocks filled up with zeros, as from the card."""
    text = "# N\u00f6te \U0001f426\r\ngain = high\r\nclip_seconds = 3\r\nthreshold.wren, the = off"
    data = b"\xfe\xff" + text.encode("utf-16-be") if encoding == "utf-16-be-mark" else text.encode(encoding)
    found, notes = parse(field, data + bytes(-len(data) % 64), pieces)
    assert notes == []
    assert (found.gain, found.clip_s, found.threshold[2].form) == (4, 3, OFF)


def test_what_an_editor_has_spoilt_is_said(field):
    found, notes = parse(field, "gain = high\nled = off\n".encode("utf-16-le"))  # without its mark
    assert notes[0] == (
        "SETTINGS.TXT line 1: file: holds bytes of zero: damaged, or saved as UTF-16 without a mark; save it as UTF-8"
    )
    _, notes = parse(field, "threshold.M\u00f6nch = off\n".encode("cp1252"))
    assert "letters beyond a-z: save the file as UTF-8" in notes[0]
    twice = "gain = high\nled = off\ngain = low\nthreshold.background = 1\nthreshold.background = 0\n"
    found, notes = parse(field, twice)
    assert [note.partition(": ")[2] for note in notes] == [
        "gain=low: is set a second time: the line before it counts",
        "threshold.background=0: is set a second time: the line before it counts",
    ]
    assert (found.gain, found.led, found.threshold[0].value) == (4, False, 10**6)


def test_a_clip_holds_its_event(field):
    found, notes = parse(field, "gate = off\nclip_seconds = 8\nclip_lead_seconds = 5\n")
    assert notes == [] and (found.clip_s, found.clip_lead_s, found.gate) == (8, 5, False)
    found, notes = parse(field, "clip_seconds = 1\n")  # the usual lead would fill it
    assert notes == [] and found.clip_lead_s == 0 and found.gate
    found, notes = parse(field, "clip_lead_seconds = 3\nclip_seconds = 3\n")
    assert notes == ["SETTINGS.TXT line 2: clip_lead_seconds: must be less than clip_seconds"]
    assert found.clip_lead_s == 1



@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=600), pieces=st.integers(1, 64))
def test_no_bytes_upset_the_parser(field, data, pieces):
    found, _ = parse(field, data, pieces)
    assert found.gain <= 4 and found.clip_s <= 10 and found.n_periods <= 8
    for level in found.threshold:
        assert {MODEL: level.value == 0, OFF: level.value == 0, PROBABILITY: 0 <= level.value <= 10**6,
                LOGIT: abs(level.value) <= 10**5}[level.form]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    periods=st.lists(st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda p: p[0] != p[1]), max_size=8),
    utc=st.integers(0, 2**32 - 1 - 2 * 86400),
    every=st.one_of(st.just(1), st.integers(1, 31)),
    since=st.one_of(st.none(), st.integers(-40, 3)),
)
def test_schedule_against_a_walk_through_the_day(field, periods, utc, every, since):
    text = ",".join(f"{a // 60:02d}:{a % 60:02d}-{b // 60:02d}:{b % 60:02d}" for a, b in periods) or "always"
    found = Settings()
    field.field_settings_default(ctypes.byref(found))
    for i, (start, stop) in enumerate(periods):
        found.periods[i] = Period(start, stop)
    found.n_periods = len(periods)
    if len(text) < 70:  # what fits into a line must parse to the same
        parsed, notes = parse(field, f"schedule = {text}\n")
        assert notes == [] and bytes(parsed.periods) == bytes(found.periods)

    first = 0 if since is None else max(0, utc // 86400 + since)
    found.every_days, found.first_day = every, first

    def listens(day):
        return day >= first and (day - first) % every == 0

    def active(second):
        day, minute = second // 86400, second // 60 % 1440
        inside = [listens(day) and (minute >= a if a > b else a <= minute < b) for a, b in periods]
        inside += [a > b and minute < b and listens(day - 1) for a, b in periods]  # since the evening before
        return any(inside) if periods else listens(day)

    left = ctypes.c_uint32()
    now = field.field_schedule(ctypes.byref(found), utc, ctypes.byref(left))
    assert now == active(utc)
    changes = [s for s in range(60 - utc % 60, 86400 + 60, 60) if active(utc + s) != now]
    assert left.value == (changes[0] if changes else 2**32 - 1 if every == 1 and not first else 86400)


@settings(max_examples=300, deadline=None)
@given(day=st.dates(datetime.date(1970, 1, 1), datetime.date(2105, 12, 31)))
def test_days_of_dates(field, day):
    found = ctypes.c_uint32()
    assert field.field_day_of(day.year, day.month, day.day, ctypes.byref(found)) & 1
    assert found.value == (day - datetime.date(1970, 1, 1)).days


@settings(max_examples=300, deadline=None)
@given(utc=st.integers(0, 2**32 - 1))
def test_dates(field, utc):
    expected = datetime.datetime.fromtimestamp(utc, datetime.timezone.utc)
    d = field.field_date_of(utc)
    assert (d.year, d.month, d.day, d.hour, d.minute, d.second) == expected.timetuple()[:6]


SCALES = (ScoreScale(), ScoreScale("logit", 0.0625, -30), ScoreScale("log_odds", 0.04, -69))


@settings(max_examples=300, deadline=None)
@given(
    e6=st.integers(0, 10**6),
    smoothing=st.integers(1, 32),
    scale=st.sampled_from(SCALES),
    hysteresis=st.sampled_from([0.0, 0.1, 0.25]),
)
def test_thresholds_follow_the_rule_of_the_python_side(field, e6, smoothing, scale, hysteresis):
    own = Threshold(100, 40)

    def found(form, value):
        level = Level(form, value)
        return field.field_threshold(ctypes.byref(own), level, smoothing, ctypes.byref(scale.c), hysteresis)

    threshold = found(PROBABILITY, e6)
    assert threshold.on_sum == scale.on_sum(e6 / 1e6, smoothing)
    assert threshold.off_sum == scale.off_sum(e6 / 1e6, hysteresis, smoothing)
    assert threshold.off_sum <= threshold.on_sum
    kept = found(MODEL, 0)
    assert (kept.on_sum, kept.off_sum) == (100, 40)
    assert found(OFF, 0).on_sum == 2**31 - 1


def test_a_logit_and_its_probability_are_one_threshold(field):
    found, notes = parse(field, f"threshold.{LABELS[0]} = logit 6.907\nthreshold.{LABELS[1]} = 0.9990\n")
    assert notes == []
    for scale in SCALES:
        sums = [
            field.field_threshold(ctypes.byref(Threshold()), level, 2, ctypes.byref(scale.c), 0.1).on_sum
            for level in found.threshold[:2]
        ]
        assert abs(sums[0] - sums[1]) <= 1
    # of logits, it is no 1: a mean of 6.9 is on, and three steps lower is off
    assert sums[0] * scale.unit / 2 == pytest.approx(6.907, abs=0.005)


@pytest.mark.parametrize("p", [0.02, 0.5, 0.9, 0.999, 0.99999, 0.9999999])
@pytest.mark.parametrize("scale", SCALES[1:])
def test_the_line_that_is_shown_is_the_threshold(field, scale, p):
    line = next(line for line in written(field, scale, (p,)) if LABELS[0] in line)
    found, notes = parse(field, line.removeprefix("# "))
    assert notes == []
    own = field.field_threshold(ctypes.byref(Threshold()), found.threshold[0], 2, ctypes.byref(scale.c), 0.1)
    assert own.on_sum == scale.on_sum(p, 2)


UTC = int(datetime.datetime(2026, 5, 20, 5, 30, 12, tzinfo=datetime.timezone.utc).timestamp())


def test_names(field):
    name = ctypes.create_string_buffer(32)
    field.field_name_rows(name, UTC)
    assert name.value == b"20260520.CSV"
    field.field_name_summary(name, UTC)
    assert name.value == b"20260520_SUMMARY.CSV"
    field.field_name_clip(name, UTC, 0)
    assert name.value == b"20260520_053012.WAV"
    field.field_name_clip(name, UTC, 2)
    assert name.value == b"20260520_053012_2.WAV"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["2026-05-20T05:30:12.250Z", 'wren, "the"', "0.876543", "1.23", "22.6", "4.20", "20260520_053011.WAV"]),
        ({"temperature_mc": -100000, "battery_mv": 0, "clip": b""},
         ["2026-05-20T05:30:12.250Z", 'wren, "the"', "0.876543", "1.23", "", "", ""]),
        ({"temperature_mc": -49, "score_e6": 999999, "duration_ms": 3600000},
         ["2026-05-20T05:30:12.250Z", 'wren, "the"', "0.999999", "3600.00", "0.0", "4.20", "20260520_053011.WAV"]),
        ({"temperature_mc": -12350},
         ["2026-05-20T05:30:12.250Z", 'wren, "the"', "0.876543", "1.23", "-12.4", "4.20", "20260520_053011.WAV"]),
    ],
)  # fmt: skip
def test_rows(field, values, expected):
    base = {
        "utc": UTC, "utc_ms": 250, "label": b'wren, "the"', "score_e6": 876543, "duration_ms": 1234,
        "temperature_mc": 22649, "battery_mv": 4200, "clip": b"20260520_053011.WAV",
    }  # fmt: skip
    detection = Detection(**{**base, **values})
    row = ctypes.create_string_buffer(192)
    n = field.field_row(row, ctypes.byref(detection))
    text = row.value.decode()
    assert len(text) == n and text.endswith("\n")
    assert next(csv.reader([text])) == expected


def test_a_row_of_an_endless_label_still_ends(field):
    detection = Detection(UTC, 0, b"x" * 500, 1, 1, 1, 1, b"")
    row = ctypes.create_string_buffer(192)
    n = field.field_row(row, ctypes.byref(detection))
    assert n == 191 and row.value.endswith(b"x\n")


def test_wav_header_is_read_by_others_and_says_what_audiomoth_says(field):
    import soundfile

    wav = Wav(UTC, 8000, 4000, 0x24F31905, 0x5FDF2F5B, b"medium", 4249, 22600, b"Erithacus rubecula", 876543, 8000)
    header = ctypes.create_string_buffer(488)
    field.field_wav_header(header, ctypes.byref(wav))
    samples = struct.pack("<4000h", *(int(8000 * math.sin(i / 3)) for i in range(4000)))
    with soundfile.SoundFile(io.BytesIO(header.raw + samples)) as file:
        assert (file.samplerate, file.channels, file.subtype, len(file)) == (8000, 1, "PCM_16", 4000)
        assert file.comment == (
            "Recorded at 05:30:12 20/05/2026 (UTC) by AudioMoth 24F319055FDF2F5B at medium gain while battery was 4.2V "
            "and temperature was 22.6C. Cheep heard Erithacus rubecula with score 0.876543 at sample 8000."
        )
        assert file.artist == "AudioMoth 24F319055FDF2F5B"
        assert file.read(3, dtype="int16").tolist() == [0, 2617, 4946]
    assert struct.unpack_from("<I", header.raw, 4)[0] == 480 + 8000


def test_rows_wait_for_the_card_and_losses_are_counted(field):
    memory = ctypes.create_string_buffer(20)
    store = Store(ctypes.addressof(memory), 20, 0, 0)
    for row in (b"12345678\n", b"abcdefgh\n", b"too much\n", b"xy"):
        field.field_store_add(ctypes.byref(store), row, len(row))
    assert memory.raw == b"12345678\nabcdefgh\nxy" and store.dropped == 1
    field.field_store_clear(ctypes.byref(store))
    assert store.length == 0 and store.dropped == 1


def test_summary(field):
    row = ctypes.create_string_buffer(512)
    field.field_summary_header(row, ctypes.c_size_t(512), label_array(), 3)
    names = next(csv.reader([row.value.decode()]))
    session = Session(UTC, 3600, 1, 2, 3950, 15040)
    counts = (ctypes.c_uint16 * 3)(0, 17, 65535)
    field.field_summary_row(row, ctypes.c_size_t(512), ctypes.byref(session), UTC + 3600, counts, 3)
    values = dict(zip(names, next(csv.reader([row.value.decode()])), strict=True))
    assert values == {
        "from_utc": "2026-05-20T05:30:12.000Z", "to_utc": "2026-05-20T06:30:12.000Z", "listened_s": "3600",
        "overruns": "1", "lost_rows": "2", "temperature_c": "15.0", "battery_v": "3.95",
        "background": "0", "Erithacus rubecula": "17", "wren, the": "65535",
    }  # fmt: skip
