# SPDX-License-Identifier: MIT
"""The front end: the C core from Python, and its tables. librosa is only the reference in the tests."""

from cheep.features.frontend import (
    FrontendStream,
    compute_features,
    frontend_spec_values,
    inverse_scale,
    quantize,
)
from cheep.features.mel import mel_points_hz, mel_weights
from cheep.features.tables import FrontendTables, frontend_spec_tables

__all__ = [
    "FrontendStream",
    "FrontendTables",
    "compute_features",
    "frontend_spec_tables",
    "frontend_spec_values",
    "inverse_scale",
    "mel_points_hz",
    "mel_weights",
    "quantize",
]
