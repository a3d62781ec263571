# SPDX-License-Identifier: MIT
"""Audio as recorders leave it: wrong sizes, lost power, lying lengths, triggered files, things that are no audio."""

import io
import re
import shutil
import struct
import subprocess
import unicodedata

import numpy as np
import pytest
import soundfile

from cheep import cli
from cheep.audio import (
    AUDIO_SUFFIXES,
    AudioIndex,
    ZeroMeter,
    audio_files,
    iter_audio,
    list_audio,
    probe,
    read_audio,
    read_span,
)
from cheep.audio.riff import info_texts, read_layout
from cheep.datasets.audiomoth import read_card_header
from cheep.errors import CheepError
from recorder_files import RATE, calls, chunk, comment, info, moth, put, silence_block, wav

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is installed by the set-up script")
PCM = calls(6, (1.0, 4.0))


@pytest.mark.parametrize(
    "sizes",
    [{"riff": 0, "data": 0}, {"riff": 480, "data": 0}, {"data": 0}, {"riff": 1036, "data": 1000}, {"data": 0xFFFFFFFF}],
)
def test_sizes_that_were_never_written_hide_no_sample(tmp_path, sizes, caplog):
    path = put(tmp_path / "a.wav", moth(PCM, **sizes))
    assert np.array_equal(read_audio(path, RATE), PCM)
    found = probe(path)
    assert found.duration_s == 6
    if sizes["data"] != 0xFFFFFFFF:  # as programs write that write into a pipe
        assert "6.0 s are there" in found.note and "6.0 s are there" in caplog.text
    assert read_card_header(path).device == "24F3190261F38D1F"


def test_sizes_that_are_right_are_believed(tmp_path):
    for name, data in {
        "list.wav": wav(PCM, after=info(ICMT="hello")),
        "padded.wav": wav(PCM[:-1], after=b"\0" * 64),
        "unknown.wav": wav(PCM, after=chunk(b"xyz1", b"y" * 9000)),
    }.items():
        path = put(tmp_path / name, data)
        assert probe(path).note == "" and np.array_equal(read_audio(path, RATE)[: len(PCM) - 1], PCM[:-1]), name
        assert len(read_audio(path, RATE)) <= len(PCM)
    cut = put(tmp_path / "cut.wav", wav(PCM)[: 44 + RATE])
    assert probe(cut).duration_s == 0.5 and "promises 6.0 s, the file ends after 0.5 s" in probe(cut).note
    notes: list[str] = []
    assert sum(len(block) for block in iter_audio(cut, RATE, notes=notes)) == 4000 and len(notes) == 1


def bare(name, body):
    """A chunk of an odd length without the padding byte that belongs behind it."""
    assert len(body) % 2
    return chunk(name, body)[:-1]


def test_a_chunk_without_its_padding_byte_hides_no_sample(tmp_path):
    """libsndfile, ffmpeg and scipy find no samples then; padded files are read as ever, whatever the byte is."""
    guano, other = bare(b"guan", b"GUANO|Version:1.0\nMake:you\n"), bare(b"JUNK", b"xyz")
    whole = wav(PCM)
    for name, data, said in (
        ("a.wav", wav(PCM, before=guano), "the chunk 'guan' lacks its padding byte"),
        ("b.wav", wav(PCM, before=other + info(ICMT="hi") + guano), "the chunk 'JUNK' lacks"),
        ("c.wav", whole[:12] + other + whole[12:], "the chunk 'JUNK' lacks"),
        ("d.wav", wav(PCM, before=guano, data=0), r"'guan' lacks .*; the header says 0.0 s .*6.0 s are there"),
        ("e.wav", wav(PCM, before=other[:-1] + b"zd"), ""),
    ):
        path = put(tmp_path / name, data)
        assert np.array_equal(read_audio(path, RATE), PCM), name
        assert re.search(said, probe(path).note) if said else not probe(path).note
        assert not probe(path).cut
        part, _ = read_span(path, 1.0, 1.5)
        assert np.array_equal(part, PCM[RATE : RATE + RATE // 2]), name
    texts = info_texts(tmp_path / "b.wav", read_layout(tmp_path / "b.wav"))
    assert texts == {"ICMT": "hi", "guan": "GUANO|Version:1.0\nMake:you\n"}
    cut = probe(put(tmp_path / "cut.wav", wav(PCM, before=guano)[: -4 * RATE]))
    assert cut.cut and "padding byte; the header promises 6.0 s, the file ends after 4.0 s" in cut.note


def test_texts_behind_an_odd_number_of_bytes_are_no_sound(tmp_path):
    """24-bit samples of an odd number, no padding byte, a long text behind them."""
    text = chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"x" * 3001 + b"\0"))
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 3 * RATE, 3, 24))
    body = b"WAVE" + form + bare(b"data", b"\0\0\1" * 2001) + text
    path = put(tmp_path / "a.wav", b"RIFF" + struct.pack("<I", len(body)) + body)
    assert len(read_audio(path, RATE)) == 2001 and not probe(path).note
    assert info_texts(path, read_layout(path))["ICMT"].startswith("xxx")


@pytest.mark.parametrize(("channels", "rate", "rule"), [(1, 0, "sample rate of 0"), (0, 8000, "channels of 0")])
def test_a_header_with_nothing_in_it_is_named(tmp_path, channels, rate, rule):
    path = put(tmp_path / "a.wav", wav(PCM, rate=rate, channels=channels))
    for read in (probe, lambda file: read_audio(file, RATE)):
        with pytest.raises(CheepError, match=rule):
            read(path)


@needs_ffmpeg
@pytest.mark.parametrize("options", [["-q:a", "4", "-write_xing", "0"], ["-b:a", "64k", "-write_xing", "0"], []])
def test_an_mp3_is_read_to_its_end(tmp_path, options):
    soundfile.write(tmp_path / "a.wav", np.repeat(calls(20, range(1, 19, 3)) / 32768, 4), 32000)
    target = tmp_path / "a.mp3"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", *options, target], check=True)
    assert abs(probe(target).duration_s - 20) < 0.15
    assert abs(len(read_audio(target, RATE)) / RATE - 20) < 0.15
    target.write_bytes(target.read_bytes() * 2)  # two files in one: the index speaks of the first
    assert abs(len(read_audio(target, RATE)) / RATE - 40) < 0.3


def flac(pcm, total=None, keep_sum=False):
    out = io.BytesIO()
    soundfile.write(out, pcm, RATE, format="FLAC", subtype="PCM_16")
    data = bytearray(out.getvalue())
    if total is not None:
        word = int.from_bytes(data[18:26], "big")
        data[18:26] = (word >> 36 << 36 | total).to_bytes(8, "big")
        if not keep_sum:
            data[26:42] = bytes(16)
    return bytes(data)


@needs_ffmpeg
@pytest.mark.parametrize("total", [0, 24000, 96000])
@pytest.mark.parametrize("keep_sum", [False, True])
def test_a_flac_is_as_long_as_its_samples(tmp_path, total, keep_sum):
    path = put(tmp_path / "a.flac", flac(PCM, total, keep_sum))
    assert probe(path).duration_s == 6 and "6.0 s are there" in probe(path).note
    assert np.array_equal(read_audio(path, RATE), PCM)
    assert probe(put(tmp_path / "b.flac", flac(PCM))).note == ""


def test_a_triggered_recording_lies_at_its_times(tmp_path):
    """``T.WAV``: a block of 512 bytes stands for the time without a trigger."""
    first, second = calls(6, (2.0,))[: 187 * 256], calls(6, (1.0,), seed=2)
    packed = np.concatenate([first, silence_block(625), second, silence_block(3)])
    whole = np.concatenate([first, np.zeros(625 * 256, np.int16), second, np.zeros(3 * 256, np.int16)])
    path = put(tmp_path / "20240601_050000T.WAV", moth(packed))
    assert np.array_equal(read_audio(path, RATE), whole)
    assert probe(path).duration_s == len(whole) / RATE
    assert np.array_equal(np.concatenate(list(iter_audio(path, RATE, block_s=0.013))), whole)  # blocks cut anywhere
    odd = put(tmp_path / "20240601_060000T.WAV", moth(np.concatenate([first[:77], silence_block(2), second])))
    assert len(read_audio(odd, RATE)) == 77 + 512 + len(second)
    renamed = moth(packed, rest=" Amplitude threshold was 1.5% with 1s minimum trigger duration.")
    assert np.array_equal(read_audio(put(tmp_path / "renamed.wav", renamed), RATE), whole)
    plain = put(tmp_path / "plain.wav", wav(packed))  # another recorder's: not touched
    assert np.array_equal(read_audio(plain, RATE), packed)
    endless = put(tmp_path / "20240601_070000T.WAV", moth(np.concatenate([first, silence_block(1 << 31), second])))
    with pytest.raises(CheepError, match=r"070000T.WAV: a block for silence stands for 68719477 s: .* damaged"):
        read_audio(endless, RATE)


def test_runs_of_exact_zeros_whatever_the_blocks(rng):
    pcm = calls(5, ())
    pcm[pcm == 0] = 1
    for start, end in ((0, 1000), (9000, 9500), (20000, 30000), (39000, 40000)):
        pcm[start:end] = 0
    for parts in (1, 7, 399, 4001):
        meter = ZeroMeter(RATE)
        for block in np.array_split(pcm, parts):
            meter.push(block)
        assert meter.runs() == ((0, 0.125), (2.5, 3.75), (4.875, 5.0)), parts
    assert meter.seconds() == 1.5
    quiet = ZeroMeter(RATE)
    quiet.push(np.zeros(0, np.int16))
    quiet.push(np.zeros(700, np.int16))
    assert quiet.runs() == ()


def test_the_comment_is_found_wherever_it_lies(tmp_path):
    texts = info(ICMT=comment("AABB"), IART="AudioMoth AABB")
    for name, data in {
        "before.wav": wav(PCM, before=texts),
        "behind.wav": wav(PCM, after=texts),
        "behind_others.wav": wav(PCM, before=info(ISFT="sox"), after=chunk(b"PEAK", b"x" * 17) + texts),
    }.items():
        assert read_card_header(put(tmp_path / name, data)).device == "AABB", name
    text = "GUANO|Version:1.0\nMake: Open Acoustic Devices\nModel: AudioMoth\nSerial: CCDD\n"
    guano = wav(PCM, after=chunk(b"guan", (text + "Timestamp: 2024-06-01T05:00:00+01:00").encode()))
    found = read_card_header(put(tmp_path / "guano.wav", guano))
    assert found.device == "CCDD" and found.time.isoformat() == "2024-06-01T05:00:00+01:00"
    assert read_card_header(put(tmp_path / "other.wav", wav(PCM))) is None


def test_what_is_no_audio_is_passed_over_and_counted(tmp_path, capsys, caplog):
    for i in range(2):
        put(tmp_path / "set" / "robin" / f"robin{i}.wav", wav(calls(3, (1.0,), seed=i)))
        put(tmp_path / "set" / "background" / f"b{i}.WAVE", wav(calls(3, (), seed=10 + i)))
    for name in ("robin/._robin0.wav", "robin/.DS_Store", "robin/CONFIG.TXT", "robin/__MACOSX/x.wav", ".Trashes/y.wav"):
        put(tmp_path / "set" / name, b"\0\5\x16\7")
    options = [str(tmp_path / "set"), "-o", str(tmp_path / "m.csv"), "--no-selection", "--val", "0"]
    assert cli.main("split-dataset", options) == 0
    assert caplog.text.count("passed over, being no audio that is known: 2 hidden, 1 .txt") == 1
    found = list_audio(tmp_path / "set")
    assert [path.name for path in found.audio] == ["b0.WAVE", "b1.WAVE", "robin0.wav", "robin1.wav"]
    put(tmp_path / "notes" / "readme.doc", b"x")
    with pytest.raises(CheepError, match=r"holds no audio file .*; it has 1 .doc"):
        audio_files(tmp_path / "notes")


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".3gp", ".mp4", ".m4a", ".mka"])
def test_what_phones_write_is_read(tmp_path, suffix):
    source = put(tmp_path / "a.wav", wav(PCM))
    target = tmp_path / f"b{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-c:a", "aac", "-ar", "8000", target], check=True)
    assert suffix in AUDIO_SUFFIXES and audio_files(tmp_path) == [source, target]
    assert abs(len(read_audio(target, RATE)) / RATE - 6) < 0.3


def test_a_name_finds_its_recording(tmp_path):
    paths = [tmp_path / "set" / place / "robin" / "20240601_050000.WAV" for place in ("A1", "B2")]
    paths += [tmp_path / "set" / unicodedata.normalize("NFD", "Grünspecht.wav"), tmp_path / "set" / "c.flac"]
    index = AudioIndex(paths)
    assert index.find(unicodedata.normalize("NFC", "GRÜNSPECHT.wav")) == [paths[2]]
    assert index.find(r"D:\card\B2\robin\20240601_050000.wav") == [paths[1]]
    assert index.find("/data/c.wav") == index.find("c") == [paths[3]]
    assert index.find("20240601_050000", near=tmp_path / "notes" / "A1" / "robin" / "x.txt") == [paths[0]]
    assert index.find("20240601_050000", near=paths[1].with_suffix(".txt")) == [paths[1]]
    assert index.find("20240601_050000") == paths[:2]  # the caller says that it cannot know
    assert index.find("c.txt") == index.find("") == index.find("nothing.wav") == []


def test_half_a_header_is_no_traceback(tmp_path):
    whole = moth(PCM)
    for size in (12, 20, 30, 40, 44, 60, 200):
        path = put(tmp_path / "a.wav", whole[:size])
        with pytest.raises(CheepError, match=r"a\.wav"):
            read_audio(path, RATE)
    odd = bytearray(whole)
    struct.pack_into("<H", odd, 32, 0)  # a frame of 0 bytes: the other fields tell
    assert np.array_equal(read_audio(put(tmp_path / "a.wav", bytes(odd)), RATE), PCM)


def test_runs_of_zeros_do_not_depend_on_how_the_samples_come():
    rng = np.random.default_rng(0)
    for _ in range(400):
        least, n = int(rng.integers(1, 9)), int(rng.integers(0, 60))
        pcm = (rng.random(n) > rng.choice([0.1, 0.5, 0.9])).astype(np.int16)
        meter = ZeroMeter(1, least)
        for part in np.split(pcm, np.sort(rng.integers(0, n + 1, int(rng.integers(0, 6))))):
            meter.push(part)
        zero = np.concatenate([[False], pcm == 0, [False]])
        edges = np.flatnonzero(zero[1:] != zero[:-1]).reshape(-1, 2)
        assert meter.runs() == tuple((a, b) for a, b in edges.tolist() if b - a >= least)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "CAF"])
def test_a_file_that_ends_early_says_so(tmp_path, kind):
    """It is read as far as it goes, and said to be cut: never shorter without a word, never an error."""
    whole, part = tmp_path / f"whole.{kind.lower()}", tmp_path / f"part.{kind.lower()}"
    soundfile.write(whole, np.random.default_rng(0).normal(0, 0.1, 80000), 8000, format=kind)
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert not probe(whole).cut and not probe(whole).note
    found, notes = probe(part), []
    assert found.cut and found.note and 2 < found.duration_s < 9
    assert sum(len(block) for block in iter_audio(part, RATE, notes=notes)) == pytest.approx(
        8000 * found.duration_s, abs=9
    )
    assert notes == [found.note]


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp3", "a.webm", "a.mka", "a.mp4", "a.oga"])
def test_what_ffmpeg_wrote_and_ends_early_says_so(tmp_path, name):
    """An MP3 without an index, at least where it ends within a frame; an MP4 with its table before the samples."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 80000), 8000)
    options = {"a.mp3": ["-b:a", "64k", "-write_xing", "0"], "a.mp4": ["-movflags", "faststart"]}.get(name, [])
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", *options, tmp_path / name]
    subprocess.run(command, check=True)
    assert not probe(tmp_path / name).cut
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 6 // 10 + 1])
    assert probe(tmp_path / name).cut and 2 < probe(tmp_path / name).duration_s < 9
