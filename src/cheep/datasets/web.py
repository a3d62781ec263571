"""Polite and stubborn HTTP: one request a second, bounded retries with backoff, secrets kept out of every message."""

from __future__ import annotations

import dataclasses
import email.utils
import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cheep import __version__
from cheep.errors import CheepError

log = logging.getLogger(__name__)

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 6
_MAX_JSON_BYTES = 64 << 20
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


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
        self.requests = 0

    def get_json(self, url: str, what: str) -> Any:
        """Return the decoded JSON at ``url``; HTML, garbage and truncated bodies count as overload.

        Raises
        ------
        CheepError
            After the last try, or at once where the server refuses (400, 401, 403, 404).
        """
        return self.stubbornly(lambda: self.get_json_once(url), what)

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

    def open(self, url: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """Start one polite request; raise :class:`Transient` or :class:`Permanent` for a bad status."""
        _check_scheme(url)
        for _ in range(_MAX_REDIRECTS):
            response = self._request(url, headers or {})
            if response.status not in _REDIRECTS:
                return response
            with response:
                target = response.headers.get("Location")
            if not target:
                raise Transient(f"HTTP {response.status} without an address")
            try:
                url = urllib.parse.urljoin(url, target)
            except ValueError:
                raise Permanent(f"redirected to a malformed address {target[:80]!r}") from None
            _check_scheme(url)
        raise Permanent(f"more than {_MAX_REDIRECTS} redirects")

    def _request(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._limit.wait()
        self.requests += 1
        try:
            request = urllib.request.Request(url, headers={"User-Agent": f"cheep/{__version__}", **headers})
            return _OPENER.open(request, timeout=self.politeness.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                wait_s = _retry_after(error.headers.get("Retry-After"))
                message = f"HTTP {error.code} {error.reason}{_server_message(error)}"
            if error.code in _RETRIED:
                raise Transient(message, wait_s) from None
            raise Permanent(message, error.code, error.headers.get("Content-Range") or "") from None
        except ValueError as error:
            raise Permanent(f"malformed address: {error}") from None
        except _NETWORK_ERRORS as error:
            raise Transient(_network_text(error)) from None

    def safe(self, error: object) -> str:
        """Return the text of ``error`` without the secret."""
        text = str(error)
        for form in {self._secret, urllib.parse.quote(self._secret), urllib.parse.quote_plus(self._secret)} - {""}:
            text = text.replace(form, "***")
        return text

    def get_json_once(self, url: str) -> Any:
        """One try of :meth:`get_json`."""
        with self.open(url, {"Accept": "application/json"}) as response:
            try:
                body = response.read(_MAX_JSON_BYTES + 1)
            except _NETWORK_ERRORS as error:
                raise Transient(_network_text(error)) from None
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


class _KeepRedirects(urllib.request.HTTPRedirectHandler):
    """Hand redirects to the caller, so that each of them waits its turn."""

    def http_error_302(self, req, fp, code, msg, headers):
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_OPENER = urllib.request.build_opener(_KeepRedirects())


def _check_scheme(url: str) -> None:
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError:
        raise Permanent(f"malformed address {url[:80]!r}") from None
    if scheme not in ("http", "https"):
        raise Permanent(f"address {url[:80]!r}: must be http or https")


def fix_url(url: str, base: str) -> str:
    """Complete an address that starts with ``//`` or ``/`` from ``base``."""
    return urllib.parse.urljoin(base, url.strip())


def _retry_after(text: str | None) -> float | None:
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _server_message(error: urllib.error.HTTPError) -> str:
    try:
        data = json.loads(error.read(1 << 16))
    except (ValueError, OSError, http.client.HTTPException, RecursionError):
        return ""
    text = error_text(data)
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


def _network_text(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return f"{type(reason).__name__}: {reason}" if not isinstance(reason, str) else reason
