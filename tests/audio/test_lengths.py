# SPDX-License-Identifier: MIT
"""Which audio files end early, and which only look as if they did."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from cheep.audio import lengths, probe

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is installed by the set-up script")


def test_a_flac_without_a_length_that_ends_early_says_so(tmp_path):
    """A recorder that lost its power has written no length: libsndfile would give millions of years."""
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, np.random.default_rng(0).normal(0, 0.1, 80000), 8000)
    data = bytearray(whole.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    for part, cut in ((data, False), (data[: len(data) * 6 // 10], True)):
        whole.write_bytes(part)
        found = probe(whole)
        assert (
            found.cut == cut
            and "gives no length" in found.note
            and found.duration_s == pytest.approx(6 + 4 * (not cut), abs=0.6)
        )


def test_a_flac_that_lost_a_piece_of_its_last_frame_says_so(tmp_path):
    path, found = tmp_path / "a.flac", []
    for seed in range(6):
        soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 80000), 8000)
        data = path.read_bytes()
        path.write_bytes(data + b"TAG" + bytes(125))
        assert not probe(path).cut
        path.write_bytes(data[:-100])
        found.append(probe(path))
    assert sum(item.cut for item in found) >= 3  # in one of some ten a part of the torn frame has a right checksum
    assert all(9 < item.duration_s < 10 for item in found if item.cut)


def test_samples_that_look_like_the_header_of_a_frame_cut_no_flac(tmp_path):
    header = b"\xff\xf8\xc9\x08\x00"
    pcm = (
        np.random.default_rng(0).integers(-32768, 32767, 4000).astype(np.int16)
    )  # kept as they are: nothing to predict
    pcm[2000:2003] = np.frombuffer(header + bytes([lengths._crc8(header)]), ">i2")
    soundfile.write(tmp_path / "a.flac", pcm, 8000)
    assert header in (tmp_path / "a.flac").read_bytes()
    assert not probe(tmp_path / "a.flac").cut and probe(tmp_path / "a.flac").duration_s == 0.5


@pytest.mark.parametrize("field", ["frames", "bytes and frames"])
def test_an_mp3_index_with_a_wrong_number_of_frames_cuts_nothing(tmp_path, field):
    """Of 400 frames in place of some 280 (an editor kept the index): its bytes say whether they are all there."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 80000), 8000)
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at + 8 : at + 12] = (400).to_bytes(4, "big")
    if field != "frames":
        data[at + 12 : at + 16] = (2 * len(data)).to_bytes(4, "big")
    path.write_bytes(data)
    assert probe(path).cut == (field != "frames")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.mka", "a.caf", "a.mp3"])
def test_what_follows_the_sound_cuts_nothing(tmp_path, name):
    """Taggers write their tags behind containers that do not know them; cards are filled with zeros."""
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 80000), 8000)
    options = ["-write_xing", "0"] if name == "a.mp3" else []
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", *options, tmp_path / name], check=True)
    data = (tmp_path / name).read_bytes()
    for more in (b"TAG" + b"title".ljust(125, b"\0"), bytes(4096)):
        (tmp_path / name).write_bytes(data + more)
        found = probe(tmp_path / name)
        assert not found.cut and found.duration_s == pytest.approx(10, abs=0.4)


def test_lengths_that_were_never_written_cut_nothing(tmp_path):
    """What SoX writes as AIFF, and ffmpeg as Wave64 and AU, into a pipe."""
    pcm = np.random.default_rng(0).normal(0, 0.1, 8000)
    for name, place, told in (("a.aiff", 4, b"\x7f\x00\x00\x2e"), ("a.w64", 16, b"\xff" * 8), ("a.au", 8, b"\xff" * 4)):
        soundfile.write(tmp_path / name, pcm, 8000)
        data = bytearray((tmp_path / name).read_bytes())
        data[place : place + len(told)] = told
        (tmp_path / name).write_bytes(data)
        assert not probe(tmp_path / name).cut and probe(tmp_path / name).duration_s == 1.0


def test_an_ogg_whose_last_page_is_torn_says_so(tmp_path):
    soundfile.write(tmp_path / "a.ogg", np.random.default_rng(0).normal(0, 0.1, 80000), 8000)
    data = (tmp_path / "a.ogg").read_bytes()
    assert not probe(tmp_path / "a.ogg").cut
    (tmp_path / "a.ogg").write_bytes(data[:-100])
    assert probe(tmp_path / "a.ogg").cut
