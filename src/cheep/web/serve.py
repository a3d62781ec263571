# SPDX-License-Identifier: MIT
"""Serve the page on this machine only."""

from __future__ import annotations

import functools
import http.server
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cheep.errors import CheepError
from cheep.web.build import build_page


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 (the base class declares it so)
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript",
        ".css": "text/css",
        ".json": "application/json",
        ".wasm": "application/wasm",
        "": "application/octet-stream",
    }

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


def make_server(folder: str | os.PathLike, port: int = 0) -> http.server.ThreadingHTTPServer:
    """Return a server of ``folder`` on 127.0.0.1; port 0 takes a free one.

    Raises
    ------
    CheepError
        The port is taken.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise CheepError(f"--port {port}: cannot be opened ({error.strerror}); choose another (--port 8001)") from None


def serve_page(model: str | os.PathLike | None, folder: Path | None, port: int, say: Callable[[str], None]) -> int:
    """Write the page into ``folder``, or serve it from a temporary one until Ctrl-C."""
    if folder is not None:
        index = build_page(model, folder)
        say(f"{index}: written; host the folder with https, or try: python -m http.server -d {folder} --bind 127.0.0.1")
        return 0
    with tempfile.TemporaryDirectory(prefix="cheep-web-") as name:
        build_page(model, name)
        with make_server(name, port) as server:
            say(f"http://127.0.0.1:{server.server_address[1]}/  open it in a browser on this machine; Ctrl-C ends")
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                return 0
    return 0
