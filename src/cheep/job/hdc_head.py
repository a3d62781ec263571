# SPDX-License-Identifier: MIT
"""The hyperdimensional head of a run: trained, exported, studied."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cheep import runs
from cheep.bench.hdc import measure
from cheep.emulator import compiler, qemu
from cheep.errors import CheepError
from cheep.files import read_json, write_json
from cheep.hdc.config import HdcConfig
from cheep.hdc.export import METADATA, load_head, metadata, render_headers
from cheep.hdc.extractor import write_extractor
from cheep.hdc.model import HdcModel
from cheep.job.export import Exported, bring
from cheep.job.hdc_study import Study, against_examples, against_hyper, join, steps, train_head

FOLDER = "hdc"  # of the run
EXTRACTOR = "extractor_int8.tflite"
HYPER = (256, 512, 1024, 2048, 4096, 8192)
EXAMPLES = (1, 5, 10, 20)
MAX_CLASSES = 64


def train_run_head(
    run: Path, study: Study, config: HdcConfig, slots: int = 4, with_table: bool = False
) -> tuple[HdcModel, dict[str, Any]]:
    """Train a head on a run's embeddings and keep it with its extractor in ``hdc``; return it and what is kept of it.

    Parameters
    ----------
    slots : int
        Classes that the device can learn.
    with_table : bool
        The projection as a table in the firmware.
    """
    with runs.working_in(run):
        model = train_head(study, config)
        stride = read_json(run / runs.MANIFEST, runs.QAT_COMMAND)["detector"]["stride_frames"]
        sha256 = write_extractor(run / FOLDER, EXTRACTOR, study.extractor, study.features, stride)
        model = dataclasses.replace(model, extractor_sha256=sha256)
        described = {"file": EXTRACTOR, "bytes": (run / FOLDER / EXTRACTOR).stat().st_size, "sha256": sha256}
        values = metadata(model, described, study.features.hash32, slots, with_table)
        write_json(run / FOLDER / METADATA, values)
    return model, values


def export_head(
    run: Path, folder: Path | None = None, *, slots: int | None = None, with_table: bool = False, check: bool = False
) -> Exported:
    """Write the head's headers, or compare them (``check``); ``slots``: default as it was trained.

    Raises
    ------
    GateError
        ``check``, and a file is missing or differs.
    """
    model, values = load_head(run / FOLDER)
    slots = values["learning"]["slots"] if slots is None else slots
    if not 0 <= slots <= MAX_CLASSES - len(model.labels):
        most = MAX_CLASSES - len(model.labels)
        raise CheepError(f"--slots {slots}: must be 0..{most} ({MAX_CLASSES} classes in all)")
    with_table = with_table or values["learning"]["with_table"]
    files = render_headers(model, int(values["feature_hash"], 16), slots, with_table)
    return bring(files, folder, "cheep hdc export" if check else "")


def study_head(
    run: Path, study: Study, config: HdcConfig, draws: int, count: Callable[[HdcModel, bool], int] | None
) -> tuple[dict[str, Any], int]:
    """Return what each step of a head costs, and what H and few examples do; kept in ``hdc/report.json``.

    The second value is the fewest clips of a class, the most examples that can be drawn. ``count`` counts the
    instructions of one classification (:func:`instruction_counter`).
    """
    found = {"steps": steps(study, config, count), "hyper": against_hyper(study, config, HYPER)}
    drawn = join(study.splits["train"], study.splits["val"])
    fewest = min(len(set(drawn.clip[drawn.target == c].tolist())) for c in range(len(study.labels)))
    usable: Sequence[int] = [n for n in EXAMPLES if n <= fewest]
    found["examples"] = against_examples(study, config, usable, draws) if usable else []
    write_json(run / FOLDER / "report.json", found)
    return found, fewest


def instruction_counter(study: Study) -> Callable[[HdcModel, bool], int]:
    """Return what counts the instructions of one classification on the emulated Cortex-M4F.

    Raises
    ------
    CheepError
        The emulator or its compiler is missing.
    """
    compiler()
    qemu()
    example = study.splits["test"].embedding[:1]

    def count(model: HdcModel, with_table: bool) -> int:
        with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
            return measure(Path(folder), model, example, with_table=with_table)["classify"]

    return count
