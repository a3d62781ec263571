# SPDX-License-Identifier: MIT
"""GUANO text, ``Key: value`` by line, as AudioMoths, bat detectors and Song Meters write it into a WAV."""

from __future__ import annotations

import contextlib
import datetime
import re


def guano_values(text: str) -> dict[str, str]:
    """Return the values of a GUANO text by key (``NAMESPACE|Key``)."""
    return dict(re.findall(r"^([^:\r\n]+):[ \t]*([^\r\n]*?)[ \t\0]*$", text, re.MULTILINE))


def parse_iso(text: str) -> datetime.datetime | None:
    """Return a time in any of the forms of ISO 8601 that recorders use, with its zone if it has one; else ``None``."""
    text = re.sub(r"[ ]?Z$", "+00:00", text.strip())
    text = re.sub(r" (?=[+-][0-9]{2}:?[0-9]{2}$)", "", text)
    text = re.sub(r"(:[0-9]{2}[0-9.]*[+-][0-9]{2})([0-9]{2})$", r"\1:\2", text)
    text = re.sub(r"(\.[0-9]+)", lambda match: match[1][:7].ljust(7, "0"), text)
    with contextlib.suppress(ValueError):
        return datetime.datetime.fromisoformat(text)
    return None
