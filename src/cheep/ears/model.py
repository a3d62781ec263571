# SPDX-License-Identifier: MIT
"""Another model's ears: which one is meant, where its files are, and what it hears in windows of sound."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import numpy as np

from cheep.config import nearest_name
from cheep.config.data import plain_name
from cheep.ears.about import KNOWN_WINDOWS, OWN, About
from cheep.ears.own import own_runner
from cheep.ears.package import PACKAGED, packaged_files
from cheep.ears.runners import Heard, OnnxRunner, Runner, TfliteRunner, digest_of, to_probability
from cheep.ears.saved_model import SavedModelRunner
from cheep.errors import CheepError

SPEC_HELP = (
    f"{', '.join(PACKAGED)}; FILE,LABELS[,RATE] (.tflite, .onnx or SavedModel, and a name per line); the folder of "
    "YAMNet's SavedModel; or a detector of Cheep's (run, .tflite, .h5)"
)


class Ears:
    """A model that gives scores and embeddings for windows of sound. Pickles as what it was opened with.

    Parameters
    ----------
    spec : str
        ``birdnet`` (or ``birdnet:2.4``, ``birdnet:3.0``, ``perch``), whose files the package ``birdnet`` has, or
        ``FILE,LABELS`` with an optional rate in Hz; the folder of a SavedModel that holds its labels; a detector of
        the project (a run, its ``.tflite`` or its ``.h5``).

    Raises
    ------
    CheepError
        No such model, files that are not there (nothing is downloaded here), or that do not fit each other.
    """

    file: Path
    about: About
    _runner: Runner

    def __init__(self, spec: str) -> None:
        self.spec = spec
        own = None if "," in spec or spec in PACKAGED else own_runner(spec)
        if own is not None:
            self.file, self._runner = own.file, own
            self.about = About(
                own.file.stem, "", digest_of(own.file), OWN, own.sample_rate_hz, own.samples / own.sample_rate_hz,
                own.labels,
            )  # fmt: skip
            return
        self.file, labels, rate, named = _meant(spec)
        self._runner = open_runner(self.file, len(labels))
        samples = self._runner.samples
        known = KNOWN_WINDOWS.get(samples)
        if rate is None and known is None:
            raise CheepError(
                f"{self.file}: a window of {samples} samples at an unknown rate; say it: FILE,LABELS,RATE in Hz"
            )
        if named is None and known is not None and rate in (None, known[0]):
            named = known[1:]
        hz = rate or (known[0] if known else 0)
        name, version, licence = named or (self.file.stem, "", "unknown")
        self.about = About(name, version, digest_of(self.file), licence, hz, samples / hz, labels)

    def __reduce__(self) -> tuple[type[Ears], tuple[str]]:
        return Ears, (self.spec,)

    @property
    def key(self) -> str:
        """What its results are kept under: its name and the beginning of its digest."""
        return f"{self.about.name}-{self.about.version or 'own'}-{self.about.sha256[:12]}"

    def hear(self, windows: np.ndarray) -> Heard:
        """Return scores and embeddings of windows, (n, samples) float32 in -1..1 at the model's rate.

        Scores are (n, labels) float32 probabilities, embeddings (n, d) float32.

        Raises
        ------
        ValueError
            Windows of another length.
        """
        if windows.shape[1:] != (self._runner.samples,):
            raise ValueError(f"windows {windows.shape}: must be (n, {self._runner.samples})")
        found = [self._runner.run(window) for window in windows]
        if not found:
            return Heard(np.zeros((0, len(self.about.labels)), np.float32), np.zeros((0, 0), np.float32))
        return Heard(to_probability(np.stack([raw for raw, _ in found])), np.stack([item for _, item in found]))


def open_runner(path: Path, n_labels: int) -> Runner:
    """Open a ``.tflite``, an ``.onnx`` or a SavedModel folder.

    Raises
    ------
    CheepError
        It is none of them, or what goes in or comes out does not fit.
    """
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return SavedModelRunner(path, n_labels)
    if path.suffix == ".tflite":
        return TfliteRunner(path, n_labels)
    if path.suffix == ".onnx":
        return OnnxRunner(path, n_labels)
    raise CheepError(f"{path}: must be a .tflite, an .onnx, or the folder of a SavedModel")


@functools.lru_cache(maxsize=2)
def ears_of(spec: str) -> Ears:
    """Return the ears that a text names; opened once a process."""
    return Ears(spec)


def read_labels(path: Path) -> tuple[str, ...]:
    """Return the labels of a model: a name per line, or the column of names of a CSV (``display_name``, ``labels``).

    Raises
    ------
    CheepError
        The file cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CheepError(f"{path}: cannot be read as a labels file ({error})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise CheepError(f"{path}: is empty: must have a label per line")
    header = [name.strip().lower() for name in lines[0].split(",")]
    for name in ("display_name", "labels", "label", "scientific_name", "inat2024_fsd50k"):
        if name in header:
            rows = list(csv.reader(lines[1:]))
            return tuple(row[header.index(name)].strip() for row in rows)
    return tuple(lines)


def places_of(names: list[str], labels: tuple[str, ...]) -> list[int]:
    """Return where the labels are that people call ``names``: whole, or either half of BirdNET's "scientific_common".

    Capitals, hyphens and underscores do not matter.

    Raises
    ------
    CheepError
        A name is none of the labels.
    """
    known: dict[str, int] = {}
    for place, label in enumerate(labels):
        for part in (label, *label.split("_", 1)):
            known.setdefault(plain_name(part), place)
    out = []
    for name in names:
        if (plain := plain_name(name)) not in known:
            parts = [part.lower() for label in labels for part in label.split("_", 1)]
            raise CheepError(f"{name!r}: none of the model's {len(labels)} labels{nearest_name(name.lower(), parts)}")
        out.append(known[plain])
    return out


def _labels_inside(folder: Path) -> Path | None:
    """Return the labels file among the assets of a SavedModel."""
    if not (folder / "saved_model.pb").is_file():
        return None
    return next(iter(sorted((folder / "assets").glob("*class*.csv"))), None)


def _meant(spec: str) -> tuple[Path, tuple[str, ...], int | None, tuple[str, str, str] | None]:
    """Return file, labels, rate and (name, version, licence); None: the text does not say it."""
    if spec in PACKAGED:
        what, found = PACKAGED[spec], packaged_files(spec)
        return found.file, found.labels, found.sample_rate_hz, (what.name, what.version, what.licence)
    if (labels := _labels_inside(Path(spec))) is not None:
        return Path(spec), read_labels(labels), None, None
    if spec == "yamnet":
        raise CheepError(
            "yamnet: give the folder of its SavedModel (saved_model.pb and assets/yamnet_class_map.csv, as TensorFlow "
            "Hub has it), or FOLDER,LABELS"
        )
    parts = [part.strip() for part in spec.split(",")]
    if len(parts) == 2 and all(parts):
        return Path(parts[0]), read_labels(Path(parts[1])), None, None
    if len(parts) == 3 and all(parts) and parts[2].isdigit() and int(parts[2]):
        return Path(parts[0]), read_labels(Path(parts[1])), int(parts[2]), None
    raise CheepError(f"{spec!r}: must be {SPEC_HELP}{nearest_name(spec, PACKAGED)}")
