# SPDX-License-Identifier: MIT
"""What an entry of the registry is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A network: one line on what it is, and the builder of its body with fixed parameters.

    ``body(tf, tensor, **parameters)`` maps the input tensor (batch, columns, mels, 1) to the embedding
    (batch, 1, 1, d).
    """

    description: str
    body: Callable[..., Any]
    parameters: dict[str, Any]
