# SPDX-License-Identifier: MIT
"""A virtual sound card for tests and measurements: a PulseAudio null sink whose monitor is the microphone.

The listener on it is the real program (``python src/test.py``), and what is played reaches it in real time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SOON = ["nice", "-n", "-15"]  # as desktops run their sound servers; without the right to it, nice goes on without
SCRIPT = Path(__file__).resolve().parents[1] / "src" / "test.py"
SILENCE_S = 0.5  # before the samples: the server may lose the first 30 ms of a stream


class NoSound(Exception):
    """The card does not work, or brings no samples."""


@contextlib.contextmanager
def sound_card(folder: Path, rate_hz: int) -> Iterator[dict[str, str]]:
    """A sound server of our own, its sink at ``rate_hz``, ended afterwards; yields the environment of its users."""
    folder.mkdir(mode=0o700)
    config = folder / "default.pa"
    config.write_text(
        f"load-module module-null-sink sink_name=bird rate={rate_hz} channels=1 format=s16le\n"
        f"load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1\n"
        "set-default-sink bird\nset-default-source bird.monitor\n"
    )
    own = {"XDG_RUNTIME_DIR": str(folder), "PULSE_RUNTIME_PATH": str(folder), "HOME": str(folder)}
    environment = {**os.environ, **own, "PULSE_SERVER": f"unix:{folder}/native"}
    server_environment = {**os.environ, **own}
    server_environment.pop("PULSE_SERVER", None)
    options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=true", "-F", str(config)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([*SOON, "pulseaudio", *options], env=server_environment, stdout=log, stderr=log)
        try:
            for _ in range(100):
                if subprocess.run(["pactl", "info"], env=environment, capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                raise NoSound(f"the sound server does not start: {(folder / 'log').read_text()}")
            yield environment
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)


def hear_ctrl_c() -> None:
    """Hear SIGINT, here and in programs started from here: shells make their background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Listener:
    """``python src/test.py`` on the card; ``lines`` holds its event lines with the moment at which each arrived, s."""

    def __init__(self, model: Path, environment: dict[str, str], folder: Path, *options: str):
        command = [*SOON, sys.executable, str(SCRIPT), "--model", str(model), "--json-lines", "--record", str(folder)]
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, *options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[tuple[float, dict]] = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), json.loads(line)))

    def wait_until_listening(self) -> None:
        """Return once it records; raise NoSound if it has ended or 90 s bring nothing."""
        deadline = time.monotonic() + 90  # importing takes a while on a busy machine
        while time.monotonic() < deadline:
            path = self.folder / "audio.wav"
            if path.is_file() and path.stat().st_size > 8000:
                return
            if self.process.poll() is not None:
                raise NoSound(self.process.stderr.read())
            time.sleep(0.05)
        raise NoSound("no audio arrives")

    def wait_for_audio(self, seconds: float, rate_hz: int) -> None:
        """Return once it has recorded so much more than now; raise NoSound if 60 s do not bring it."""
        path, deadline = self.folder / "audio.wav", time.monotonic() + 60
        wanted = path.stat().st_size + 2 * round(seconds * rate_hz)
        while path.stat().st_size < wanted:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise NoSound("the audio ends")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        """Processor time of the process and its threads so far, user and system, s (Linux)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> tuple[int, str]:
        """Press Ctrl-C; return exit status and messages."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self.thread.join(5)
        return code, self.process.stderr.read()

    def kill(self) -> None:
        """End it whatever it does; harmless after :meth:`end`."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join()

    def ended_events(self) -> list[dict]:
        """The event lines of events that are over."""
        return [event for _, event in self.lines if event["state"] == "end"]

    def summary(self) -> dict:
        """What it wrote into ``session.json``."""
        return json.loads((self.folder / "session.json").read_text())


def play(pcm: np.ndarray, rate_hz: int, environment: dict[str, str]) -> float:
    """Play (n,) int16 in real time; return the earliest moment of its first sample (the card itself is later)."""
    options = ["--raw", f"--rate={rate_hz}", "--channels=1", "--format=s16le", "--latency-msec=1000", "--device=bird"]
    lead = round(SILENCE_S * rate_hz)
    pcm = np.concatenate([np.zeros(lead, np.int16), pcm])
    player = subprocess.Popen([*SOON, "pacat", *options], env=environment, stdin=subprocess.PIPE)
    began = time.monotonic()
    for first in range(0, len(pcm), 400):
        wait = began + first / rate_hz - 1.5 - time.monotonic()  # 1.5 s ahead, so that it never runs dry
        time.sleep(max(0.0, wait))
        player.stdin.write(pcm[first : first + 400].tobytes())
        player.stdin.flush()
    player.stdin.close()
    player.wait(10)
    return began + SILENCE_S


def locate(heard: np.ndarray, pcm: np.ndarray) -> int:
    """Offset of ``pcm`` in ``heard``, samples, by correlation (robust against another rate's rounding)."""
    size = 1 << (len(heard) + len(pcm)).bit_length()
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(pcm.astype(float), size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard)]))
