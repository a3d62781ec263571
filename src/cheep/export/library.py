# SPDX-License-Identifier: MIT
"""The C core with one model, its network compiled, as a library of other build systems: Arduino's and ESP-IDF's."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cheep import __version__
from cheep.compiler import Compiled
from cheep.errors import CheepError
from cheep.export.bundle import ExportModel
from cheep.export.model_header import render_headers
from cheep.export.verify_header import refuse_second
from cheep.resources import firmware_root, include_dir, license_text, source_dir

_BUILD = '#include "cheep_build.h"\n'
_URL = "https://example.org"  # Arduino wants one: whoever publishes the library puts theirs there
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ARDUINO_NAME = 63  # characters, by Arduino's library specification


def render_arduino(export: ExportModel, compiled: Compiled, name: str) -> dict[str, str]:
    """Return an Arduino library (format 1.5) as texts by path.

    Parameters
    ----------
    export : ExportModel
    compiled : Compiled
        Of the same model, with the prefix ``model_compiled``.
    name : str
        Of the library: letters, digits and underscores.
    """
    _check_name(name)
    if len(name) > _ARDUINO_NAME or name.lower().startswith("arduino"):
        raise CheepError(
            f"--name {name!r}: Arduino takes at most {_ARDUINO_NAME} characters, and keeps names that begin with "
            "Arduino to itself"
        )
    refuse_second(export, "an Arduino library")
    here = firmware_root() / "library" / "arduino"
    files = {f"src/{path}": text for path, text in _core(export, compiled).items()}
    files["LICENSE"] = license_text()
    files |= {f"src/{name}": (here / name).read_text(encoding="utf-8") for name in ("Cheep.h", "Cheep.cpp")}
    files |= _below(here, "examples", "*.ino")
    files["library.properties"] = "\n".join([
        f"name={name}",
        f"version={__version__}",
        "author=Cheep",
        "maintainer=Cheep",
        f"sentence=Hears {_sentence(export)}.",
        f"paragraph=A detector for sound made with Cheep (model {export.sha256[:8]}): it checks itself against the "
        "machine that trained it, then writes a line of JSON for each event. No heap, no runtime.",
        "category=Signal Input/Output",
        f"url={_URL}",
        "architectures=*",
        "includes=Cheep.h",
        "",
    ])  # fmt: skip
    files["keywords.txt"] = (
        "CheepDetector\tKEYWORD1\nbegin\tKEYWORD2\npush\tKEYWORD2\npoll\tKEYWORD2\nonEvent\tKEYWORD2\n"
        "setLines\tKEYWORD2\nsampleRate\tKEYWORD2\n"
    )
    how = (
        "Put this folder (or its ZIP) into the Arduino IDE's libraries; File > Examples has two sketches: SelfTest "
        "needs no microphone, Listen takes the board's PDM microphone. Before you publish it, put your address into "
        "library.properties (url)."
    )
    files["README.md"] = _readme(export, compiled, name, how)
    return files


def render_idf_component(export: ExportModel, compiled: Compiled, name: str) -> dict[str, str]:
    """Return an ESP-IDF component as texts by path; parameters as :func:`render_arduino`."""
    _check_name(name)
    refuse_second(export, "a component of ESP-IDF")
    here = firmware_root() / "library" / "esp-idf"
    files = {f"src/{path}": text for path, text in _core(export, compiled).items()}
    files["src/hal_esp_idf.c"] = (here / "hal_esp_idf.c").read_text(encoding="utf-8")
    files["LICENSE"] = license_text()
    files["CMakeLists.txt"] = (here / "CMakeLists.txt").read_text(encoding="utf-8")
    files |= _below(here, "examples", "*.c") | _below(here, "examples", "CMakeLists.txt")
    main = "examples/listen/main/CMakeLists.txt"
    files[main] = files[main].replace("@COMPONENT@", name)
    files["idf_component.yml"] = (
        f'version: "{__version__}"\n'
        f"description: {json.dumps(f'Hears {_sentence(export)} (model {export.sha256[:8]}, made with Cheep)')}\n"
        'license: MIT\ndependencies:\n  idf: ">=5.1"\n'
    )
    how = f"Put this folder into a project's components/{name}; examples/listen shows what an application does with it."
    files["README.md"] = _readme(export, compiled, name, how)
    return files


def _core(export: ExportModel, compiled: Compiled) -> dict[str, str]:
    sources = [path for path in sorted(source_dir().glob("cheep_*.[ch]")) if not path.name.startswith("cheep_hdc")]
    headers = [path for path in sorted(include_dir().glob("*.h")) if not path.name.startswith("cheep_hdc")]
    files = {path.name: _BUILD + path.read_text(encoding="utf-8") for path in (*sources, *headers)}
    files["cheep_build.h"] = (firmware_root() / "library" / "cheep_build.h").read_text(encoding="utf-8")
    generated = {**render_headers(export), "model_compiled.h": compiled.header}
    generated["model_compiled.c"] = _BUILD.replace('"', '"../', 1) + compiled.source
    return files | {f"generated/{name}": text for name, text in generated.items()}


def _below(folder: Path, part: str, pattern: str) -> dict[str, str]:
    found = sorted((folder / part).rglob(pattern))
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def _sentence(export: ExportModel) -> str:
    heard = [label for label in export.bundle.labels if label != "background"]
    text = ", ".join(heard[:8]) + (f" and {len(heard) - 8} more" if len(heard) > 8 else "")
    return text.encode("ascii", "replace").decode().replace("\n", " ")


def _readme(export: ExportModel, compiled: Compiled, name: str, how: str) -> str:
    features = export.features
    return (
        f"# {name}\n\nHears {_sentence(export)}. Made by Cheep {__version__} from model {export.sha256[:16]}: "
        f"{features.sample_rate_hz} Hz, windows of {features.window_s:.2f} s, network compiled to C "
        f"({compiled.constant_bytes} bytes of constants, {compiled.memory_bytes} bytes of working memory).\n\n{how}\n\n"
        "At boot it compares columns of a test sound, scores of golden windows and events of made scores with the "
        "machine that made it, and refuses to listen where they differ. Its lines are described by "
        "serial-lines.schema.json of Cheep's documents. DO NOT EDIT: make it again.\n"
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CheepError(f"--name {name!r}: must be letters, digits and underscores, and begin with a letter")
