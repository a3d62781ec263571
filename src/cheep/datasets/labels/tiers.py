# SPDX-License-Identifier: MIT
"""Annotations in the files of programs that draw them in tiers and layers: Praat, ELAN, Sonic Visualiser.

A tier's own name is another name of what its intervals say: people name tiers by the species, or intervals.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from cheep.datasets.labels.boxes import NOTHING, Box, NoAnnotationsError, checked_box
from cheep.datasets.numbers import number_field
from cheep.errors import CheepError

NO_LENGTH = "point(s) and box(es) without length passed over: they mark no stretch"
_TOKEN = re.compile(r'"(?:[^"]|"")*"|<[a-z]+>|(?<![^\s])[-+]?[0-9][0-9.eE+-]*(?![^\s])')
_MAX_XML_BYTES = 1 << 28


def is_textgrid(text: str) -> bool:
    """Tell whether a text is a Praat TextGrid, in its long or short form."""
    return re.match(r'\s*File type = "ooTextFile( short)?"\s+(Object class = )?"TextGrid"', text) is not None


def parse_textgrid(path: Path, text: str, notes: Counter[str]) -> list[Box]:
    """Read a Praat TextGrid: a box for each interval that has a text. Points are passed over and counted in ``notes``.

    Of both forms only strings, numbers and ``<flags>`` that stand alone count, as in Praat itself.
    """
    tokens = _Tokens(path, text)
    tokens.string(), tokens.string()  # file type, class
    tokens.number(), tokens.number()  # the extent of the recording
    if tokens.next()[0] != "<exists>":
        return [NOTHING]
    boxes: list[Box] = []
    for _ in range(tokens.count()):
        kind, tier = tokens.string(), tokens.string()
        tokens.number(), tokens.number()
        for _ in range(tokens.count()):
            start, line = tokens.number()
            if kind == "IntervalTier":
                end, _ = tokens.number()
                label = tokens.string().strip()
                if label:
                    boxes.append(checked_box(path, line, start, end, [label, tier] if tier else [label], None, None))
            else:
                notes[NO_LENGTH] += bool(tokens.string())
    return boxes or [NOTHING]


class _Tokens:
    """The strings, numbers and flags of a text file of Praat, in their order."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text
        self._found = _TOKEN.finditer(text)
        self._line, self._at = 1, 0

    def next(self) -> tuple[str, int]:
        """Return the next token and its line."""
        found = next(self._found, None)
        if found is None:
            raise CheepError(f"{self._path}:{self._line}: ends early: save the TextGrid again in Praat")
        self._line += self._text.count("\n", self._at, found.start())
        self._at = found.start()
        return found[0], self._line

    def string(self) -> str:
        """Return the next token, which must be a string."""
        token, line = self.next()
        if not token.startswith('"'):
            raise CheepError(f"{self._path}:{line}: {token[:40]}: must be a text in quotes (a TextGrid of Praat)")
        return token[1:-1].replace('""', '"')

    def number(self) -> tuple[float, int]:
        """Return the next token, which must be a number, and its line."""
        token, line = self.next()
        return number_field(token, self._path, line, "time"), line

    def count(self) -> int:
        """Return the next token, a number of things that follow."""
        value, line = self.number()
        if value != int(value) or value < 0:
            raise CheepError(f"{self._path}:{line}: {value:g}: must be a number of tiers or intervals")
        return int(value)


def _root(path: Path, text: str) -> ET.Element:
    if len(text) > _MAX_XML_BYTES or "<!ENTITY" in text:
        raise CheepError(f"{path}: too large, or with entities of its own, for a file of annotations")
    try:
        return ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>|<!DOCTYPE[^>]*>", "", text))  # the text is decoded already
    except ET.ParseError as error:
        raise CheepError(f"{path}:{error.position[0]}: not XML: {error}") from None


def parse_elan(path: Path, text: str, notes: Counter[str]) -> dict[str, list[Box]]:
    """Read an ELAN document (``.eaf``): a box for each annotation with a text, by the audio that it is linked to.

    Annotations that refer to another one have its times. ``notes`` counts what is passed over.

    Raises
    ------
    CheepError
        No XML, or a time that is no number.
    NoAnnotationsError
        XML of something else.
    """
    root = _root(path, text)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise NoAnnotationsError(f"{path}:1: <{root.tag[:40]}>: no ELAN document")
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    name, origin_s = "", 0.0
    if media is not None:
        name = re.split(r"[\\/]", media.get("MEDIA_URL") or media.get("RELATIVE_MEDIA_URL") or "")[-1]
        origin_s = number_field(media.get("TIME_ORIGIN") or "0", path, 1, "TIME_ORIGIN") / 1000
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    spans = {
        item.get("ANNOTATION_ID"): (item.get("TIME_SLOT_REF1"), item.get("TIME_SLOT_REF2"))
        for item in root.iter("ALIGNABLE_ANNOTATION")
    }
    parents = {item.get("ANNOTATION_ID"): item.get("ANNOTATION_REF") for item in root.iter("REF_ANNOTATION")}
    boxes: list[Box] = []
    for tier in root.iter("TIER"):
        for item in (*tier.iter("ALIGNABLE_ANNOTATION"), *tier.iter("REF_ANNOTATION")):
            label = (item.findtext("ANNOTATION_VALUE") or "").strip()
            known = item.get("ANNOTATION_ID")
            for _ in range(len(parents)):  # from a reference to what it refers to
                known = parents.get(known, known)
            times = [slots.get(slot) for slot in spans.get(known, ())]
            if not label:
                continue
            if len(times) != 2 or None in times:
                notes["annotation(s) without a time of their own passed over"] += 1
                continue
            start, end = (number_field(str(time), path, 1, "TIME_VALUE") / 1000 - origin_s for time in times)
            if start == end:
                notes[NO_LENGTH] += 1
                continue
            names = [label, *filter(None, [tier.get("TIER_ID")])]
            boxes.append(checked_box(path, 1, start, end, names, None, None))
    return {name: boxes or [NOTHING]}


def parse_layer(path: Path, text: str, notes: Counter[str]) -> list[Box]:
    """Read a layer of Sonic Visualiser (``.svl``): its regions and boxes; instants are passed over and counted.

    Raises
    ------
    CheepError
        No XML, or a field that is no number, or a sample rate of 0.
    NoAnnotationsError
        XML of something else.
    """
    root = _root(path, text)
    model, dataset = root.find("data/model"), root.find("data/dataset")
    if root.tag != "sv" or model is None or dataset is None:
        raise NoAnnotationsError(f"{path}:1: no layer of Sonic Visualiser (File, Export Annotation Layer)")
    rate = number_field(model.get("sampleRate") or "", path, 1, "sampleRate")
    if rate <= 0:
        raise CheepError(f"{path}:1: sampleRate={rate:g}: must be above 0")
    boxes: list[Box] = []
    for point in dataset.iter("point"):
        start, length = (number_field(point.get(key) or "0", path, 1, key) / rate for key in ("frame", "duration"))
        if length <= 0:
            notes[NO_LENGTH] += 1
            continue
        low = high = None
        if point.get("extent"):  # a box in the spectrogram
            low = number_field(point.get("value") or "0", path, 1, "value")
            high = low + number_field(point.get("extent") or "0", path, 1, "extent")
        label = (point.get("label") or "").strip()

        boxes.append(checked_box(path, 1, start, start + length, [label] if label else [], low, high))
    return boxes or [NOTHING]
