# SPDX-License-Identifier: MIT
"""Synthetic speakers: a data set of spoken words, said by the speech synthesizers of the system.

A word detector has to understand people whom it never heard; a few recorded speakers do not teach that. espeak-ng
(formant synthesis, many voices and accents) and flite (diphones and units of recorded people) say each word in many
ways. Training with synthesized speech beside little recorded speech: Lin et al. 2020, arXiv:2002.01322.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cheep.audio import float_to_int16, int16_to_float, read_audio, write_wav
from cheep.config.data import VoicesConfig
from cheep.errors import CheepError
from cheep.files import write_csv
from cheep.parallel import map_each

PROGRAMS = ("espeak-ng", "flite")
METADATA_COLUMNS = ("file", "label", "recording", "recordist", "licence", "attribution", "group", "begin_s", "end_s")
_ODD = re.compile(r"robo|demonic|whisper|croak|fast|kaukovalta|klatt6|storm", re.IGNORECASE)  # no one speaks so
_FLITE_SHARE = 0.2
_BLOCK_S = 0.01
_QUIET_DB = 30.0  # what lies this far below the loudest block, before and after the word, is cut
_TIMEOUT_S = 30


@dataclasses.dataclass(frozen=True)
class Voice:
    """One synthetic speaker: the program, its voice, and espeak-ng's accent."""

    program: str
    name: str
    accent: str = ""

    @property
    def speaker(self) -> str:
        """A name for the speaker; accents of one voice are one speaker."""
        return f"{self.program}-{self.name}"


def find_voices(language: str = "en") -> list[Voice]:
    """Return the voices that this machine can speak ``language`` with, sorted.

    Raises
    ------
    CheepError
        No synthesizer is installed, or none speaks the language.
    """
    present = [program for program in PROGRAMS if shutil.which(program)]
    if not present:
        raise CheepError("no speech synthesizer found: install one (Debian and Ubuntu: apt install espeak-ng flite)")
    found: list[Voice] = []
    if "espeak-ng" in present:
        accents = {name for name, file in _espeak_table(language) if name.startswith(language) and "/mb-" not in file}
        names = {file.partition("/")[2] for _, file in _espeak_table("variant") if " " not in file}
        found += [Voice("espeak-ng", name, accent) for accent in accents for name in names if not _ODD.search(name)]
    if "flite" in present and language.split("-", maxsplit=1)[0] == "en":
        listed = _output(["flite", "-lv"]).decode("utf-8", "replace").partition(":")[2].split()
        found += [Voice("flite", name) for name in listed if not name.endswith("_time")]
    if not found:
        raise CheepError(
            f"language={language!r}: {', '.join(present)} has no voice for it (espeak-ng --voices lists them)"
        )
    return sorted(found, key=dataclasses.astuple)


def say(text: str, voice: Voice, rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Return ``text`` spoken once, with random pitch, speed and level, silence around it cut: (n,) int16."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        if voice.program == "espeak-ng":
            speed, pitch = str(int(rng.integers(110, 221))), str(int(rng.integers(15, 86)))
            command = ["espeak-ng", "-w", str(path), "-v", f"{voice.accent}+{voice.name}", "-s", speed, "-p", pitch]
            _output([*command, "--", text])
        else:
            settings = (
                f"duration_stretch={rng.uniform(0.7, 1.3):.2f}",
                f"int_f0_target_mean={int(rng.integers(80, 241))}",
            )
            options = [part for setting in settings for part in ("--setf", setting)]
            _output(["flite", "-voice", voice.name, *options, "-t", text, "-o", str(path)])
        samples = _trim(int16_to_float(read_audio(path, sample_rate_hz)), sample_rate_hz)
    if not samples.size:
        raise CheepError(f"{voice.speaker}: says nothing for {text!r}: give words that it can read")
    peak = 10 ** (rng.uniform(-24, -3) / 20)
    return float_to_int16(samples * np.float32(peak / np.max(np.abs(samples))))


def synthesize_words(
    words: Sequence[str], folder: Path, config: VoicesConfig, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Fill ``folder`` with ``WORD/NUMBER.wav`` and ``metadata.csv``; return the path of the latter.

    The same words, settings and installed voices give the same files. What exists is not made again.

    Parameters
    ----------
    words : sequence of str
        Each is a label and what is said.

    Raises
    ------
    CheepError
        No words, one that is no folder name, or no synthesizer.
    """
    if not words:
        raise CheepError("no words: give at least one")
    for word in words:
        if not re.fullmatch(r"[^\W_][\w' -]*", word):
            raise CheepError(f"word {word!r}: must be letters and digits (spaces, - and ' inside): it names a folder")
    voices = find_voices(config.language)
    jobs = [(word, number) for word in dict.fromkeys(words) for number in range(config.per_word)]
    work = functools.partial(_one, voices=voices, folder=folder, config=config)
    rows = [outcome.value for outcome in map_each(work, jobs, progress=progress)]
    path = folder / "metadata.csv"
    write_csv(path, METADATA_COLUMNS, rows)
    return path


def _one(job: tuple[str, int], voices: Sequence[Voice], folder: Path, config: VoicesConfig) -> dict[str, object]:
    word, number = job
    key = hashlib.sha256(f"{word}|{number}|{config.to_json()}|{voices}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(key[:8], "little"))
    programs = sorted({voice.program for voice in voices})
    program = programs[int(len(programs) == 2 and rng.random() < _FLITE_SHARE)]
    mine = [voice for voice in voices if voice.program == program]
    voice = mine[int(rng.integers(len(mine)))]
    path = folder / word / f"{key.hex()[:16]}.wav"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, say(word, voice, rng, config.sample_rate_hz), config.sample_rate_hz)
    seconds = (path.stat().st_size - 44) / 2 / config.sample_rate_hz
    return {
        "file": path.relative_to(folder).as_posix(),
        "label": word,
        "recording": path.stem,
        "recordist": voice.speaker,
        "licence": "",
        "attribution": f"synthesized with {voice.program}, voice {voice.name} {voice.accent}".rstrip(),
        "group": voice.speaker,
        "begin_s": "0",
        "end_s": f"{seconds:.3f}",  # a marked stretch: every window of it is an example
    }


def _espeak_table(kind: str) -> list[tuple[str, str]]:
    """(language, file) of espeak-ng's voices; ``--/M`` stands for age and sex, a file name may hold spaces."""
    text = _output(["espeak-ng", f"--voices={kind}"]).decode("utf-8", "replace")
    return re.findall(r"^ *\d+ +(\S+) +\S+ +\S.*? +(\S+/.*?)(?: *\(.*| *)$", text, re.MULTILINE)


def _output(command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise CheepError(f"{command[0]}: {said.decode('utf-8', 'replace').strip()[-200:]}") from None
    return done.stdout


def _trim(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    block = max(1, round(_BLOCK_S * sample_rate_hz))
    if not len(samples):
        return samples
    power = np.add.reduceat(samples.astype(np.float64) ** 2, np.arange(0, len(samples), block))
    loud = np.flatnonzero(power > np.max(power) * 10 ** (-_QUIET_DB / 10))
    return samples[max(0, loud[0] - 1) * block : (loud[-1] + 2) * block] if loud.size else samples[:0]
