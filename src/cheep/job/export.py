# SPDX-License-Identifier: MIT
"""From an int8 model to the C files that a firmware is built from: written, or compared with what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from cheep import runs
from cheep.boards.budget import check_compiled, check_model
from cheep.boards.data import find_board
from cheep.compiler import DEFAULT_PREFIX, Compiled, compile_model
from cheep.config import DetectorConfig
from cheep.device.bundle import ModelBundle, find_model, load_bundle
from cheep.ears.papers import NOTICE, not_for_sale, notice, papers_of_model
from cheep.errors import GateError
from cheep.export import (
    VERIFY_FILES,
    ExportModel,
    check_files,
    generated_folder,
    load_export,
    render_detector_settings,
    render_golden_window,
    render_headers,
    render_mel_filter_bank,
    render_model_source,
    render_networks,
    write_files,
)
from cheep.export.library import render_arduino, render_idf_component
from cheep.files import read_json, write_json

CONVERT_COMMAND = "cheep model-convert"
FRONT_END_COMMAND = "cheep mel-filter-bank"
FRONT_END = "mel_filter_bank.h"
FLASHED = ("audiomoth", "esp32", "esp32s3")  # what cheep upload flashes


@dataclasses.dataclass(frozen=True)
class Exported:
    """Files that are now (or were already) those of a model; ``changed`` are those that had to be written.

    ``refused``: why boards with a firmware of their own cannot hold it, by their name.
    """

    folder: Path
    files: tuple[str, ...]
    changed: frozenset[str]
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)


def export_model(
    model: str | Path | None, folder: Path | None = None, check: bool = False
) -> tuple[ExportModel, Exported]:
    """Write what the firmware knows of a model: its facts, bytes, thresholds and the window of the boot check.

    Parameters
    ----------
    model : str or Path, optional
        Run or ``.tflite`` file; default: the latest run.
    folder : Path, optional
        Default: the generated files of the firmware.
    check : bool
        Compare instead of writing.

    Raises
    ------
    GateError
        ``check``, and a file is missing or differs.
    """
    export = load_export(model)
    files = {**render_headers(export), "model.cc": render_model_source(export)}
    del files[FRONT_END]
    files |= _notice(export)
    if export.verifier is None and not check:
        for name in VERIFY_FILES:
            ((folder or generated_folder()) / name).unlink(missing_ok=True)
    return export, bring(files, folder, CONVERT_COMMAND if check else "")


def export_front_end(
    model: str | Path | None, folder: Path | None = None, check: bool = False
) -> tuple[ModelBundle, Exported]:
    """Write the front end's tables of a model's feature settings; parameters and errors as :func:`export_model`."""
    bundle = load_bundle(model)
    files = {FRONT_END: render_mel_filter_bank(bundle.features, bundle.model.sha256)}
    return bundle, bring(files, folder, FRONT_END_COMMAND if check else "")


def export_library(
    model: str | Path | None,
    folder: Path,
    form: Literal["arduino", "idf-component"],
    name: str = "",
    check: bool = False,
) -> tuple[ExportModel, Exported]:
    """Write the C core with a model, its network compiled, as a library of another build system.

    Parameters
    ----------
    model : str or Path, optional
        Run or ``.tflite`` file; default: the latest run.
    folder : Path
        To write; its name is the library's unless ``name`` is given.
    check : bool
        Compare instead of writing.

    Raises
    ------
    CheepError
        The compiler refuses the network, or the name cannot be a library's.
    GateError
        ``check``, and a file is missing or differs.
    """
    export = load_export(model)
    compiled = compile_model(export.bundle.path)
    render = render_arduino if form == "arduino" else render_idf_component
    files = {**render(export, compiled, name or folder.resolve().name), **_notice(export)}
    return export, bring(files, folder, f"cheep export --{form} {folder}" if check else "")


def warning_of(export: ExportModel) -> str:
    """Return what a licence forbids of a model that another one judged or taught, or ""."""
    return not_for_sale(papers_of_model(export.bundle.model.metadata))


def _notice(export: ExportModel) -> dict[str, str]:
    papers = papers_of_model(export.bundle.model.metadata)
    return {NOTICE: notice(papers)} if papers else {}


def compile_network(
    model: str | Path | None,
    folder: Path | None = None,
    *,
    prefix: str = DEFAULT_PREFIX,
    board: str | None = None,
    check: bool = False,
) -> tuple[Path, Compiled, Exported]:
    """Compile a model to C; return its path, what the compiler knows of it, and the files.

    Raises
    ------
    GateError
        It does not fit the ``board``; or ``check``, and a file is missing or differs.
    """
    path = find_model(model)
    detector = None
    if model is None or Path(model) != path:  # a run: a detector, which no board takes with too many labels
        detector = load_bundle(path)
    compiled = compile_model(path, prefix)
    if board:
        check_compiled(compiled, find_board(board), detector)
    files = {f"{prefix}.c": compiled.source, f"{prefix}.h": compiled.header}
    if detector is not None and detector.verifier is not None:
        files = render_networks(load_export(path))
    exported = bring(files, folder, "cheep compile" if check else "")
    if detector is not None:
        exported = dataclasses.replace(exported, refused=_refused(compiled, detector))
    return path, compiled, exported


def _refused(compiled: Compiled, detector: ModelBundle) -> dict[str, str]:
    reasons = {}
    for name in FLASHED:
        try:
            check_compiled(compiled, find_board(name), detector)
        except GateError as error:
            reasons[name] = str(error)
    return reasons


def deploy(
    run: Path, folder: Path, *, compiled: bool = False, threshold: float | None = None, board: str | None = None
) -> list[Path]:
    """Write all that a firmware needs of a run's model into ``folder``; return the files.

    Parameters
    ----------
    compiled : bool
        The network as C, too.
    threshold : float, optional
        Of every label that makes events; default: the model's own.
    board : str, optional
        Refuse a model that does not fit it.
    """
    if board:
        check_model(board, run / runs.INT8_TFLITE)
    if threshold is not None:
        manifest = read_json(run / runs.MANIFEST, runs.QAT_COMMAND)
        thresholds = [None if t is None else threshold for t in manifest["detector"]["threshold"]]
        detector = DetectorConfig.parse({**manifest["detector"], "threshold": thresholds}, "deploy.threshold")
        write_json(run / runs.MANIFEST, {**manifest, "detector": detector.to_dict()})
    made = [export_model(run, folder)[1], export_front_end(run, folder)[1]]
    if compiled:
        made.append(compile_network(run, folder)[2])
    return sorted(folder / name for part in made for name in part.files)


def renew_thresholds(bundle: ModelBundle, folder: Path | None = None) -> Path | None:
    """Render ``detector_settings.h`` again where the generated headers are of this very model; return its path.

    With it ``golden_window.h``, which holds what the detector of these settings gives at boot.
    """
    folder = folder or generated_folder()
    model = folder / "model.h"
    if not model.is_file() or bundle.model.sha256[:16] not in model.read_text(encoding="utf-8").splitlines()[0]:
        return None
    export = load_export(bundle.path)
    files = {"detector_settings.h": render_detector_settings(export), "golden_window.h": render_golden_window(export)}
    write_files(folder, files)
    return folder / "detector_settings.h"


def bring(files: Mapping[str, str], folder: Path | None, made_by: str) -> Exported:
    """Write generated files; or, with the command that makes them (``made_by``), compare them."""
    folder = folder or generated_folder()
    if made_by:
        check_files(folder, files, made_by)
        return Exported(folder, tuple(files), frozenset())
    return Exported(folder, tuple(files), frozenset(path.name for path in write_files(folder, files)))
