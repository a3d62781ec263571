# SPDX-License-Identifier: MIT
"""Instructions of a converted model on the emulated Cortex-M4F, compiled to C."""

from __future__ import annotations

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.model import read_model


def instructions(model: bytes, notes: list[str]) -> int | None:
    """Return instructions per inference of the compiled model; None with a note where it cannot be compiled or run."""
    from cheep.compiler import compile_bytes
    from cheep.compiler.measure import measure

    try:
        compiled = compile_bytes(model, "bench")
        inputs = b"".join(
            np.zeros(int(np.prod(t.shape)), np.int8 if t.dtype == "int8" else t.dtype).tobytes()
            for t in read_model(model).inputs
        )
        return measure(compiled, inputs, 1).instructions
    except CheepError as error:
        notes.append(f"not measured on the emulated core: {error}")
        return None
