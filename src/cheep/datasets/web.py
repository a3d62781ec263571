# SPDX-License-Identifier: MIT
"""Polite and stubborn HTTP: one request a second, bounded retries with backoff, secrets kept out of every message."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from cheep import __version__
from cheep.errors import CheepError

log = logging.getLogger(__name__)
logging.getLogger("urllib3").setLevel(logging.INFO)  # its debugging lines hold addresses, and those the key

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_REDIRECTS = 6
_MAX_JSON_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 14  # what at most is fetched again of a file whose connection broke


class Transient(Exception):
    """A failure that may pass: worth another try after ``wait_s`` (``None``: by backoff)."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Permanent(Exception):
    """A failure of one address that another try will not cure; ``status`` is the HTTP status or 0."""

    def __init__(self, message: str, status: int = 0, content_range: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.content_range = content_range


@dataclasses.dataclass
class Politeness:
    """How hard a server may be asked."""

    interval_s: float = 1.0
    timeout_s: float = 30.0
    tries: int = 8
    first_wait_s: float = 2.0
    longest_wait_s: float = 120.0


class RateLimit:
    """At most one request per ``interval_s`` over all threads, and over restarts through the time of ``stamp``."""

    def __init__(self, interval_s: float, stamp: Path | None = None) -> None:
        self._interval_s = interval_s
        self._stamp = stamp
        self._lock = threading.Lock()
        self._pause_until = 0.0
        if stamp is not None and stamp.exists():
            self._pause_until = min(stamp.stat().st_mtime, time.time()) + interval_s

    def wait(self) -> None:
        """Return when the next request may start."""
        with self._lock:
            while (left_s := self._pause_until - time.time()) > 0:
                time.sleep(min(left_s, 1.0))
            now = time.time()
            self._pause_until = now + self._interval_s
            if self._stamp is not None:
                self._stamp.touch()
                os.utime(self._stamp, (now, now))


class _PoliteAdapter(requests.adapters.HTTPAdapter):
    """Let every request, redirects among them, wait its turn."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._before()
        return super().send(request, *args, **kwargs)


class Fetcher:
    """Gets JSON and files.

    Parameters
    ----------
    politeness
        Interval, time-out, tries and waits.
    secret
        Text that no log line and no error may show (the API key).
    stamp
        File whose time keeps the interval over restarts.
    """

    def __init__(self, politeness: Politeness, secret: str = "", stamp: Path | None = None) -> None:
        self.politeness = politeness
        self._secret = secret
        self._limit = RateLimit(politeness.interval_s, stamp)
        self._random = random.Random()
        self.stop = threading.Event()
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"cheep/{__version__}"
        self._session.max_redirects = _MAX_REDIRECTS
        self._session.adapters.clear()  # http and https, nothing else
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _PoliteAdapter(self._limit.wait))

    def stubbornly(self, once: Callable[[], Any], what: str) -> Any:
        """Call ``once`` until it returns; wait longer after each :class:`Transient`."""
        for attempt in range(1, self.politeness.tries + 1):
            try:
                return once()
            except Transient as error:
                reason = self.safe(error)
                if attempt == self.politeness.tries:
                    raise CheepError(
                        f"{what}: gave up after {attempt} tries: {reason} (run again later: it resumes)"
                    ) from None
                wait_s = self._wait_s(attempt, error.wait_s)
                log.info("%s: %s; again in %.0f s (try %d of %d)", what, reason, wait_s, attempt, self.politeness.tries)
                if self.stop.wait(wait_s):
                    raise CheepError(f"{what}: stopped") from None
            except Permanent as error:
                raise CheepError(f"{what}: {self.safe(error)}") from None
        raise AssertionError("unreachable")

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Start one polite request; raise :class:`Transient` or :class:`Permanent` for a bad status."""
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self.politeness.timeout_s)
        except requests.TooManyRedirects:
            raise Permanent(f"more than {_MAX_REDIRECTS} redirects") from None
        except ValueError as error:  # what requests raises for addresses that are none
            raise Permanent(f"malformed address, must be http or https: {error}") from None
        except requests.RequestException as error:
            raise Transient(_network_text(error)) from None
        if response.status_code in (200, 206):
            return response
        with response:
            message = f"HTTP {response.status_code} {response.reason}{_server_message(response)}"
            if response.status_code in _RETRIED or response.status_code // 100 == 3:  # a redirect without an address
                raise Transient(message, _retry_after(response.headers.get("Retry-After")))
            raise Permanent(message, response.status_code, response.headers.get("Content-Range", ""))

    def safe(self, error: object) -> str:
        """Return the text of ``error`` without the secret."""
        text = str(error)
        for form in {self._secret, urllib.parse.quote(self._secret), urllib.parse.quote_plus(self._secret)} - {""}:
            text = text.replace(form, "***")
        return text

    def get_json_once(self, url: str) -> Any:
        """Return the decoded JSON at ``url``, by one try; HTML, garbage and truncated bodies count as overload."""
        body = bytearray()
        with self.open(url, {"Accept": "application/json"}) as response:
            for block in blocks(response):
                body += block
                if len(body) > _MAX_JSON_BYTES:
                    raise Permanent(f"answer larger than {_MAX_JSON_BYTES >> 20} MB")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            kind = "an HTML page" if body.lstrip()[:1] == b"<" else "no JSON" if body else "an empty answer"
            raise Transient(f"{kind} instead of JSON (overloaded?)") from None

    def _wait_s(self, attempt: int, asked_s: float | None) -> float:
        p = self.politeness
        if asked_s is not None:
            return min(asked_s, p.longest_wait_s) + self._random.uniform(0, 0.1 * p.first_wait_s)
        return min(p.longest_wait_s, p.first_wait_s * 2 ** (attempt - 1)) * self._random.uniform(0.5, 1.0)


def blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of ``response`` block by block; raise :class:`Transient` where the connection breaks."""
    try:
        yield from response.iter_content(_BLOCK_BYTES)
    except (requests.RequestException, OSError) as error:
        raise Transient(f"broken off: {_network_text(error)}") from None


def fix_url(url: str, base: str) -> str:
    """Complete an address that starts with ``//`` or ``/`` from ``base``."""
    return urllib.parse.urljoin(base, url.strip())


def _retry_after(text: str | None) -> float | None:
    try:
        return Retry().parse_retry_after(text) if text else None
    except (InvalidHeader, OverflowError, ValueError):
        return None


def _server_message(response: requests.Response) -> str:
    try:
        text = error_text(json.loads(next(response.iter_content(1 << 16), b"")))
    except (requests.RequestException, OSError, ValueError, RecursionError):
        return ""
    return f": {text}" if text else ""


def error_text(data: object) -> str:
    """Return what an API answer says went wrong: ``error`` as text or object, with or without ``message``."""
    if not isinstance(data, dict) or not data.get("error"):
        return ""
    error = data["error"]
    if isinstance(error, dict):
        parts = [error.get("code"), error.get("message")]
    else:
        parts = [error, data.get("message")]
    return ": ".join(str(part)[:300] for part in parts if part)


def _network_text(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or inner  # urllib3 wraps what happened
    return f"{type(reason).__name__}: {reason}" if isinstance(reason, Exception) else str(reason)
