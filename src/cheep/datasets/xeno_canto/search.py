# SPDX-License-Identifier: MIT
"""A search through xeno-canto's API v3: key, pages, and what is kept of them."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

from cheep.config import canonical_json
from cheep.datasets.files import read_text
from cheep.datasets.web import Fetcher, Permanent, Transient, error_text
from cheep.datasets.xeno_canto.recording import BASE_URL, XcRecording
from cheep.errors import CheepError
from cheep.files import write_text

log = logging.getLogger(__name__)
KEY_VARIABLE = "XENO_CANTO_API_KEY"
_HOW_TO_GET_A_KEY = (
    f"register at {BASE_URL}, confirm your e-mail address, and copy the key from {BASE_URL}/account; then set "
    f"{KEY_VARIABLE}=... in the environment, or write the key to a file and give --key-file FILE"
)


def read_key(key_file: Path | None = None) -> str:
    """Return the API key from a file or the environment.

    Raises
    ------
    CheepError
        There is none; the message tells how to get one.
    """
    if key_file is not None:
        key = read_text(key_file, 1 << 16).strip()
        where = str(key_file)
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        where = KEY_VARIABLE
    if not key:
        raise CheepError(f"xeno-canto needs an API key (free): {_HOW_TO_GET_A_KEY}")
    if not re.fullmatch(r"[\x21-\x7e]{8,256}", key):
        raise CheepError(f"{where}: does not hold an API key (one word of 8 characters or more): {_HOW_TO_GET_A_KEY}")
    return key


def search(
    query: str, fetcher: Fetcher, key: str, base_url: str = BASE_URL, cache: Path | None = None, per_page: int = 500
) -> tuple[list[XcRecording], list[str]]:
    """Return ``(recordings, problems)`` of all pages; rows that repeat across pages count once.

    Pages that arrived are kept in ``cache`` (without the key), so that an interrupted search goes on.
    """
    name = hashlib.sha256(canonical_json([base_url, query, per_page]).encode()).hexdigest()[:16]
    found: dict[int, XcRecording] = {}
    problems: list[str] = []
    page, pages = 1, 1
    data: dict[str, Any] = {}
    while page <= pages:
        path = cache / f"{name}-{page:04d}.json" if cache is not None else None
        cached = _cached(path)
        if cached is not None:
            data = cached
        else:
            parameters = {"query": query, "key": key, "per_page": per_page, "page": page}
            url = f"{base_url}/api/3/recordings?{urllib.parse.urlencode(parameters)}"
            data = fetcher.stubbornly(functools.partial(_page, fetcher, url), f"search {query!r}, page {page}")
            if path is not None:
                write_text(path, json.dumps(data, sort_keys=True).replace(key, "***"))
        pages = min(max(count(data.get("numPages"), "numPages"), 1), 10_000)
        for row in data["recordings"]:
            try:
                recording = XcRecording.from_row(row, base_url)
            except ValueError as error:
                problems.append(f"search {query!r}, page {page}: {error}")
                continue
            found.setdefault(recording.number, recording)
        page += 1
    expected = count(data.get("numRecordings"), "numRecordings")
    if len(found) + len(problems) < expected:
        log.warning("search %r: the server announced %d recordings and sent %d", query, expected, len(found))
    return list(found.values()), problems


def _page(fetcher: Fetcher, url: str) -> dict[str, Any]:
    data = fetcher.get_json_once(url)
    if not isinstance(data, dict):
        raise Transient(f"{type(data).__name__} instead of an object")
    if text := error_text(data):
        raise Permanent(text)
    if not isinstance(data.get("recordings"), list):
        raise Transient("no list of recordings in the answer")
    return data


def _cached(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.is_file():
        return None
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("recordings"), list) else None


def count(value: Any, name: str) -> int:
    """Return a count that came as number or text; 0 for nothing."""
    if value is None or value == "":
        return 0
    try:
        return int(str(value).replace(",", "").strip())
    except ValueError:
        raise CheepError(
            f"xeno-canto answered {name}={str(value)[:40]!r}: not a number (has the API changed?)"
        ) from None
