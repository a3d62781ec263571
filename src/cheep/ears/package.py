# SPDX-License-Identifier: MIT
"""Models that the package ``birdnet`` finds, checks and, when told to, downloads."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

from cheep.ears.about import APACHE, BIRDNET_2_4
from cheep.errors import CheepError

GET_COMMAND = "cheep ears get"


class Packaged(NamedTuple):
    """A model of the package: what its papers say, and how the package loads it."""

    name: str
    version: str
    licence: str
    module: str
    downloader: str
    available: tuple[Any, ...]
    load: tuple[Any, ...]


PACKAGED = {
    "birdnet": Packaged(
        "birdnet", "2.4", BIRDNET_2_4, "birdnet.acoustic.models.v2_4.tf", "AcousticTFDownloaderV2_4", ("fp32",),
        ("acoustic", "2.4", "tf"),
    ),
    "birdnet:3.0": Packaged(
        "birdnet", "3.0", BIRDNET_2_4, "birdnet.acoustic.models.v3_0.onnx", "AcousticOnnxDownloaderV3_0", ("fp32",),
        ("acoustic", "3.0", "onnx"),
    ),
    "perch": Packaged(
        "perch", "2", APACHE, "birdnet.acoustic.models.perch_v2.pb", "AcousticPBDownloaderPerchV2", ("CPU",), ()
    ),
}  # fmt: skip


class Files(NamedTuple):
    """Where a model lies, its labels, and its rate in Hz."""

    file: Path
    labels: tuple[str, ...]
    sample_rate_hz: int


def packaged_files(name: str, download: bool = False) -> Files:
    """Return the files of a packaged model.

    Raises
    ------
    CheepError
        The package is missing, or the model is not on this machine and ``download`` is off.
    """
    what = PACKAGED[name]
    try:
        birdnet = importlib.import_module("birdnet")
        module = importlib.import_module(what.module)
    except ImportError:
        raise CheepError(
            f"{name}: needs the package birdnet: pip install birdnet (tested: requirements-ears.txt); or name files: "
            "FILE,LABELS"
        ) from None
    if not download and not _is_here(module, what):
        raise CheepError(
            f"{name}: its files are not on this machine, and nothing is downloaded unasked: {GET_COMMAND} {name} "
            f"({what.licence}), or name files that are here: FILE,LABELS"
        )
    try:
        model = birdnet.load(*what.load) if what.load else birdnet.load_perch_v2(*what.available)
    except Exception as error:  # of requests, zipfile, the package's own
        raise CheepError(f"{name}: the package birdnet cannot load it: {str(error).splitlines()[0]}") from None
    return Files(Path(model.model_path), tuple(model.species_list), int(model.get_sample_rate()))


def is_here(name: str) -> bool:
    """Are the files of a packaged model on this machine?"""
    try:
        return _is_here(importlib.import_module(PACKAGED[name].module), PACKAGED[name])
    except ImportError:
        return False


def _is_here(module: Any, what: Packaged) -> bool:
    downloader = getattr(module, what.downloader, None)
    check = getattr(downloader, "_check_acoustic_model_available", None)  # the package has no public question for it
    return bool(check and check(*what.available))
