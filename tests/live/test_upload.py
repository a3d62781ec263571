# SPDX-License-Identifier: MIT
"""Uploading: headers checked, PlatformIO run, the board's self-check awaited. PlatformIO and board are stand-ins."""

import json
import os
import threading
import tty
from pathlib import Path

import pytest

from cheep.boards.host import HostApplication
from cheep.cli import main
from cheep.errors import CheepError, GateError
from cheep.export import load_export, write_files
from cheep.live import upload
from cheep.live.serial_lines import with_checksum
from tone_model import write_tone_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("tone"))


@pytest.fixture(scope="module")
def export(run):
    return load_export(run)


@pytest.fixture(scope="module")
def boot_line(export):
    """The boot line of the application itself, as any board prints it."""
    application = HostApplication(export)
    line = application.lines()[0].encode() + b"\n"
    application.close()
    return line


@pytest.fixture
def generated(tmp_path, monkeypatch):
    folder = tmp_path / "generated"
    folder.mkdir()
    monkeypatch.setattr(upload, "generated_folder", lambda: folder)
    return folder


def feeder(*chunks):
    waiting = list(chunks)
    return lambda: waiting.pop(0) if waiting else b""


def clock():
    now = [0.0]

    def tick():
        now[0] += 0.5
        return now[0]

    return tick


def test_targets_are_the_environments_of_the_projects():
    known = upload.targets()
    assert {"esp32", "esp32s3", "esp32-compiled", "audiomoth", "audiomoth-tflm"} <= set(known)
    compiled = {name for name, target in known.items() if target.compiled}
    assert compiled == {
        "esp32-compiled",
        "esp32-pioarduino",
        "esp32c3",
        "esp32c6",
        "esp32p4",
        "esp32s3",
        "esp32s3-pdm",
        "esp32-hdc",
        "esp32s3-hdc",
        "esp32-mqtt",
        "esp32s3-mqtt",
        "esp32s3-sd",
        "audiomoth",
        "audiomoth-card",
        "audiomoth-hdc",
    }
    assert known["audiomoth"].compiled and not known["audiomoth"].serial and known["esp32"].serial
    with pytest.raises(CheepError, match="did you mean 'esp32s3'"):
        upload.find_target("esp32-s3")


@pytest.mark.parametrize(
    ("chip", "name", "refused"),
    [
        ("ESP", "esp32", "cheep upload esp32-compiled"),
        ("ESP", "esp32s3-tflm", "cheep upload esp32s3"),
        ("ESP32S3", "esp32s3-tflm", "cheep upload esp32s3"),
        ("ESP32S3", "esp32", None),
        ("ESP", "esp32s3", None),
        ("ESP", "audiomoth-tflm", None),
    ],
)
def test_what_a_chips_kernels_cannot_run_is_refused(export, generated, monkeypatch, chip, name, refused):
    monkeypatch.setattr("cheep.export.bundle.refused_on_esp", lambda graph: {chip: "4 groups of channels"})
    target = upload.find_target(name)
    write_files(generated, upload.expected_files(export, target))
    if refused is None:
        upload.check_generated(export, target)
        return
    with pytest.raises(GateError, match=f"{name}: 4 groups of channels.*{refused}"):
        upload.check_generated(export, target)


def test_headers_of_another_model_are_refused(export, generated):
    for name in ("esp32", "esp32-compiled"):
        target = upload.find_target(name)
        with pytest.raises(GateError, match="missing"):
            upload.check_generated(export, target)
        files = upload.expected_files(export, target)
        write_files(generated, files)
        upload.check_generated(export, target)
    header = generated / "detector_settings.h"
    header.write_text(header.read_text().replace("1", "2", 1))
    with pytest.raises(GateError, match=r"detector_settings.h: differs(.|\n)*model-convert"):
        upload.check_generated(export, target)


def test_a_board_that_computes_the_same_is_believed(export, boot_line):
    garbage = b"rst:0x1 (POWERON_RESET)\r\n"
    boot = upload.wait_for_boot(feeder(garbage, boot_line[:20], boot_line[20:]), export)
    assert boot["model"] == export.sha256[:8]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"type": "error", "stage": "frontend", "reason": "the columns differ"}, "front end does not compute"),
        ({"type": "error", "stage": "golden", "reason": "the scores differ"}, "does not give the scores"),
        ({"type": "error", "stage": "model", "reason": "arena too small"}, "stage model: arena too small"),
        ({"type": "boot", "model": "00000000", "features": "0x0"}, "upload again"),
    ],
)
def test_a_board_that_differs_is_not(export, message, words):
    with pytest.raises(GateError, match=words):
        upload.wait_for_boot(feeder(with_checksum(message)), export, clock=clock())


@pytest.mark.parametrize(("heard", "words"), [(b"", "nothing was heard"), (b"hello\n", "none of Cheep's")])
def test_a_silent_board_is_reported(export, heard, words):
    with pytest.raises(GateError, match=words):
        upload.wait_for_boot(feeder(heard), export, 5, clock())


class Board:
    """A pseudo terminal that says its boot line again and again."""

    def __init__(self, line):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.port, self._slave = os.ttyname(slave), slave
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._talk, args=(line,))
        self._thread.start()

    def _talk(self, line):
        while not self._end.wait(0.2):
            os.write(self.master, line)

    def close(self):
        self._end.set()
        self._thread.join()
        os.close(self.master)
        os.close(self._slave)


def fake_pio(tmp_path, monkeypatch, status=0):
    log, script = tmp_path / "pio.json", tmp_path / "pio.py"
    script.write_text(f"import json, sys\njson.dump(sys.argv[1:], open({str(log)!r}, 'w'))\nsys.exit({status})\n")
    monkeypatch.setenv("CHEEP_PIO", f"python3 {script}")
    return log


def test_the_command_from_headers_to_self_check(run, export, boot_line, generated, tmp_path, monkeypatch, capsys):
    write_files(generated, upload.expected_files(export, upload.find_target("esp32")))
    log = fake_pio(tmp_path, monkeypatch)
    board = Board(boot_line)
    try:
        assert main("upload", ["esp32", "--model", str(run), "--port", board.port]) == 0
    finally:
        board.close()
    called = json.loads(log.read_text())
    assert called[0] == "run" and called[-2:] == ["--upload-port", board.port]
    assert called[called.index("-e") + 1] == "esp32" and Path(called[2]).name == "esp32"
    assert "equal this machine's" in capsys.readouterr().out


def test_failures_end_with_status_1_and_the_next_step(run, export, generated, tmp_path, monkeypatch, capsys):
    assert main("upload", ["esp32", "--model", str(run), "--port", "/dev/null"]) == 1  # no headers
    assert "model-convert" in capsys.readouterr().err
    write_files(generated, upload.expected_files(export, upload.find_target("esp32")))
    fake_pio(tmp_path, monkeypatch, 3)
    assert main("upload", ["esp32", "--model", str(run), "--port", "/dev/null"]) == 1
    assert "BOOT button" in capsys.readouterr().err
    write_files(generated, upload.expected_files(export, upload.find_target("audiomoth")))
    assert main("upload", ["audiomoth", "--model", str(run)]) == 1
    assert "USB/OFF" in capsys.readouterr().err
    fake_pio(tmp_path, monkeypatch, 0)
    assert main("upload", ["audiomoth", "--model", str(run)]) == 0
    out = capsys.readouterr().out
    assert "self-check" in out and "uploaded." in out


def test_only_check_uploads_nothing_and_does_not_say_so(
    run, export, boot_line, generated, tmp_path, monkeypatch, capsys
):
    log = fake_pio(tmp_path, monkeypatch)
    write_files(generated, upload.expected_files(export, upload.find_target("audiomoth")))
    assert main("upload", ["audiomoth", "--model", str(run), "--only-check"]) == 0
    out = capsys.readouterr().out
    assert "generated files: those of" in out and "nothing uploaded" in out and "uploaded." not in out
    write_files(generated, upload.expected_files(export, upload.find_target("esp32")))
    board = Board(boot_line)
    try:
        assert main("upload", ["esp32", "--model", str(run), "--port", board.port, "--only-check"]) == 0
    finally:
        board.close()
    out = capsys.readouterr().out
    assert "self-check passed" in out and "uploaded" not in out
    assert not log.exists()
