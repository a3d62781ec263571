# SPDX-License-Identifier: MIT
"""C text: numbers that read back to the same bits, tables, strings, and the mark of a generated file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cheep import __version__

_WIDTH = 116


def mark(tool: str, model_sha256: str, feature_hash: int) -> str:
    """Return the first line of a generated file: what made it, from which model, with which features."""
    return (
        f"/* Made by Cheep {__version__} ({tool}) from model {model_sha256[:16]}, "
        f"features 0x{feature_hash:08x}: DO NOT EDIT. */"
    )


def float32(value: float) -> str:
    """Return a float constant with nine significant digits, which gives back the same single-precision bits."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def table(name: str, items: Iterable[str]) -> str:
    """Return ``#define NAME { ... }`` over several lines, for an initializer."""
    lines, line = [], ""
    for item in items:
        piece = f"{item},"
        if line and len(line) + 1 + len(piece) > _WIDTH - 6:
            lines.append(line)
            line = ""
        line = f"{line} {piece}" if line else piece
    lines.append(line)
    body = " \\\n".join(f"    {text}" for text in lines)
    return f"#define {name} {{ \\\n{body} \\\n}}"


def string(value: str) -> str:
    """Return a C string literal with the UTF-8 bytes of ``value``; what is not plain is written in octal."""
    out = []
    for byte in value.encode("utf-8"):
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        out.append(chr(byte) if plain else f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def int8_items(values: np.ndarray | Sequence[int]) -> list[str]:
    """Return int8 values, of any shape, as constants in C order."""
    return [str(int(v)) for v in np.asarray(values).reshape(-1)]


def guard(name: str, lines: Sequence[str], first: str) -> str:
    """Return a header: its mark, the include guard, the lines."""
    macro = f"CHEEP_GENERATED_{name.upper().replace('.', '_')}"
    return "\n".join([first, f"#ifndef {macro}", f"#define {macro}", "", *lines, "", "#endif", ""])


def comment(text: str) -> str:
    """Return ``text`` as it may stand in a comment."""
    return text.encode("ascii", "replace").decode().replace("*/", "* /").replace("\n", " ")
