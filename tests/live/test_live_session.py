# SPDX-License-Identifier: MIT
"""The listening loop, views and recorder over replayed files; device errors over a stand-in for PortAudio."""

import io
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from rich.console import Console

from cheep.audio import read_audio, write_wav
from cheep.cli import main
from cheep.device import Engine
from cheep.errors import CheepError
from cheep.live.devices import find_input, list_inputs
from cheep.live.recorder import GrowingWav, LastSeconds
from cheep.live.session import Session, Status
from cheep.live.sources import Block, FileSource, MicrophoneSource
from cheep.live.view import EngineView, TerminalView
from tone_model import FEATURES, LABELS, tones, write_tone_run

SPANS = [(2, 3.5, "high"), (5, 7, "low"), (9, 9.8, "high")]
RATE = FEATURES.sample_rate_hz


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("tone"))


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("wav") / "tones.wav"
    write_wav(path, tones(SPANS, 12), RATE)
    return path


class Blocks:
    """A source of given blocks."""

    name, device_rate_hz, dropped = "blocks", RATE, 0

    def __init__(self, blocks):
        self._blocks, self.closed = blocks, False

    def blocks(self):
        yield from self._blocks

    def close(self):
        self.closed = True


def block(pcm):
    return Block(pcm, time.monotonic())


@pytest.mark.parametrize("speed", [0, 40])
def test_a_replayed_file_gives_the_offline_events(run, wav, speed):
    offline = Engine(run).run(read_audio(wav, RATE))
    seen = []
    feed = SimpleNamespace(step=lambda pcm, result, status: seen.extend(e for e in result.events if e.ended))
    session = Session(Engine(run), FileSource(wav, RATE, speed), [feed])
    session.run()
    assert seen == offline and len(seen) == 3
    summary = session.summary()
    assert summary["events"] == {"high": 2, "low": 1} and summary["audio_s"] == 12.0
    assert summary["dropped_blocks"] == 0
    assert summary["latency_median_ms"] is None and summary["times_real_time"] > 5, "nothing is late in a replay"


def test_a_replay_takes_its_time(run, wav):
    began = time.monotonic()
    Session(Engine(run), FileSource(wav, RATE, 10), []).run()
    assert time.monotonic() - began > 1.1


def test_a_replay_uses_little_of_a_core(run, wav):
    """Front end, network, detector and level: at least 50 s of audio in a second of one core."""
    pcm = np.tile(tones(SPANS, 12), 5)
    blocks = [block(pcm[i : i + 400]) for i in range(0, len(pcm), 400)]  # as small as a sound card's
    began = time.process_time()
    Session(Engine(run), Blocks(blocks), []).run()
    assert len(pcm) / RATE / (time.process_time() - began) > 50


def test_the_source_is_closed_and_running_events_end_on_interruption(run):
    pcm = tones([(1, 9, "low")], 4)

    def interrupted():
        yield block(pcm)
        raise KeyboardInterrupt

    source, ended = Blocks(interrupted()), []
    feed = SimpleNamespace(step=lambda pcm, result, status: ended.extend(e for e in result.events if e.ended))
    with pytest.raises(KeyboardInterrupt):
        Session(Engine(run), source, [feed]).run()
    assert source.closed and [e.label for e in ended] == ["low"]


def test_the_limit_in_seconds_is_exact(run):
    engine = Engine(run)
    Session(engine, Blocks([block(np.zeros(1000, np.int16)) for _ in range(50)]), [], seconds=2.5).run()
    assert engine.samples == 20000


def test_space_pauses_r_saves_q_ends(run, tmp_path):
    pressed = iter(["", " ", "", " ", "r", "q"])
    engine, saved = Engine(run), []
    source = Blocks([block(np.full(800, i, np.int16)) for i in range(1, 9)])
    session = Session(engine, source, [], lambda: next(pressed), lambda key: saved.append(key) or f"saved {key}")
    session.run()
    # 1 taken, 2 and 3 paused, 4 and 5 taken, ended at the sixth
    assert engine.samples == 3 * 800 and saved == ["r"] and session.status.message == "saved r"


def test_latency_counts_what_lies_behind_a_window(run, monkeypatch):
    monkeypatch.setattr("cheep.live.session.time.monotonic", lambda: 100.1)
    late = Block(np.zeros(FEATURES.window_samples + 400, np.int16), 100.0)  # its last sample 0.1 s ago
    session = Session(Engine(run), Blocks([late]), [])
    session.run()
    assert session.status.latency_s == pytest.approx(0.1 + 0.05)
    assert session.summary()["latency_worst_ms"] == 150.0


def test_silence_clipping_and_drops_are_counted(run):
    source = Blocks([block(np.zeros(8000, np.int16))] * 4 + [block(np.array([32767, 1, -32768], np.int16))])
    source.dropped = 2
    session = Session(Engine(run), source, [])
    seen = []
    session._observers.append(SimpleNamespace(step=lambda pcm, result, status: seen.append(status.silent_s)))
    session.run()
    assert max(seen) == 4.0 and session.status.clipped == 2 and session.status.dropped == 2


def test_terminal_view_shows_level_spectrogram_scores_and_log(run, wav):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=160, height=40, color_system="truecolor")
    engine = Engine(run)
    with TerminalView("title here", LABELS, FEATURES.n_mels, (None, 0.6, 0.6), console) as view:
        Session(engine, FileSource(wav, RATE, 0), [EngineView(view, engine)]).run()
    text = out.getvalue()
    for words in ("title here", "dBFS", "▀", "background", "high", "1.75 -      3.98 s", "space pause"):
        assert words in text
    assert "latency" not in text
    view.refresh(Status(latency_s=0.031, dropped=7, clipped=3, silent_s=5, paused=True), force=True)
    console.print(view)
    for words in ("latency 31 ms", "dropped 7", "clipped 3", "only zeros", "PAUSED"):
        assert words in out.getvalue()


def test_terminal_view_costs_little(run):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, height=50, color_system="256")
    view = TerminalView("t", LABELS, FEATURES.n_mels, (None, 0.6, 0.6), console)
    view.columns(np.random.default_rng(1).integers(-128, 0, (512, FEATURES.n_mels)).astype(np.int8))
    began = time.process_time()
    for _ in range(10):
        console.print(view)
    assert (time.process_time() - began) / 10 < 0.1  # noise is the worst case; 5 pictures a second


def test_plain_listening_prints_a_line_per_event(run, wav, capsys):
    assert main("listen", ["--model", str(run), "--wav", str(wav), "--speed", "0", "--plain"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6 and "high  0.996" in out
    assert "2 high, 1 low" in err and "0 blocks dropped" in err


def test_json_lines_are_one_object_per_event(run, wav, capsys):
    assert main("listen", ["--model", str(run), "--wav", str(wav), "--speed", "0", "--json-lines"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["start", "end"] * 3
    assert {line["type"] for line in lines} == {"event"}


def test_a_recorded_session_can_be_run_again_to_the_same_events(run, wav, tmp_path, capsys):
    folder = tmp_path / "session"
    arguments = ["--model", str(run), "--wav", str(wav), "--speed", "0", "--record", str(folder), "--plain"]
    assert main("listen", arguments) == 0
    live, told = capsys.readouterr()
    assert f"cheep test {folder / 'audio.wav'} --model {run})" in told  # not with the latest run of that day
    assert np.array_equal(read_audio(folder / "audio.wav", RATE), read_audio(wav, RATE))
    again = Engine(run).run(read_audio(folder / "audio.wav", RATE))
    rows = (folder / "events.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1:4] for row in rows] == [[f"{e.start_s:.3f}", f"{e.end_s:.3f}", e.label] for e in again]
    assert all(f"{e.start_s:.2f}" in live for e in again)
    assert (
        len((folder / "scores.csv").read_text().splitlines())
        == 1 + Engine(run).push(tones(SPANS, 12)).windows[-1].index + 1
    )
    session = json.loads((folder / "session.json").read_text())
    assert session["windows"] == 45 and session["events"] == {"high": 2, "low": 1}
    assert session["feature_hash"] == f"0x{FEATURES.hash32:08x}"


def test_the_last_ten_seconds_are_saved_with_what_the_detector_said(run, tmp_path):
    engine, pcm = Engine(run), tones(SPANS, 12)
    last = LastSeconds(engine, 10)
    for first in range(0, len(pcm), 333):
        part = pcm[first : first + 333]
        last.add(part, engine.push(part))
    path = last.save(tmp_path / "saved")
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], pcm[-80000:])
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["session_start_s"] == 2.0
    ends = [e for e in about["events"] if e["state"] == "end"]
    assert [e["label"] for e in ends] == ["high", "low", "high"]
    assert ends[1]["clip_start_s"] == pytest.approx(ends[1]["start_s"] - 2)
    assert len(about["windows"][0]["scores"]) == 3


def test_a_growing_wav_is_readable_while_it_grows(tmp_path):
    wav = GrowingWav(tmp_path / "a.wav", RATE)
    wav.write(np.arange(100, dtype=np.int16))
    wav.flush()
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], np.arange(100))
    wav.write(np.arange(100, dtype=np.int16))
    wav.close()
    assert len(soundfile.read(tmp_path / "a.wav")[0]) == 200


# --- device errors -------------------------------------------------------------------------------------------------


class PortAudioError(Exception):
    pass


def fake_portaudio(monkeypatch, devices=1, fail=None, blocks=(), dies=False):
    """Stand in for sounddevice: ``devices`` inputs, opening fails with ``fail``, else gives ``blocks``."""

    class Stream:
        def __init__(self, callback, blocksize, **options):
            if fail:
                raise fail
            self.callback, self.active = callback, True

        def start(self):
            for data in blocks:
                self.callback(data, len(data) // 2, None, None)
            self.active = not dies

        def abort(self):
            raise PortAudioError("gone", -9988)

        def close(self):
            pass

    inputs = [
        {"name": f"USB mic {i}", "hostapi": 0, "max_input_channels": 1, "default_samplerate": 48000.0}
        for i in range(devices)
    ]
    output = {"name": "speaker", "hostapi": 0, "max_input_channels": 0, "default_samplerate": 48000.0}
    module = SimpleNamespace(
        PortAudioError=PortAudioError,
        RawInputStream=Stream,
        query_devices=lambda: [output, *inputs],
        query_hostapis=lambda: [{"name": "ALSA"}],
        default=SimpleNamespace(device=(1 if devices else -1, 0)),
    )
    monkeypatch.setitem(__import__("sys").modules, "sounddevice", module)


def test_no_device_says_what_to_do(run, monkeypatch, capsys):
    fake_portaudio(monkeypatch, devices=0)
    assert list_inputs() == []
    assert main("test", ["--model", str(run)]) == 2
    assert "no microphone" in (err := capsys.readouterr().err) and "plug one in" in err and "--wav" in err
    assert main("listen", ["--list-devices"]) == 2


def test_devices_are_listed_and_found(monkeypatch, capsys):
    fake_portaudio(monkeypatch, devices=2)
    assert main("listen", ["--list-devices"]) == 0
    assert "*  1  USB mic 0  (ALSA, 1 ch, 48000 Hz)" in capsys.readouterr().out
    assert find_input(None).index == 1 and find_input("2").name == "USB mic 1" and find_input("mic 1").index == 2
    with pytest.raises(CheepError, match="2 inputs match"):
        find_input("usb")
    with pytest.raises(CheepError, match="did you mean 'USB mic 1'"):
        find_input("USB mik 1")
    with pytest.raises(CheepError, match="no such input"):
        find_input("0")  # an output


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PortAudioError("Invalid sample rate", -9997), "leave --rate away"),
        (PortAudioError("Device unavailable", -9985), "close the program that uses it"),
        (PortAudioError("Unanticipated host error", -9999), "try another --device"),
        (PortAudioError("Invalid device", -9996), "list-devices shows inputs"),
        (OSError("Permission denied"), "privacy settings"),
    ],
)
def test_a_device_that_does_not_open_says_what_to_do(run, monkeypatch, capsys, error, words):
    fake_portaudio(monkeypatch, fail=error)
    assert main("test", ["--model", str(run), "--rate", "7"]) == 2
    assert words in capsys.readouterr().err


def test_missing_portaudio_says_what_to_install(monkeypatch):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(__import__("sys").modules, "sounddevice", raising=False)
    monkeypatch.setattr("sys.meta_path", [Missing()])
    with pytest.raises(CheepError, match="apt-get install libportaudio2"):
        list_inputs()


@pytest.mark.parametrize("dies", [True, False])
def test_unplugged_in_the_middle(run, monkeypatch, dies):
    half = (np.arange(24000) % 100).astype(np.int16).tobytes()
    fake_portaudio(monkeypatch, blocks=[half] * 4, dies=dies)
    engine = Engine(run)
    source = MicrophoneSource(RATE, stall_s=0.3)
    with pytest.raises(CheepError, match="unplugged"):
        Session(engine, source, []).run()
    assert 2 * RATE - 1200 < engine.samples <= 2 * RATE  # what came before was used, resampled from 48 kHz


def test_a_full_queue_drops_blocks_and_counts_them(monkeypatch):
    fake_portaudio(monkeypatch, blocks=[b"\0\0" * 2400] * 130)
    source = MicrophoneSource(RATE)
    source.open()
    assert source.dropped == 30


def test_negative_speed_is_refused(wav, run, capsys):
    assert main("listen", ["--model", str(run), "--wav", str(wav), "--speed", "-1"]) == 2
    assert "--speed -1" in capsys.readouterr().err
    assert main("listen", ["--model", str(run), "--seconds", "0"]) == 2
