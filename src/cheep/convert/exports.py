# SPDX-License-Identifier: MIT
"""Files that a device includes: C array, Python/MicroPython module. Pure functions: text from bytes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from cheep.tflite.arena import arena_on_esp32s3
from cheep.tflite.model import TensorInfo, read_model
from cheep.tflite.reader import read_graph

_COLUMNS = 16


def mark(sha256: str) -> str:
    """Return the first line of every generated file (without comment signs)."""
    return f"Made by src/convert.py from a model with sha256 {sha256}. DO NOT EDIT."


def render_c_header(model: bytes, name: str, arena_bytes: int | None, labels: Sequence[str] = ()) -> str:
    """Return ``NAME.h``: what a TFLM program needs to know about the model."""
    info = read_model(model)
    upper, symbol = _symbol(name).upper(), _symbol(name)
    lines = [
        f"/* {mark(info.sha256)} */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"#define {upper}_BYTES {len(model)}u",
        f'#define {upper}_SHA256 "{info.sha256}"',
        f"#define {upper}_CRC32 0x{zlib.crc32(model):08x}u",
    ]
    if arena_bytes is not None:
        on_s3 = arena_on_esp32s3(read_graph(model), arena_bytes)
        lines += [
            f"#define {upper}_ARENA_BYTES {arena_bytes}u /* measured by TFLM on 64 bits, reference kernels */",
            f"#define {upper}_ARENA_BYTES_ESP32S3 {on_s3}u /* with the scratch of esp-nn's kernels */",
        ]
    for kind, tensors in (("INPUT", info.inputs), ("OUTPUT", info.outputs)):
        for i, tensor in enumerate(tensors):
            at = f"{upper}_{kind}{i}"
            shape = " x ".join(map(str, tensor.shape))
            lines += [
                "",
                f"/* {_comment(tensor.name)}: {tensor.dtype} [{shape}], real = (q - zero_point) * scale */",
                f"#define {at}_SIZE {int(np.prod(tensor.shape))}u",
            ]
            if tensor.scale:
                lines += [
                    f"#define {at}_SCALE {np.float32(tensor.scale):#.9g}f",
                    f"#define {at}_ZERO_POINT ({tensor.zero_point})",
                ]
    lines += [
        "",
        f"/* operators to register: {', '.join(info.operators)} */",
        f"#define {upper}_OPERATORS(X) " + " ".join(f"X({_comment(op)})" for op in info.operators),
    ]
    if labels:
        lines += [
            "",
            f"#define {upper}_CLASSES {len(labels)}u",
            f"#define {upper}_LABELS {{{', '.join(_c_string(label) for label in labels)}}}",
        ]
    lines += [
        "",
        f"extern const unsigned char {symbol}[{len(model)}]; /* aligned to 16 */",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        f"#endif /* {upper}_H */",
    ]
    return "\n".join(lines) + "\n"


def render_c_source(model: bytes, name: str) -> str:
    """Return ``NAME.cc``: the bytes, aligned to 16."""
    info = read_model(model)
    symbol = _symbol(name)
    rows = [", ".join(f"0x{byte:02x}" for byte in model[i : i + _COLUMNS]) for i in range(0, len(model), _COLUMNS)]
    return (
        f'/* {mark(info.sha256)} */\n#include "{name}.h"\n\n'
        f"alignas(16) const unsigned char {symbol}[{len(model)}] = {{\n    " + ",\n    ".join(rows) + ",\n};\n"
    )


def render_python(
    model: bytes, labels: Sequence[str], golden_in: np.ndarray | None, golden_out: np.ndarray | None
) -> str:
    """Return a module for Python and MicroPython: it holds the model, loads it and checks itself.

    Parameters
    ----------
    golden_in, golden_out : one real example and what TFLM makes of it, in the shapes and dtypes of the model's first
        input and output (int8 as a rule); or None for both.
    """
    info = read_model(model)
    rows = [model[i : i + 48] for i in range(0, len(model), 48)]
    golden = "None"
    if golden_in is not None and golden_out is not None:
        golden = f"({golden_in.tobytes()!r}, {golden_out.tobytes()!r})"
    text = _PYTHON
    for key, value in {
        "MARK": mark(info.sha256),
        "SHA": repr(info.sha256),
        "CRC": f"0x{zlib.crc32(model):08x}",
        "LENGTH": str(len(model)),
        "INPUTS": _tensors(info.inputs),
        "OUTPUTS": _tensors(info.outputs),
        "OPERATORS": repr(tuple(info.operators)),
        "LABELS": repr(tuple(labels)),
        "GOLDEN": golden,
        "DATA": "\n".join(f"    {row!r}" for row in rows),
    }.items():
        text = text.replace(f"@{key}@", value)
    return text


def _tensors(tensors: Sequence[TensorInfo]) -> str:
    items = [
        f"    {{'name': {t.name!r}, 'shape': {tuple(t.shape)!r}, 'dtype': {t.dtype!r}, 'scale': {t.scale!r}, "
        f"'zero_point': {t.zero_point!r}}},\n"
        for t in tensors
    ]
    return "(\n" + "".join(items) + ")"


def _symbol(name: str) -> str:
    text = re.sub(r"\W", "_", name)
    return text if text and not text[0].isdigit() else f"_{text}"


def _comment(text: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /").replace("/*", "/ *")


def _c_string(text: str) -> str:
    out = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode())
    return f'"{out}"'


_PYTHON = '''# @MARK@
"""A TensorFlow Lite model as a module for Python and MicroPython.

data() returns the checked bytes; quantize(x) and dequantize(q) convert between real units and the model's own;
check(invoke) runs one recorded example through invoke(bytes) -> bytes and compares. On a computer,
python THIS_FILE runs that check with whatever runtime is installed.
"""
SHA256 = @SHA@
CRC32 = @CRC@
LENGTH = @LENGTH@
INPUTS = @INPUTS@
OUTPUTS = @OUTPUTS@
OPERATORS = @OPERATORS@
LABELS = @LABELS@
GOLDEN = @GOLDEN@
_DATA = (
@DATA@
)
_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}


def data():
    """Return the model's bytes; raise ValueError if they were damaged."""
    if len(_DATA) != LENGTH or _DATA[4:8] != b"TFL3":
        raise ValueError("model: damaged (length or mark)")
    try:
        import hashlib
        found = "".join("%02x" % byte for byte in hashlib.sha256(_DATA).digest())
        if found != SHA256:
            raise ValueError("model: damaged (sha256)")
    except (ImportError, AttributeError):
        import binascii
        if binascii.crc32(_DATA) & 0xFFFFFFFF != CRC32:
            raise ValueError("model: damaged (crc32)")
    return _DATA


def quantize(values, tensor=None):
    """Return integers for real values (round half to even, then clip); floats stay floats."""
    t = tensor or INPUTS[0]
    if t["dtype"] not in _LIMITS:
        return list(values)
    low, high = _LIMITS[t["dtype"]]
    return [min(high, max(low, round(v / t["scale"] + t["zero_point"]))) for v in values]


def dequantize(values, tensor=None):
    """Return real values for integers."""
    t = tensor or OUTPUTS[0]
    if t["dtype"] not in _LIMITS:
        return list(values)
    return [(v - t["zero_point"]) * t["scale"] for v in values]


def label(scores):
    """Return the label with the highest score."""
    best = max(range(len(scores)), key=lambda i: scores[i])
    return LABELS[best] if best < len(LABELS) else best


def check(invoke):
    """Return True if invoke(bytes of the input) gives the recorded bytes of the output."""
    if GOLDEN is None:
        raise ValueError("model: no recorded example")
    return bytes(invoke(GOLDEN[0])) == GOLDEN[1]


def interpreter():
    """Return invoke(bytes) -> bytes from an installed runtime (tflite-micro, LiteRT or TensorFlow)."""
    import numpy as np
    kind, shape = INPUTS[0]["dtype"], INPUTS[0]["shape"]
    try:
        from tflite_micro.python.tflite_micro import runtime
        micro = runtime.Interpreter.from_bytes(data())

        def invoke(raw):
            micro.set_input(np.frombuffer(raw, kind).reshape(shape), 0)
            micro.invoke()
            return micro.get_output(0).tobytes()

        return invoke
    except ImportError:
        pass
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter
    lite = Interpreter(model_content=data())
    lite.allocate_tensors()
    source, target = lite.get_input_details()[0]["index"], lite.get_output_details()[0]["index"]

    def invoke(raw):
        lite.set_tensor(source, np.frombuffer(raw, kind).reshape(shape))
        lite.invoke()
        return lite.get_tensor(target).tobytes()

    return invoke


if __name__ == "__main__":
    print("model ok" if check(interpreter()) else "model differs from the recorded example")
'''
