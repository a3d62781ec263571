# SPDX-License-Identifier: MIT
"""The compiler: an int8 ``.tflite`` becomes plain C11 with the same bits as TFLM's reference kernels.

``intake`` (what is taken of a file), ``checks``, ``passes``; ``lower`` (operators -> C statements; by kind in
``layers``, ``elementwise``, ``reductions``, ``movement``, ``matmul``, ``recurrent``); ``pipeline`` and ``stages``
(layers joined row by row), ``rows`` and ``stage_code`` (their C); ``plan`` (static memory); ``codegen``, ``header``
and ``incremental`` (-> text, with the parts of ``kernels``); ``engine`` (the same C as a fast model for Python).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from cheep import __version__
from cheep.compiler.codegen import Compiled, generate
from cheep.compiler.ctext import Role
from cheep.errors import CheepError

__all__ = ["Compiled", "CompiledModel", "compile_bytes", "compile_model"]

DEFAULT_PREFIX = "model_compiled"
VERIFY_PREFIX = "verify_compiled"  # of the second network of a detector


def compile_model(path: str | os.PathLike, prefix: str = DEFAULT_PREFIX) -> Compiled:
    """Compile a ``.tflite`` file. See :func:`compile_bytes`."""
    path = Path(path)
    if not path.is_file():
        raise CheepError(f"{path}: no such model file; train one first (cheep train) or check the path")
    return compile_bytes(path.read_bytes(), prefix, str(path))


def compile_bytes(
    data: bytes,
    prefix: str = DEFAULT_PREFIX,
    name: str = "model",
    row_pipeline: bool = True,
    role: Role = "alone",
) -> Compiled:
    """Compile the bytes of a ``.tflite`` file to C.

    Parameters
    ----------
    data : bytes
        The flatbuffer.
    prefix : str
        Prefix of the public C names, a C identifier.
    name : str
        How messages name the model.
    row_pipeline : bool
        False: one operator at a time, whole tensors (slower, larger; for tests).
    role : str
        In a firmware: ``alone``, or ``first`` or ``second`` of a detector with two networks, which share their memory.

    Raises
    ------
    CheepError
        Damaged file, or an operator, type or shape outside of what is compiled exactly.
    """
    from cheep.compiler.checks import check_graph, check_inputs
    from cheep.compiler.dead import drop_dead_channels
    from cheep.compiler.intake import read_network
    from cheep.compiler.passes import run_passes

    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", prefix):
        raise CheepError(f"prefix={prefix!r}: must be a lower-case C identifier (set --prefix)")
    graph = read_network(data, name)
    check_graph(graph, name)
    graph = run_passes(graph)
    check_inputs(graph)
    drop_dead_channels(graph)
    feature_hash = _feature_hash(data)
    sha256 = hashlib.sha256(data).hexdigest()
    mark = f"Made by Cheep {__version__} (cheep compile) from model {sha256[:16]}, "
    mark += f"features {f'0x{feature_hash}' if feature_hash else 'unknown'}: DO NOT EDIT."
    return generate(graph, prefix, mark, sha256, feature_hash, row_pipeline, role)


def _feature_hash(data: bytes) -> str:
    """Return the model's own feature hash as eight digits, or an empty string."""
    from cheep.config import FeatureConfig
    from cheep.tflite.model import read_model

    metadata = read_model(data).metadata or {}
    features = metadata.get("features") if isinstance(metadata, dict) else None
    return f"{FeatureConfig.parse(features, 'the model').hash32:08x}" if isinstance(features, dict) else ""


def __getattr__(name: str):
    if name == "CompiledModel":
        from cheep.compiler.engine import CompiledModel

        return CompiledModel
    raise AttributeError(name)
