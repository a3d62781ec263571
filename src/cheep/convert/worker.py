# SPDX-License-Identifier: MIT
"""Conversions in a process of their own: a converter that crashes takes nothing of the user's with it.

The child works in a folder beside the output; the parent moves finished files into place.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep.errors import CheepError, GateError
from cheep.isolated import call_isolated


def run_isolated(job: dict[str, Any], output: Path, on_line: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Run ``job`` (see :func:`work`) in a child process; return its result, its files being in ``output``.

    Raises
    ------
    CheepError, GateError
        What the child reported; or that it crashed, with the signal and the last lines that it wrote.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", suffix=".part", dir=output.parent) as folder:
        subject = f"the conversion of {job['input'] or job['step']}"
        result = call_isolated("cheep.convert.worker:work", {**job, "folder": folder}, subject, on_line)
        output.mkdir(parents=True, exist_ok=True)
        for name in result["files"]:
            target = output / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(str(Path(folder) / name), str(target))
        return result


def work(job: dict[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """Convert ``job["input"]`` in every configuration of ``job["configs"]``.

    Returns
    -------
    dict
        ``variants`` (one dict each), ``files`` (relative to ``job["folder"]``), ``stages``, ``refused``.
    """
    from cheep.convert import job as jobs
    from cheep.convert.config import ConvertConfig

    folder = Path(job["folder"])
    if job.get("streaming"):
        if ".py:" not in job["input"]:
            from cheep.convert.streaming_detector import convert_detector

            return convert_detector(job, folder, say)
        from cheep.convert.streaming_job import convert_pair

        return convert_pair(job, folder, say)
    if job.get("step"):
        from cheep.convert.step_job import convert_steps

        return convert_steps(job, folder, say)
    configs = [ConvertConfig.parse(values, "options") for values in job["configs"]]
    checkpoint = Path(job["checkpoint"]) if job.get("checkpoint") else None
    chosen = (checkpoint, job["trust"], job.get("task", "auto"), job.get("cut", ""))
    source, data, specs = jobs.load_all(job["input"], Path(job["dataset"]), configs[0].seed, *chosen)
    say(
        f"read {source.path} ({source.kind}), input {source.input_shape}; "
        + ", ".join(f"{len(x)} {name}" for name, x in data.x.items())
        + f" examples, judged on {data.judged}"
    )
    stages = stage_rows(source, data)
    variants, files, refused = [], [], []
    for config in configs:
        say(f"converting: {config.name}")
        try:
            variant = jobs.convert(source, data, config)
        except GateError:
            raise
        except CheepError as error:
            if len(configs) == 1:
                raise
            refused.append({"name": config.name, "reason": str(error)})
            continue
        if job.get("measure"):
            from cheep.convert.measure import instructions

            variant.instructions = instructions(variant.model, variant.notes)
        sub = folder / config.name if len(configs) > 1 else folder
        sub.mkdir(exist_ok=True)
        written = jobs.write_exports(variant, data, specs, sub, job["stem"], job["export"])
        files += [str(path.relative_to(folder)) for path in written]
        variants.append(variant)
        jobs.check_loss(variant, job.get("max_loss"))
    result: dict[str, Any] = {
        "variants": [v.to_dict() for v in variants],
        "refused": refused,
        "stages": stages,
        "judged": data.judged,
        "examples": len(data.x[data.judged]),
    }
    if job.get("sensitivity"):
        from cheep.convert.sensitivity import layer_sensitivity

        say("sensitivity: one layer at a time in int8")
        result["sensitivity"] = layer_sensitivity(source, data, configs[0])
    if job.get("plot"):
        from cheep.convert.plot import plot_variants

        (folder / "results.svg").write_text(plot_variants(result), encoding="utf-8")
        files.append("results.svg")
    (folder / "results.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    result["files"] = [*files, "results.json"]
    return result


def stage_rows(source: Any, data: Any) -> list[dict[str, Any]]:
    """Return the agreement of each form of the network with the one before; CheepError names the first that departs."""
    if not source.stages:
        return []
    from cheep.convert.stages import check_stages

    x = data.x["val"][:32]
    return check_stages([*source.stages, ("TensorFlow", source.predict)], x)
