# SPDX-License-Identifier: MIT
"""Build the page's folder: compile the application and the model to WebAssembly, copy the page."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cheep.errors import CheepError
from cheep.export import ExportModel, load_export
from cheep.files import write_bytes, write_json
from cheep.resources import include_dir, package_file, source_dir

PAGE_FILES = ("index.html", "style.css", "app.js", "draw.js", "worker.js", "resample.js", "capture.js")
WASM = "cheep.wasm"
MODEL = "model.json"
_FLAGS = (
    "-std=c11", "-O3", "-ffp-contract=off", "-ffreestanding", "-nostdlib", "-fvisibility=hidden",
    "-Wall", "-Wextra", "-Werror", "-DCHEEP_BACKEND_COMPILED=1",
)  # fmt: skip
_LINK = ("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=65536")


@functools.cache
def find_wasm_compiler() -> tuple[str, ...]:
    """Return a C compiler command that makes WebAssembly: ``$CHEEP_WASM_CC``, clang with lld, or ziglang.

    Raises
    ------
    CheepError
        None is found; the message says what to install.
    """
    given = os.environ.get("CHEEP_WASM_CC")
    candidates = [tuple(given.split())] if given else []
    names = ["clang", *(f"clang-{version}" for version in range(22, 11, -1))]
    candidates += [(name, "--target=wasm32") for name in names]
    if importlib.util.find_spec("ziglang"):
        candidates.append((sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding"))
    for command in candidates:
        if (shutil.which(command[0]) or Path(command[0]).is_file()) and _links(command):
            return command
    raise CheepError(
        "no compiler for WebAssembly: clang with lld is needed (apt-get install clang lld, or pip install ziglang, "
        "or set CHEEP_WASM_CC)"
    )


def _links(command: tuple[str, ...]) -> bool:
    with tempfile.TemporaryDirectory(prefix="cheep-") as folder:
        source = Path(folder) / "a.c"
        source.write_text('__attribute__((export_name("one"))) int one(void) { return 1; }\n')
        arguments = [*command, "-nostdlib", "-Wl,--no-entry", str(source), "-o", str(Path(folder) / "a.wasm")]
        return subprocess.run(arguments, check=False, capture_output=True).returncode == 0


def build_wasm(export: ExportModel) -> bytes:
    """Compile the firmware's application with this model to a WebAssembly module; the same input, the same bytes.

    Raises
    ------
    CheepError
        No compiler, or a model that the compiler of models refuses.
    """
    from cheep.boards.host import application_sources
    from cheep.export import render_headers, render_networks

    networks = render_networks(export)
    command = find_wasm_compiler()
    with tempfile.TemporaryDirectory(prefix="cheep-") as name:
        folder = Path(name)
        (folder / "generated").mkdir()
        for file, text in render_headers(export).items():
            (folder / "generated" / file).write_text(text, encoding="utf-8")
        for file, text in networks.items():
            (folder / file).write_text(text, encoding="utf-8")
        wasm = package_file("web", "wasm")
        compiled = [folder / file for file in networks if file.endswith(".c")]
        sources = [*_needed(application_sources()), *compiled, wasm / "web_host.c"]
        target = folder / WASM
        includes = [f"-I{path}" for path in (folder, include_dir(), wasm, source_dir())]
        arguments = [*command, *_FLAGS, *_LINK, *includes, *map(str, sources), "-o", str(target)]
        done = subprocess.run(arguments, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise CheepError(f"WebAssembly: {command[0]} failed:\n{done.stderr.strip()[:4000]}")
        return target.read_bytes()


def _needed(sources: list[Path]) -> list[Path]:
    return [path for path in sources if not path.name.startswith("cheep_hdc")]


def build_page(source: str | os.PathLike | None, folder: str | os.PathLike) -> Path:
    """Write the static page for a model (run folder, ``.tflite``, or None: the latest run); return ``index.html``.

    The folder works from any web server that speaks https (or on localhost: browsers give the microphone only there).
    """
    export = load_export(source)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WASM, build_wasm(export))
    features, bundle = export.features, export.bundle
    thresholds = bundle.detector.threshold
    write_json(
        folder / MODEL,
        {
            "name": bundle.path.name,
            "sha256": export.sha256,
            "feature_hash": f"0x{features.hash32:08x}",
            "cheep": export.version,
            "labels": list(bundle.labels),
            "thresholds": list(thresholds * len(bundle.labels) if len(thresholds) == 1 else thresholds),
            "sample_rate_hz": features.sample_rate_hz,
            "n_mels": features.n_mels,
            "hop_samples": features.hop_samples,
            "fmin_hz": features.fmin_hz,
            "fmax_hz": features.fmax_hz,
            "window_s": features.window_s,
            "stride_s": bundle.stride_s,
            "scores": bundle.scale.kind,
        },
    )
    for name in PAGE_FILES:
        write_bytes(folder / name, package_file("web", "page", name).read_bytes())
    return folder / "index.html"
