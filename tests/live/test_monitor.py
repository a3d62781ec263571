# SPDX-License-Identifier: MIT
"""The serial monitor: garbage, garbled bytes, lost connections, logs."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
import tty
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from cheep.boards.host import HostApplication
from cheep.cli import main
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.live import serial_port
from cheep.live.monitor import Monitor, check_boot, describe
from cheep.live.serial_lines import MAX_LINE_BYTES, LineReader, with_checksum
from cheep.live.view_board import BoardView
from tone_model import tones, write_tone_run

BOOT = {"type": "boot", "board": "esp32", "model": "0123abcd", "features": "0x00000007", "sample_rate_hz": 8000}


def event(number, state="start"):
    return {"type": "event", "state": state, "label": f"bird {number % 7}", "start_s": number / 8, "end_s": number / 4,
            "score": 0.5}  # fmt: skip


def stream(count):
    return [BOOT, *(event(i, "start" if i % 2 else "end") for i in range(count))]


@pytest.mark.parametrize("chunk", [1, 3, 64, 100000])
def test_a_clean_stream_is_read_whole_in_any_chunks(chunk):
    messages = stream(50)
    data = b"ets Jul 29 2019 12:21:46\r\nrst:0x1\r\n" + b"".join(with_checksum(item) for item in messages)
    reader, got = LineReader(), []
    for first in range(0, len(data), chunk):
        got += reader.feed(data[first : first + chunk])
    assert got == messages
    assert reader.counts.intact == 51 and reader.counts.damaged == 0 and reader.counts.other_bytes == 31


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.001, 0.05])
def test_garbled_bytes_every_intact_line_is_used_and_nothing_invented(rate, seed):
    rng = np.random.default_rng(seed)
    lines = [with_checksum(item) for item in stream(4000)]
    data = np.frombuffer(b"".join(lines), np.uint8).copy()
    hit = rng.random(len(data)) < rate
    data[hit] = rng.integers(0, 256, hit.sum())
    data = data.tobytes()
    expected, at = [], 0
    for line in lines:
        body = line.rstrip(b"\n")  # the line end may be garbled: the line itself is intact
        if data[at : at + len(body)] == body:
            expected.append(json.loads(body.rsplit(b',"crc"', 1)[0] + b"}"))
        at += len(line)
    reader, got = LineReader(), []
    at = 0
    while at < len(data):
        size = int(rng.integers(1, 300))
        got += reader.feed(data[at : at + size])
        at += size
    assert got == expected
    assert 0 < len(got) < len(lines) and reader.counts.damaged > 0


def test_digits_that_change_into_digits_are_not_believed():
    line = with_checksum(event(4))
    assert LineReader().feed(line.replace(b'"score":0.5', b'"score":0.9')) == []
    assert LineReader().feed(b'{"type":"event","state":"start","label":"x"}\n') == []  # no checksum at all


def test_endless_garbage_takes_no_memory():
    reader = LineReader()
    for _ in range(200):
        reader.feed(b'{"type":' * 1000)
    assert len(reader._rest) <= MAX_LINE_BYTES
    reader.feed(b"\n")
    assert reader.feed(with_checksum(BOOT)) == [BOOT]


def test_what_the_application_prints_is_understood(tmp_path):
    run = write_tone_run(tmp_path / "run")
    application = HostApplication(load_export(run))
    pcm = tones([(1, 2, "low")], 70)
    lines = [*application.lines(), *application.run(pcm), *application.finish()]
    application.close()
    got = LineReader().feed("\n".join([*lines, ""]).encode())
    assert [item["type"] for item in got] == ["boot", "event", "event", "stats"]
    export = load_export(run)
    assert check_boot(got[0], export.sha256, export.features.hash32) is None
    assert "upload again" in check_boot(got[0], "f" * 64, export.features.hash32)
    assert "feature settings" in check_boot(got[0], export.sha256, 1)
    assert "self-check passed" in describe(got[0]) and "low" in describe(got[1]) and "windows" in describe(got[3])
    assert "card" not in describe({**got[3], "lost_rows": 0, "damaged_clips": 0})
    assert "card: 2 rows lost, 0 clips damaged" in describe({**got[3], "lost_rows": 2, "damaged_clips": 0})


def test_monitor_logs_csv_and_json_lines(tmp_path, capsys):
    shown = []
    for _ in range(2):  # a second session appends
        monitor = Monitor(shown.append, tmp_path / "log.csv", tmp_path / "log.jsonl")
        monitor.feed(b"".join(with_checksum(item) for item in stream(4)))
        monitor.close()
    assert monitor.events == {"bird 1": 1, "bird 3": 1} and monitor.boot == BOOT and len(shown) == 10
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert len(rows) == 10 and rows[1]["label"] == "bird 0" and rows[1]["score"] == "0.5" and rows[0]["type"] == "boot"
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in line.items() if k != "received"} for line in lines[:5]] == stream(4)
    with pytest.raises(CheepError, match="cannot be written"):
        Monitor(shown.append, tmp_path / "no" / "log.csv")


def test_view_shows_board_events_and_counters():
    out = io.StringIO()
    with BoardView("/dev/ttyX", Console(file=out, force_terminal=True, width=100, height=30)) as view:
        view.message(BOOT)
        view.message(event(3))
        view.message({"type": "stats", "t_s": 60, "windows": 240})
        view.message({"type": "microphone", "state": "silent", "t_s": 61.5, "reason": "nothing but zeros"})
        view.note("/dev/ttyX: connection lost")
        view.refresh(LineReader().counts)
    shown = out.getvalue()
    silent = "microphone: silent at 61.5 s: nothing but zeros"
    for words in ("/dev/ttyX", "self-check passed", "bird 3", "240 windows", "connection lost", silent):
        assert words in shown


def test_trouble_goes_from_the_view_when_it_is_over():
    view = BoardView("/dev/ttyX")
    view.message({"type": "slow", "t_s": 0, "every": 2, "window_ms": 400, "stride_ms": 250})
    view.message({"type": "microphone", "state": "failing", "t_s": 1, "reason": "x"})
    assert [text.split(":")[0] for text in view._trouble.values()] == ["TOO SLOW", "microphone"]
    view.message({"type": "microphone", "state": "heard", "t_s": 2, "reason": ""})
    assert [kind for kind, text in view._trouble.items() if text] == ["slow"]
    view.message(BOOT)
    assert not view._trouble


class FakeBoard:
    """A pseudo terminal as serial port, behind a name that survives unplugging."""

    def __init__(self, link: Path):
        self.link = link
        self.plug()

    def plug(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.link.symlink_to(os.ttyname(self.slave))

    def unplug(self):
        self.link.unlink()
        os.close(self.slave)
        os.close(self.master)

    def say(self, *messages):
        for message in messages:
            os.write(self.master, with_checksum(message))


def test_the_command_reads_a_port_and_reconnects(tmp_path):
    board = FakeBoard(tmp_path / "ttyUSB0")
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-m", "cheep", "monitor", str(board.link), "--jsonl", str(log)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    said = []
    readers = [
        threading.Thread(target=lambda: lines.extend(process.stdout)),
        threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, ""))),
    ]
    for reader in readers:
        reader.start()

    def wait_until(happened):
        deadline = time.monotonic() + 60
        while not happened():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)

    def wait_for(count):
        wait_until(lambda: len(log.read_text().splitlines()) >= count)

    try:
        wait_until(lambda: "listening" in "".join(said))
        board.say(BOOT, event(1))
        wait_for(2)
        board.unplug()
        wait_until(lambda: "connection lost" in "".join(said))
        board.plug()
        wait_until(lambda: "back" in "".join(said))
        board.say(BOOT, event(2), event(3))
        wait_for(5)
    finally:
        process.send_signal(2)
        process.wait(60)
        for reader in readers:
            reader.join()
    message = "".join(said)
    assert process.returncode == 0
    assert "connection lost" in message and "back" in message and "5 lines" in message
    assert sum("bird" in line for line in lines) == 3


def test_standard_input_serves_too(tmp_path):
    data = b"".join(with_checksum(item) for item in stream(3)) + b"nonsense\n"
    command = [sys.executable, "-m", "cheep", "monitor", "-", "--json-lines"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(command, input=data, env=environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == stream(3)
    assert b"4 lines" in done.stderr and b"8 other bytes" in done.stderr


def ports(*items):
    return [SimpleNamespace(device=d, description="x", vid=v, pid=p) for d, v, p in items]


def test_ports_are_found_or_asked_for(monkeypatch, capsys):
    import serial.tools.list_ports as tools

    for found, words in [
        ((), "no board found"),
        ((("/dev/ttyS0", None, None),), "other ports: /dev/ttyS0"),
        ((("/dev/a", 0x10C4, 0xEA60), ("/dev/b", 0x303A, 0x1001)), "several boards"),
    ]:
        monkeypatch.setattr(tools, "comports", lambda found=found: ports(*found))
        with pytest.raises(CheepError, match=words):
            serial_port.find_port(None)
    monkeypatch.setattr(tools, "comports", lambda: ports(("/dev/s", None, None), ("/dev/a", 0x1A86, 0x7523)))
    assert serial_port.find_port(None) == "/dev/a" and serial_port.find_port("/dev/x") == "/dev/x"
    assert main("monitor", ["--list-ports"]) == 0
    assert "/dev/a  x  CH340" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("[Errno 13] Permission denied", "dialout"),
        ("[Errno 16] Device or resource busy", "used by another program"),
        ("[Errno 2] No such file", "ports here"),
    ],
)
def test_a_port_that_does_not_open_says_what_to_do(monkeypatch, error, words):
    import serial

    def fail(*args, **options):
        raise serial.SerialException(error)

    monkeypatch.setattr(serial, "Serial", fail)
    with pytest.raises(CheepError, match=words):
        serial_port.open_serial("/dev/ttyUSB9")
