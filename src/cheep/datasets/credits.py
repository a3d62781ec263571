# SPDX-License-Identifier: MIT
"""Who made the recordings, under which licence, and what that means for a model made of them."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

_ND = (
    "NoDerivatives (ND): {count} recording(s). The licence does not allow sharing adapted material. Cut, resampled or\n"
    "otherwise changed copies of these recordings must not be passed on. Whether a trained model is adapted material\n"
    "is not settled law: to be safe, leave ND recordings out of a model that you release (--licence)."
)
_NC = (
    "NonCommercial (NC): {count} recording(s). Use is allowed for non-commercial purposes only. A model trained on\n"
    "them should be released, and used, for non-commercial purposes only, unless the recordists agree otherwise."
)
_SA = "ShareAlike (SA): {count} recording(s). Adapted copies that you pass on must carry the same licence."
_UNKNOWN = "No licence stated: {count} recording(s). Without one, nothing may be passed on: ask the recordist."


def conditions(licence: str) -> frozenset[str]:
    """Return the conditions in a licence name: of ``NC``, ``ND``, ``SA``, or ``?`` where none is stated."""
    if not licence.strip():
        return frozenset("?")
    words = licence.upper().replace("-", " ").replace("/", " ").split()
    return frozenset(word for word in words if word in ("NC", "ND", "SA"))


def licence_hints(licences: Sequence[str]) -> list[str]:
    """Return what the licences of the recordings, one text each, mean for a released model."""
    counts = collections.Counter(part for licence in licences for part in conditions(licence))
    texts = (("ND", _ND), ("NC", _NC), ("SA", _SA), ("?", _UNKNOWN))
    return [text.format(count=counts[part]) for part, text in texts if counts[part]]


def notice_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the NOTICE: counts per licence, what they mean, and one credit line per recording."""
    seen = {row["recording"]: row for row in rows}
    licences = collections.Counter(row["licence"] or "no licence stated" for row in seen.values())
    lines = [f"This data set holds {len(seen)} recordings by other people.", ""]
    lines += [f"  {count:5d}  {licence}" for licence, count in sorted(licences.items())]
    for hint in licence_hints([row["licence"] for row in seen.values()]):
        lines += ["", hint]
    lines += ["", "Recordings", ""]
    lines += [f"  {row['attribution'] or row['recording']}" for row in rows]
    return "\n".join(lines) + "\n"
