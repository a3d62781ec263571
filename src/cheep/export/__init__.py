# SPDX-License-Identifier: MIT
"""From a trained model to the files that a firmware is built from: pure ``render_*()`` functions, and their files."""

from cheep.export.bundle import ExportModel, load_export
from cheep.export.files import check_files, write_files
from cheep.export.golden_header import render_golden_window
from cheep.export.mel_header import render_mel_filter_bank
from cheep.export.model_header import (
    render_detector_settings,
    render_headers,
    render_model_header,
    render_model_source,
)
from cheep.export.verify_header import VERIFY_FILES, refuse_second, render_networks
from cheep.resources import generated_folder

__all__ = [
    "VERIFY_FILES",
    "ExportModel",
    "check_files",
    "generated_folder",
    "load_export",
    "refuse_second",
    "render_detector_settings",
    "render_golden_window",
    "render_headers",
    "render_mel_filter_bank",
    "render_model_header",
    "render_model_source",
    "render_networks",
    "write_files",
]
