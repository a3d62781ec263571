# SPDX-License-Identifier: MIT
"""What recorders write of a recording, in its texts and its name."""

import struct
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from cheep.datasets.recorders import RecorderFacts, facts_of_name, parse_guano, parse_wamd, read_facts
from recorder_files import chunk, moth, put, wav

UTC = timezone.utc
EAST = timezone(timedelta(hours=10))
CLOCK = datetime(2024, 6, 1, 5, 0, 0)
PCM = np.ones(800, "<i2")


@pytest.mark.parametrize(
    ("name", "time", "device"),
    [
        ("20240601_050000.WAV", CLOCK, ""),  # AudioMoth
        ("20240601_050000T.WAV", CLOCK, ""),  # triggered
        ("24F3190261F38D1F_20240601_050000.WAV", CLOCK, "24F3190261F38D1F"),
        ("665AABC0.WAV", datetime(2024, 6, 1, 5, 4, tzinfo=UTC), ""),  # old AudioMoth
        ("SMA01234_20240601_050000.wav", CLOCK, "SMA01234"),  # Song Meter Mini
        ("RIDGE-2_0+1_20240601_050000.wav", CLOCK, "RIDGE-2"),  # Song Meter 4, stereo
        ("RIDGE_20240601$050000.wav", CLOCK, "RIDGE"),
        ("S1101_20240601_050000.flac", CLOCK, "S1101"),  # Swift
        ("20240601T050000+1000_REC.flac", CLOCK.replace(tzinfo=EAST), ""),  # BAR-LT
        ("2024-06-01T05-00-00Z.ogg", CLOCK.replace(tzinfo=UTC), ""),
        ("SwiftOne_20240601_050000_+1000.wav", CLOCK.replace(tzinfo=EAST), "SwiftOne"),
        ("20240601_050000-0002.wav", CLOCK, ""),  # a number, no zone
        ("5147.240601050000.wav", CLOCK, "5147"),  # SoundTrap
        ("2024-06-01-birdnet-05:00:00.mp3", CLOCK, ""),  # BirdNET-Pi
        ("20240601050000.wav", CLOCK, ""),
        ("1234567890123456.wav", None, ""),
        ("5147.241301050000.wav", None, ""),
        ("20240601.wav", None, ""),  # a date alone, and no hexadecimal time
        ("20241301_050000.wav", None, ""),
        ("12345678_9.wav", None, ""),
    ],
)
def test_names(name, time, device):
    facts = facts_of_name(name)
    assert (facts.time, facts.device) == (time, device)
    assert facts.time_source == ("name" if time else "")


def test_a_name_with_a_place():
    facts = facts_of_name("S20240601T050000.5+1000_E20240601T055957+1000_-27.4698+153.0251.wav")
    assert facts.time == CLOCK.replace(microsecond=500000, tzinfo=EAST)
    assert (facts.latitude, facts.longitude, facts.device) == (-27.4698, 153.0251, "")


def test_the_text_counts_before_the_name(tmp_path):
    facts = read_facts(put(tmp_path / "SITE_20200101_000000.wav", moth(PCM)))
    assert facts.time == CLOCK.replace(tzinfo=UTC) and facts.time_source == "audiomoth"
    assert (facts.device, facts.gain, facts.battery_v, facts.temperature_c) == ("24F3190261F38D1F", "medium", 4.2, 9.5)
    facts = read_facts(put(tmp_path / "SITE_20240601_050000.wav", wav(PCM)))
    assert (facts.time, facts.device) == (CLOCK, "SITE")


def test_guano():
    text = (
        "GUANO|Version: 1.0\nMake: Open Acoustic Devices\nSerial:24BBD608\nTimestamp:2024-06-01T05:00:00+10:00\n"
        "Loc Position:-27.4698 153.0251\nOAD|Recording Settings:48000 GAIN 2 LGR\nOAD|Battery Voltage:4.8\n"
        "Temperature Int:-3.5"
    )
    assert parse_guano(text) == RecorderFacts(
        "24BBD608", CLOCK.replace(tzinfo=EAST), "guano", "setting 2", 4.8, -3.5, -27.4698, 153.0251
    )
    assert parse_guano("Timestamp: 2024-06-01 05:00:00").time == CLOCK
    assert parse_guano("Timestamp: yesterday\nLoc Position: 95 0") == RecorderFacts()


def test_wamd(tmp_path):
    def entry(kind, text):
        return struct.pack("<HI", kind, len(text)) + text + (struct.pack("<HI", 0xFFFF, 0) if len(text) % 2 else b"")

    body = entry(0, b"\1\0") + entry(1, b"SM4") + entry(2, b"S4A01234") + entry(4, b"RIDGE")
    body += entry(5, b"2024-06-01 05:00:00.123+10:00") + entry(6, b"WGS84, 27.4698, S, 153.0251, E, 20")
    body += entry(0x15, b"21.50C")
    path = put(tmp_path / "x.wav", wav(PCM, before=chunk(b"wamd", body)))
    assert read_facts(path) == RecorderFacts(
        "S4A01234", CLOCK.replace(microsecond=123000, tzinfo=EAST), "wamd", "", None, 21.5, -27.4698, 153.0251, "RIDGE"
    )
    for end in range(len(body)):  # cut anywhere: what is whole is read
        parse_wamd(body[:end])


def test_a_broadcast_wav_has_its_time_in_bext(tmp_path):
    head = b"\0" * 256 + b"TASCAM DR-40X".ljust(32, b"\0") + b"\0" * 32
    told = wav(PCM, before=chunk(b"bext", head + b"2024-06-0105:00:00" + b"\0" * 264))
    facts = read_facts(put(tmp_path / "DR0001.wav", told))
    assert (facts.time, facts.time_source) == (CLOCK, "bext")
    assert read_facts(put(tmp_path / "b.wav", wav(PCM, before=chunk(b"bext", b"\0" * 602)))).time is None


def test_a_clock_that_nobody_set_is_no_time(tmp_path):
    unset = moth(PCM).replace(b"05:00:00 01/06/2024", b"00:00:12 01/01/1970")
    facts = read_facts(put(tmp_path / "19700101_000012.WAV", unset))
    assert facts.time is None and facts.device and "clock was not set" in facts.problem
    assert read_facts(put(tmp_path / "20240601_050000.WAV", unset)).time == CLOCK  # renamed by someone who knew


@pytest.mark.parametrize("kind", [b"HydroMoth", b"MicroMoth"])
def test_kin_of_the_audiomoth(tmp_path, kind):
    facts = read_facts(put(tmp_path / "a.WAV", moth(PCM).replace(b"AudioMoth", kind)))
    assert facts.time == CLOCK.replace(tzinfo=UTC) and facts.device == "24F3190261F38D1F"


def test_an_impossible_header_is_said_and_the_name_counts(tmp_path):
    damaged = moth(PCM).replace(b"battery was 4.2V", b"battery was 9999")
    facts = read_facts(put(tmp_path / "20240601_050000.WAV", damaged.replace(b"05:00:00 01/06", b"05:00:00 41/06")))
    assert "41/06" in facts.problem
    assert facts.time == CLOCK and facts.time_source == "name"
    zero_rate = bytearray(moth(PCM))
    zero_rate[24:28] = b"\0\0\0\0"
    assert "sample rate of 0" in read_facts(put(tmp_path / "20240601_060000.WAV", bytes(zero_rate))).problem
