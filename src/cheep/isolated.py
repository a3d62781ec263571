# SPDX-License-Identifier: MIT
"""Work in a process of its own: native code that crashes on a damaged file takes nothing of the user's with it."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep.errors import CheepError, GateError
from cheep.files import write_text

_MARK = "cheep: "


def call_isolated(
    target: str, job: dict[str, Any], subject: str, on_line: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Run ``target(job, say)`` in a child process and return its result.

    Parameters
    ----------
    target : ``"module:function"`` of two arguments: the job, and a function that takes a line of progress.
    job : JSON-able.
    subject : what a crash is blamed on, for the message ("the conversion of net.onnx").
    on_line : called with each line of progress.

    Raises
    ------
    CheepError, GateError
        What the child reported; or that it crashed, with the signal and the last lines that it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="cheep-job-") as folder:
        result_path = Path(folder) / "result.json"
        (Path(folder) / "job.json").write_text(json.dumps(job), encoding="utf-8")
        environment = dict(os.environ)
        source = str(Path(__file__).resolve().parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [source, environment.get("PYTHONPATH", "")]))
        command = [sys.executable, "-m", "cheep.isolated", target, folder]
        with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as errors:
            # The child ends when its input does: with this process, however that ends.
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
            try:
                for line in child.stdout or ():
                    if on_line and line.startswith(_MARK):
                        on_line(line[len(_MARK) :].rstrip())
                status = child.wait()
            except BaseException:
                child.terminate()
                child.wait()
                raise
            errors.seek(0)
            tail = [line for line in errors.read().splitlines() if line.strip()][-3:]
        if not result_path.is_file():
            raise CheepError(
                f"{subject} crashed ({_status(status)}); nothing was written. "
                f"Last words: {' | '.join(tail)[-600:] or 'none'}"
            )
        result = json.loads(result_path.read_text(encoding="utf-8"))
    if "error" in result:
        raise (GateError if result.get("gate") else CheepError)(result["error"])
    return result["value"]


def _status(status: int) -> str:
    if status < 0:
        try:
            return signal.Signals(-status).name
        except ValueError:
            return f"signal {-status}"
    return f"exit status {status}"


def _end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, also while native code holds the interpreter."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    if sys.platform == "linux":
        die_with_parent = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(die_with_parent, signal.SIGKILL)


def main() -> int:
    """Run the job of a folder; leave ``result.json`` in it."""
    _end_with_parent()
    target, folder = sys.argv[1], Path(sys.argv[2])
    module, function = target.split(":")
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    result: dict[str, Any]
    try:
        work = getattr(importlib.import_module(module), function)
        result = {"value": work(job, lambda text: sys.stdout.write(f"{_MARK}{text}\n") and sys.stdout.flush())}
    except CheepError as error:
        result = {"error": str(error), "gate": isinstance(error, GateError)}
    except MemoryError:
        result = {"error": "needs more memory than this machine has; is the file damaged?", "gate": False}
    write_text(folder / "result.json", json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
