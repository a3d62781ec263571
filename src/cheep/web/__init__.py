# SPDX-License-Identifier: MIT
"""The browser page: C core, application and compiled model as WebAssembly in one static folder."""

from cheep.web.build import build_page, build_wasm

__all__ = ["build_page", "build_wasm"]
