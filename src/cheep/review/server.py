# SPDX-License-Identifier: MIT
"""Serve the review on this machine only: to who has the token, under this machine's own name."""

from __future__ import annotations

import hmac
import json
import secrets
import socketserver
import wsgiref.simple_server
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bottle

from cheep.errors import CheepError
from cheep.review.clips import Filter
from cheep.review.desk import Desk

HOST = "127.0.0.1"
_PAGE = Path(__file__).with_name("page")
_FILES = {"review.js": "text/javascript", "draw.js": "text/javascript", "style.css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; media-src blob:"
)
_MOST_BYTES = 1 << 20  # of a request


class _Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    token = ""

    def url(self) -> str:
        """Return the address with the token; the browser keeps what follows ``#`` to itself."""
        return f"http://{HOST}:{self.server_port}/#{self.token}"

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


def make_server(desk: Desk, port: int = 0) -> _Server:
    """Return the server of a review on the loopback address; port 0 takes a free one.

    Raises
    ------
    CheepError
        The port is taken.
    """
    token = secrets.token_urlsafe(24)
    app = make_app(desk, token)
    try:
        server = wsgiref.simple_server.make_server(HOST, port, app, server_class=_Server, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheepError(f"--port {port}: cannot be opened ({reason}); choose another (--port 8001)") from None
    server.token = token
    return server


def make_app(desk: Desk, token: str) -> bottle.Bottle:
    """Return the application: the page and its files for all of this machine, the rest for who has the token."""
    app = bottle.Bottle()

    @app.hook("before_request")
    def check() -> None:
        request = bottle.request
        if request.urlparts.hostname not in (HOST, "localhost"):  # another name that leads here: a foreign page's
            bottle.abort(403, "open it as 127.0.0.1")
        if request.path.startswith("/api/"):
            given = request.get_header("X-Cheep-Token", "")
            if not hmac.compare_digest(given.encode(), token.encode()):
                bottle.abort(403, "wrong token: open the address that cheep review printed")

    @app.hook("after_request")
    def guard() -> None:
        headers = bottle.response.headers
        headers["Content-Security-Policy"] = _POLICY
        headers["Cache-Control"] = "no-store"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"

    @app.error(403)
    @app.error(404)
    @app.error(405)
    @app.error(500)
    def failed(error: bottle.HTTPError) -> str:
        bottle.response.content_type = "application/json"
        return json.dumps({"error": str(error.body)})

    @app.get("/")
    def page() -> bytes:
        return _file("index.html", "text/html; charset=utf-8")

    @app.get("/<name>")
    def asset(name: str) -> bytes:
        if name not in _FILES:
            bottle.abort(404, f"{name}: no such file")
        return _file(name, f"{_FILES[name]}; charset=utf-8")

    _add_questions(app, desk)
    _add_answers(app, desk)
    return app


def _add_questions(app: bottle.Bottle, desk: Desk) -> None:
    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return desk.about()

    @app.get("/api/status")
    def status() -> Any:
        return _answered(lambda: desk.status(bottle.request.query.source or "detections"))

    @app.get("/api/questions")
    def questions() -> Any:
        query = bottle.request.query
        return _answered(lambda: _questions(desk, query))

    @app.get("/api/rows")
    def rows() -> Any:
        return _answered(lambda: {"rows": desk.rows([int(text) for text in bottle.request.query.clips.split(",")])})

    @app.get("/api/clips/<number:int>")
    def clip(number: int) -> Any:
        return _answered(lambda: desk.clip(number, int(bottle.request.query.ask or 0)))

    @app.get("/api/clips/<number:int>/sound")
    def sound(number: int) -> Any:
        return _answered(lambda: _sound(desk, number))


def _add_answers(app: bottle.Bottle, desk: Desk) -> None:
    @app.post("/api/clips/<number:int>/verdict")
    def verdict(number: int) -> Any:
        return _answered(lambda: desk.answer(number, _body(), bottle.request.query.source or "detections"))

    @app.post("/api/undo")
    def undo() -> Any:
        return _answered(lambda: {"number": desk.undo()})


def _questions(desk: Desk, query: Any) -> dict[str, Any]:
    wanted = Filter(
        label=query.getunicode("label", ""), site=query.getunicode("site", ""), state=query.state,
        lowest=float(query.lowest or 0), highest=float(query.highest or 1), first_date=query.first_date,
        last_date=query.last_date,
    )  # fmt: skip
    source, like = query.getunicode("source", "") or "detections", int(query.like) if query.like else None
    found = desk.questions(source, wanted, query.order or "score", like)
    return {"clips": [item.number for item in found], "asks": {str(i.number): i.ask for i in found if i.ask}}


def _sound(desk: Desk, number: int) -> bytes:
    """Return a line of JSON about the sound, then the picture's bytes, then the WAV."""
    found = desk.sound(number)
    rows, columns = found.picture.shape
    about = {
        "begin_s": found.begin_s, "end_s": found.end_s, "rate_hz": found.rate_hz, "gain_db": round(found.gain_db, 1),
        "top_hz": found.top_hz, "rows": rows, "columns": columns,
    }  # fmt: skip
    bottle.response.content_type = "application/octet-stream"
    return json.dumps(about).encode() + b"\n" + found.picture.tobytes() + found.wav


def _body() -> dict[str, Any]:
    if bottle.request.content_length > _MOST_BYTES:
        raise CheepError(f"{bottle.request.content_length} bytes: a verdict has at most {_MOST_BYTES}")
    values = bottle.request.json
    if not isinstance(values, dict):
        raise CheepError("a verdict must be a JSON object")
    return values


def _answered(work: Callable[[], Any]) -> Any:
    """Return what ``work`` does; what is wrong with a request becomes its status and a line of text."""
    try:
        return work()
    except (CheepError, ValueError, TypeError) as error:
        bottle.response.status = 400
        return {"error": str(error)}
    except bottle.HTTPError as error:
        bottle.response.status = error.status_code
        return {"error": str(error.body)}


def _file(name: str, kind: str) -> bytes:
    bottle.response.content_type = kind
    return (_PAGE / name).read_bytes()
