# SPDX-License-Identifier: MIT
"""A stand-in for xeno-canto on loopback: API v3 in its known shapes, real audio, faults on demand."""

from __future__ import annotations

import functools
import io
import json
import random
import socket
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import soundfile

KEY = "s3cret-key-0123456789"
HTML = b"<!DOCTYPE html><html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
FAULTS = ("503", "429", "slow", "truncated", "reset", "html200", "wrong", "404", "empty", "half-json")
LICENCES = ("//creativecommons.org/licenses/by-nc-sa/4.0/", "https://creativecommons.org/licenses/by-nc-nd/4.0/")
RATES = (44100, 22050, 48000, 8000)


@functools.cache
def audio(number: int) -> tuple[bytes, str, float]:
    """Return (file, suffix, seconds) of recording ``number``: mp3, wav or flac, mono or stereo."""
    rng = np.random.default_rng(number)
    rate = RATES[number % 4]
    seconds = 2.0 + number % 3 if number > 1 else 7.0
    t = np.arange(int(seconds * rate)) / rate
    x = 0.2 * np.sin(2 * np.pi * (1000 + 97 * (number % 20)) * t) * (np.sin(2 * np.pi * 2 * t) > 0)
    x = x + rng.normal(0, 0.002, len(t))
    if number % 2:
        x = np.stack([x, 0.5 * x], axis=1)
    suffix, kind = ((".mp3", "MP3"), (".wav", "WAV"), (".flac", "FLAC"))[number % 3]
    out = io.BytesIO()
    soundfile.write(out, x, rate, format=kind)
    return out.getvalue(), suffix, seconds


def row(number: int, base: str, index: int) -> dict:
    """Return one row of the API, quirks by turn."""
    suffix, seconds = audio(number)[1:]
    species = ("merula", "philomelos")[index % 2]
    return {
        "id": str(number) if index % 2 else number,
        "gen": "Turdus",
        "sp": species,
        "en": ("Common Blackbird", "Song Thrush")[index % 2],
        "rec": ("Zo&euml; O&#039;Neill", "B&amp;B Sounds", "Jos&eacute;")[index % 3],
        "cnt": "C&ocirc;te d'Ivoire",
        "loc": "L&#039;Anse,\n  north",
        "lat": "51.5",
        "lon": None if index % 4 == 0 else "-0.1",
        "type": "song",
        "q": ("A", "B", "no score")[index % 3],
        "length": f"0:{int(seconds):02d}" if index % 2 else f"0:00:{int(seconds):02d}",
        "date": ("2004-00-00", "2019-05-17", "0000-00-00")[index % 3],
        "lic": LICENCES[index % 2],
        "url": f"//xeno-canto.example/{number}",
        "file": None if index == 7 else f"{base}/{number}/download" if index % 2 else f"{base[5:]}/{number}/download",
        "file-name": f"XC{number}-song{suffix}",
        "also": ["", "Sylvia atricapilla"] if index % 2 else [""],
        "rmk": "said &quot;hello&quot; <b>at</b> 0:03",
        **(
            {"annotation_sets": [{"set_name": "x", "annotations": [
                {"start_time": "0.5", "end_time": 1.25, "frequency_low": "900", "frequency_high": "2800",
                 "scientific_name": "Turdus merula"}, {"start_time": "bad"}]}]}
            if index == 2
            else {}
        ),
    }  # fmt: skip


class Server:
    """``Server(n)`` serves ``n`` recordings; ``faults`` are drawn by ``seed``, at most ``most`` per address."""

    def __init__(self, n: int = 12, faults: tuple[str, ...] = (), seed: int = 1, most: int = 3, port: int = 0):
        self.numbers = [1000 + 7 * i for i in range(n)]
        self.faults, self.most = faults, most
        self.random = random.Random(seed)
        self.injected: dict[str, int] = {}
        self.kinds: set[str] = set()
        self.times: list[float] = []
        self.whole: dict[int, int] = {}
        self.served_bytes = 0
        self.lock = threading.Lock()
        self.port = port
        self.http: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"owner": self})
        ThreadingHTTPServer.allow_reuse_address = True
        ThreadingHTTPServer.daemon_threads = True
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def fault(self, path: str) -> str:
        with self.lock:
            if not self.faults or self.injected.get(path, 0) >= self.most or self.random.random() < 0.3:
                return ""
            self.injected[path] = self.injected.get(path, 0) + 1
            kind = self.random.choice([name for name in self.faults if name != "404" or path.startswith("/files/")])
            self.kinds.add(kind)
            return kind

    def page(self, query: dict) -> tuple[int, dict]:
        if query.get("key", [""])[0] != KEY:
            return 401, {"error": {"code": "client_error", "message": f"Invalid key {query.get('key')}"}}
        text = query["query"][0]
        if "sp:" not in text and "grp:" not in text:
            return 400, {"error": "client_error", "message": "Untagged search"}
        page, per_page = int(query["page"][0]), 5
        rows = [row(number, self.url, i) for i, number in enumerate(self.numbers)]
        for name in ("merula", "philomelos"):
            if name in text:
                rows = [item for item in rows if item["sp"] == name]
        pages = max(1, -(-len(rows) // per_page))
        first = (page - 1) * per_page
        part = rows[max(0, first - 1) : first + per_page]  # one row repeats across pages
        counts = {
            "numRecordings": str(len(rows)),
            "numSpecies": "2",
            "page": page,
            "numPages": pages if page % 2 else str(pages),
        }
        return 200, {**counts, "recordings": part}


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        try:
            self.answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self):
        owner = self.owner
        parts = urllib.parse.urlsplit(self.path)
        with owner.lock:
            owner.times.append(time.monotonic())
        if parts.path == "/api/3/recordings":
            status, data = owner.page(urllib.parse.parse_qs(parts.query))
            self.send(
                status, json.dumps(data).encode(), "application/json", owner.fault(self.path) if status == 200 else ""
            )
            return
        number = int(parts.path.split("/")[-2])
        if parts.path.startswith("/files/"):
            body, suffix, _ = audio(number)
            self.send(200, body, f"audio/{suffix[1:]}", owner.fault(self.path), number)
        else:  # xeno-canto redirects /NUMBER/download
            self.send_response(302)
            self.send_header("Location", f"/files/{number}/x")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def send(self, status: int, body: bytes, kind: str, fault: str, number: int | None = None):
        self.close_connection = True
        if fault in ("503", "404", "429"):
            status = int(fault)
            body, kind = HTML, "text/html"
        elif fault == "html200":
            body, kind = HTML, "text/html"
        elif fault == "wrong":
            body = audio(1)[0] if number else b'{"recordings": 5}'
        elif fault == "empty":
            body = b""
        elif fault == "half-json" and number is None:
            body = body[: len(body) // 2]
        start = 0
        asked = self.headers.get("Range")
        if asked and status == 200 and number is not None and not fault:
            start = int(asked.split("=")[1].split("-")[0])
            status = 206 if start < len(body) else 416
        self.send_response(status)
        if fault == "429":
            self.send_header("Retry-After", "0")
        self.send_header("Content-Type", kind)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(body)}")
            body = b""
        body = body[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if fault in ("truncated", "reset"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            return
        pieces = 5 if fault == "slow" else 1
        for i in range(pieces):
            self.wfile.write(body[len(body) * i // pieces : len(body) * (i + 1) // pieces])
            self.wfile.flush()
            if fault == "slow":
                time.sleep(0.04)
        with self.owner.lock:
            self.owner.served_bytes += len(body)
            if number is not None and status in (200, 206) and fault in ("", "slow"):
                self.owner.whole[number] = self.owner.whole.get(number, 0) + 1
