# SPDX-License-Identifier: MIT
"""The constants of a generated file: each array or struct once, named by what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from cheep.tflite.graph import Tensor


@dataclasses.dataclass
class Constants:
    """Collects ``static const`` definitions; equal contents share one name.

    ``names_only``: no text (while only memory is planned).
    """

    texts: list[str] = dataclasses.field(default_factory=list)
    n_bytes: int = 0
    names_only: bool = False
    _names: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)

    def array(self, ctype: str, name: str, values: Sequence[int] | np.ndarray, comment: str = "") -> str:
        """Define an array of numbers and return its name.

        ``values`` : integers that ``ctype`` holds, of any shape: written flat, in C order.
        """
        if self.names_only:
            return name
        flat = [int(v) for v in np.asarray(values).reshape(-1)]
        size = {"int8_t": 1, "int16_t": 2, "uint16_t": 2}.get(ctype, 4)
        align = "_Alignas(4) " if ctype == "int8_t" else ""
        return self._define(align + ctype, name, len(flat), size * len(flat), _wrapped(map(_number, flat)), comment)

    def pointer(self, tensor: Tensor, name: str) -> str | None:
        """Define the values of a constant int8 tensor and return their name; None for a tensor that is computed."""
        return None if tensor.data is None else self.array("int8_t", name, tensor.data)

    def structs(self, ctype: str, name: str, rows: Iterable[Sequence[int]], size: int, comment: str = "") -> str:
        """Define an array of structs of numbers and return its name."""
        if self.names_only:
            return name
        texts = ["{" + ", ".join(map(_number, row)) + "}" for row in rows]
        lines = ["    " + ", ".join(texts[i : i + 3]) for i in range(0, len(texts), 3)]
        return self._define(ctype, name, len(texts), size * len(texts), ",\n".join(lines), comment)

    def struct(self, ctype: str, name: str, text: str, size: int, comment: str = "") -> str:
        """Define one struct from its initializer text; returns ``&name``."""
        if self.names_only:
            return "&" + name
        key = (ctype, text)
        if key not in self._names:
            self._names[key] = name
            self.n_bytes += size
            line = f"static const {ctype} {name} = {{{text}}};"
            if len(line) > 120:
                line = f"static const {ctype} {name} = {{\n{_wrapped(text.split(', '))}\n}};"
            self.texts.append(_comment(comment) + line)
        return "&" + self._names[key]

    def _define(self, ctype: str, name: str, n: int, n_bytes: int, body: str, comment: str) -> str:
        key = (ctype, body)
        if key not in self._names:
            self._names[key] = name
            self.n_bytes += n_bytes
            self.texts.append(_comment(comment) + f"static const {ctype} {name}[{n}] = {{\n{body}\n}};")
        return self._names[key]


def _number(value: int) -> str:
    return "INT32_MIN" if value == -(1 << 31) else str(int(value))


def _comment(text: str) -> str:
    return f"/* {text} */\n" if text else ""


def _wrapped(items: Iterable[str]) -> str:
    words = list(items)
    each = max(1, 116 // (max(map(len, words), default=0) + 2))
    return ",\n".join("    " + ", ".join(words[i : i + each]) for i in range(0, len(words), each))
