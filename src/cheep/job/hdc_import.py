# SPDX-License-Identifier: MIT
"""``cheep hdc import``: a network of anybody's, cut at a layer and quantized, joined with a head of anybody's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cheep.bench.hdc import build_hdc, host_bytes, run_hdc
from cheep.compiler import compile_bytes
from cheep.convert.data import classes_of, load_data
from cheep.convert.exports import render_c_header, render_c_source
from cheep.convert.job import fit_shape
from cheep.convert.load import beside, load_source
from cheep.convert.runtime import accuracy, quantize_as, tflm_outputs
from cheep.convert.schemes import to_scheme
from cheep.convert.stages import check_stages
from cheep.emulator import compiler, qemu
from cheep.errors import CheepError
from cheep.files import write_bytes, write_json
from cheep.hdc.core import CoreHdc
from cheep.hdc.export import METADATA, metadata, render_headers
from cheep.hdc.foreign import Encoding, ForeignHead, load_foreign, quantize_head
from cheep.hdc.model import HdcModel
from cheep.tflite.model import TensorInfo, read_model
from cheep.tflite.tflm import TflmModel

EXTRACTOR = "extractor_int8.tflite"
_CHECKED = 16  # examples on which numpy and the C core must agree bit for bit


@dataclasses.dataclass
class _Embedded:
    """Embeddings of the splits, float and int8, and what they are judged by."""

    floats: dict[str, np.ndarray]
    bytes: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    judged: str
    info: TensorInfo


def import_head(job: dict[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Quantize ``job["network"]`` up to ``job["cut"]``, join ``job["head"]``, write and judge; run in a child process.

    Returns
    -------
    dict
        ``rows`` (step, accuracy, bytes), ``encoding``, ``files``, ``emulated`` (instructions, or why there are none).
    """
    checkpoint = Path(job["checkpoint"]) if job["checkpoint"] else None
    specs = beside(job["network"])
    source = load_source(job["network"], checkpoint, job["trust"], job["cut"])
    data = fit_shape(load_data(Path(job["dataset"]), None, specs), source.input_shape)
    if len(source.output_shape) != 1:
        raise CheepError(f"{source.path}: gives {list(source.output_shape)}; an embedding is a vector (--cut LAYER)")
    say(f"read {source.path} up to {job['cut'] or 'its output'}: embedding of {source.output_shape[0]}")
    head = load_foreign(Path(job["head"]), source.output_shape[0], tuple(specs.get("labels") or data.labels))
    stages = check_stages([*source.stages, ("TensorFlow", source.predict)], data.x["val"][:16])
    say("converting the extractor to int8, embedding all examples in TFLM")
    extractor = to_scheme(source.keras or source.graph, source.input_shape, "int8", data.calibration(256, 1))
    runtime, info = TflmModel(extractor), read_model(extractor).outputs[0]
    found = _Embedded(
        {s: source.predict(x).reshape(len(x), -1) for s, x in data.x.items() if len(x)},
        {s: quantize_as(tflm_outputs(extractor, x, runtime), info) for s, x in data.x.items() if len(x)},
        {s: classes_of(y) for s, y in data.y.items()},
        data.judged,
        info,
    )
    encoding = head.encoding() if job["encoding"] == "auto" else job["encoding"]
    integer, bits = (
        quantize_head(head, encoding, binary, found.bytes["train"], info.scale, info.zero_point)
        for binary in (False, True)
    )
    whole = _float_network(job, checkpoint, data) if job["cut"] else None
    rows = _rows(head, encoding, integer, bits, found, whole, len(extractor))
    chosen = bits if job["binary"] else integer
    sha256 = hashlib.sha256(extractor).hexdigest()
    chosen = dataclasses.replace(chosen, extractor_sha256=sha256)
    examples = found.bytes[found.judged][:_CHECKED]
    _same_as_core(chosen, examples)
    say("running the head on the emulated Cortex-M4F")
    emulated = _emulated(chosen, examples[:2])
    folder = Path(job["folder"])
    described = {"file": EXTRACTOR, "bytes": len(extractor), "sha256": sha256}
    values = metadata(chosen, described, 0, 0, with_table=True)
    compiled = compile_bytes(extractor, "extractor_compiled", source.path)
    files = {
        **{f"generated/{n}": text.encode() for n, text in render_headers(chosen, 0, 0, with_table=True).items()},
        "extractor_compiled.h": compiled.header.encode(),
        "extractor_compiled.c": compiled.source.encode(),
        **_lines(chosen, quantize_as(data.x[found.judged][:_CHECKED], runtime.input_info), examples),
        EXTRACTOR: extractor,
        "extractor.h": render_c_header(extractor, "extractor", runtime.arena_bytes, ()).encode(),
        "extractor.cc": render_c_source(extractor, "extractor").encode(),
    }
    (folder / "generated").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_bytes(folder / name, content)
    write_json(folder / METADATA, values)
    result = {
        "rows": rows, "encoding": encoding, "stages": stages, "judged": found.judged,
        "examples": len(found.y[found.judged]), "bytes": values["bytes"], "arena_bytes": runtime.arena_bytes,
        "placement": values["placement"], "form": chosen.config.form, "emulated": emulated,
    }  # fmt: skip
    write_json(folder / "report.json", result)
    return {**result, "files": [*files, METADATA, "report.json"]}


def _lines(model: HdcModel, inputs: np.ndarray, embeddings: np.ndarray) -> dict[str, bytes]:
    """Return lines for ``firmware/classifier`` (a serial line, or a file), and what it must answer."""
    rows, answers = [], []
    for n, (x, embedding, scores) in enumerate(zip(inputs, embeddings, model.scores(embeddings), strict=True)):
        raw = np.ascontiguousarray(x, np.int8).tobytes()
        rows.append(f"x {raw.hex()} {zlib.crc32(raw):08x}")
        best = int(scores.argmax())
        answer = {"type": "class", "n": n, "class": best, "label": model.labels[best], "score": int(scores[best])}
        answer |= {"second": int(np.delete(scores, best).max()), "embedding": f"{zlib.crc32(embedding.tobytes()):08x}"}
        answers.append(json.dumps(answer, separators=(",", ":")))
    return {"inputs.txt": "\n".join([*rows, ""]).encode(), "answers.jsonl": "\n".join([*answers, ""]).encode()}


def _float_network(job: dict[str, Any], checkpoint: Path | None, data: Any) -> float | None:
    """Return the accuracy of the whole float network, where its outputs are the classes of the data."""
    source = load_source(job["network"], checkpoint, job["trust"]).as_classifier()
    scores = source.predict(data.x[data.judged]).reshape(len(data.x[data.judged]), -1)
    return accuracy(scores, data.y[data.judged]) if scores.shape[1] == len(data.labels) else None


def _rows(
    head: ForeignHead, encoding: Encoding, integer: HdcModel, bits: HdcModel, found: _Embedded, whole: float | None,
    extractor_bytes: int,
) -> list[dict[str, Any]]:  # fmt: skip
    floats, given, y = found.floats[found.judged], found.bytes[found.judged], found.y[found.judged]
    real = (given.astype(np.float32) - found.info.zero_point) * np.float32(found.info.scale)

    def share(scores: np.ndarray) -> float:
        return float(np.mean(scores.argmax(1) == y))

    rows = [{"step": "float network", "accuracy": whole, "bytes": None}] if whole is not None else []
    rows += [
        {"step": "float embedding, float HDC", "accuracy": share(head.scores(floats, encoding)), "bytes": None},
        {"step": "int8 embedding, float HDC", "accuracy": share(head.scores(real, encoding)), "bytes": extractor_bytes},
    ]
    for name, model in ((f"int8 embedding, {integer.config.form} HDC", integer), ("int8 embedding, 1-bit HDC", bits)):
        size = metadata(model, {"bytes": extractor_bytes}, 0, 0, with_table=True)["bytes"]["total"]
        rows.append({"step": name, "accuracy": share(model.scores(given)), "bytes": size})
    return rows


def _same_as_core(model: HdcModel, examples: np.ndarray) -> None:
    core = CoreHdc(model)
    if not np.array_equal(core.encode(examples), model.encode(examples)):
        raise CheepError("the C core's hypervectors differ from numpy's; this is a bug")


def _emulated(model: HdcModel, examples: np.ndarray) -> dict[str, Any]:
    """Run the head on the emulated core; its bytes must be those of numpy."""
    try:
        compiler()
        qemu()
    except CheepError as error:
        return {"skipped": str(error)}
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        here = Path(folder)
        result, made = run_hdc(build_hdc(here, model, with_table=True), examples, here)
    if made != host_bytes(model, examples):
        raise CheepError("the head on the emulated core gives other bytes than here; this is a bug")
    return {key: int(result.values[key]) for key in ("encode", "compare", "classify")}
