# SPDX-License-Identifier: MIT
"""The parts of ``kernels.c``: what a network's file takes of them, and the functions that fix their limits."""

from __future__ import annotations

import functools
import re

from cheep.compiler import ctext
from cheep.resources import package_file

_KERNELS = package_file("compiler", "kernels.c")

# kernel -> (function, parameters, arguments) of the function that fixes its limit
WRAPPERS = {
    "conv": (
        "conv",
        "const cheep_shape *s, const int8_t *in, const int8_t *weights, const cheep_channel *channels, "
        "int8_t *scratch, int8_t *out",
        "s, in, weights, channels, scratch, out, {limit}",
    ),
    "depthwise": (
        "depthwise",
        "const cheep_shape *s, const int8_t *in, const int8_t *weights, const cheep_channel *channels, int8_t *out",
        "s, in, weights, channels, out, {limit}",
    ),
    "conv_small": (
        "conv_small",
        "const cheep_shape *s, const int8_t *in, const int8_t *weights, const cheep_channel *channels, int8_t *out",
        "s, in, weights, channels, out, {limit}",
    ),
    "dense": (
        "dense",
        "const cheep_matrix_vector *m, const int8_t *in, int8_t *scratch, int32_t *totals, int8_t *out",
        "m, in, (uint32_t *)(void *)scratch, totals, out, {limit}",
    ),
    "pool": ("pool", "const cheep_shape *s, const int8_t *in, int8_t *out", "s, in, out, {limit}"),
}


def wrapper_name(kernel: str, limit: str) -> str:
    """Return the name of ``kernel`` with its limit fixed."""
    return f"cheep_{kernel}_{limit.lower().removeprefix('cheep_')}"


def wrapper_text(kernel: str, limit: str) -> str:
    """Return the C of a wrapper: a function that fixes the limit of ``kernel``, or a macro of the matrix kernels."""
    if kernel not in WRAPPERS:
        return f"\n{kernel}\n"
    function, parameters, arguments = WRAPPERS[kernel]
    head = f"CHEEP_NOINLINE static void {wrapper_name(kernel, limit)}({parameters}) {{"
    return "\n" + ctext.indented([head, f"cheep_{function}({arguments.format(limit=limit)});", "}"])


@functools.cache
def kernel_parts() -> dict[str, tuple[tuple[str, ...], str]]:
    """Return the parts of ``kernels.c``: name -> (names it needs, text)."""
    parts = {}
    for match in re.finditer(r"/\*@ (\w+)(?:: ([\w ]+))? \*/\n(.*?)(?=/\*@ |\Z)", _KERNELS.read_text(), re.S):
        parts[match[1]] = (tuple((match[2] or "").split()), match[3].rstrip() + "\n")
    return parts


def needed_parts(names: set[str]) -> list[str]:
    """Return ``names`` with all that they need, in the file's order."""
    parts, found, todo = kernel_parts(), set(), list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += parts[name][0]
    return [name for name in parts if name in found]
