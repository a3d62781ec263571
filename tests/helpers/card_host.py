# SPDX-License-Identifier: MIT
"""``tests/c/card_host.c``: the update on this machine, with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cheep.ccore import find_compiler
from cheep.resources import firmware_root, include_dir, source_dir

HERE = Path(__file__).parents[1] / "c" / "card_host.c"


def build_card_host(folder: Path, optimization: str = "-O1") -> Path:
    card = firmware_root() / "card"
    sources = [HERE, *(card / "src" / f"cheep_{name}.c" for name in ("image", "slots", "sha2", "ed25519"))]
    sources += [source_dir() / f"cheep_{name}.c" for name in ("crc32", "text")]
    target = folder / "card_host"
    command = [
        *find_compiler(), "-std=c11", optimization, "-g", "-Wall", "-Wextra", "-Werror", "-Wno-clobbered",
        "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{card / 'include'}", f"-I{include_dir()}",
        *map(str, sources), "-o", str(target),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def run_card_host(program: Path, *words, timeout_s: float = 120.0) -> dict[str, int]:
    """Return what the program reports; an error of a sanitizer ends it with another status."""
    done = subprocess.run(
        [str(program), *map(str, words)], check=False, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: int(value) for name, _, value in (line.partition("=") for line in done.stdout.splitlines())}
