# SPDX-License-Identifier: MIT
"""The tables of a season: their columns, types and units. docs/season.md says the same in words (a test compares)."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pyarrow as pa

from cheep.config import DetectorConfig
from cheep.detector import ScoreScale
from cheep.errors import CheepError

FORMAT = "cheep season"
VERSION = 1

#: Status of a recording. Only those of USABLE count as hours and have detections.
OK, PARTIAL = "ok", "partial"
SILENT, EMPTY, UNREADABLE, LOCKED, VANISHED, FAILED = "silent", "empty", "unreadable", "locked", "vanished", "failed"
DUPLICATE, REPLACED = "duplicate", "replaced"
USABLE = (OK, PARTIAL)
#: Tried again by the next scan: the file may be there, or readable, then.
TRANSIENT = (LOCKED, VANISHED, FAILED)
STATUSES = (OK, PARTIAL, SILENT, EMPTY, UNREADABLE, LOCKED, VANISHED, FAILED, DUPLICATE, REPLACED)

UNKNOWN = "unknown"  # the site, or the date, of which nothing is known

_UTC = pa.timestamp("ms", "UTC")
_LOCAL = pa.timestamp("ms")

#: One row per recording. ``null``: not known.
RECORDINGS = pa.schema(
    [
        ("recording", pa.string()),
        ("site", pa.string()),
        ("deployment", pa.string()),
        ("device", pa.string()),
        ("folder", pa.string()),
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("digest", pa.string()),
        ("start_utc", _UTC),
        ("start_local", _LOCAL),
        ("utc_offset_min", pa.int16()),
        ("time_source", pa.string()),
        ("length_s", pa.float64()),
        ("silent_s", pa.float64()),
        ("noise_db", pa.float32()),
        ("sample_rate_hz", pa.int32()),
        ("channels", pa.int16()),
        ("container", pa.string()),
        ("temperature_c", pa.float32()),
        ("battery_v", pa.float32()),
        ("gain", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("models", pa.list_(pa.string())),
    ]
)

#: One row per detection, in the order of the recordings.
DETECTIONS = pa.schema(
    [
        ("model", pa.string()),
        ("recording", pa.string()),
        ("site", pa.string()),
        ("label", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("start_utc", _UTC),
        ("start_local", _LOCAL),
        ("score", pa.float32()),
        ("first_window", pa.int32()),
        ("last_window", pa.int32()),
        ("peak_sum", pa.int32()),
    ]
)

#: One row per deployment: a device at a site, from its first recording to its last.
DEPLOYMENTS = pa.schema(
    [
        ("deployment", pa.string()),
        ("site", pa.string()),
        ("device", pa.string()),
        ("from_utc", _UTC),
        ("to_utc", _UTC),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("gain", pa.string()),
        ("sample_rate_hz", pa.int32()),
        ("recordings", pa.int32()),
        ("hours", pa.float64()),
    ]
)

_WINDOWS = (("recording", pa.dictionary(pa.int32(), pa.string())), ("window", pa.int32()))
SCORE = "score_"


@dataclasses.dataclass(frozen=True)
class Recording:
    """One recording's row, as :data:`RECORDINGS` has it (without ``models``). ``None`` or empty: not known.

    ``start_utc`` and ``start_local`` are ms since 1970 (of UTC, and of the clock on the wall there).
    """

    recording: str
    folder: str
    path: str
    site: str = UNKNOWN
    deployment: str = ""
    device: str = ""
    bytes: int | None = None
    mtime_ns: int | None = None
    digest: str = ""
    start_utc: int | None = None
    start_local: int | None = None
    utc_offset_min: int | None = None
    time_source: str = ""
    length_s: float = 0.0
    silent_s: float = 0.0
    noise_db: float | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    container: str = ""
    temperature_c: float | None = None
    battery_v: float | None = None
    gain: str = ""
    latitude: float | None = None
    longitude: float | None = None
    status: str = OK
    reason: str = ""

    @property
    def date(self) -> str:
        """Local date of the start, YYYY-MM-DD, or ``unknown``: the partition that the recording lies in."""
        if self.start_local is None:
            return UNKNOWN
        days = datetime.timedelta(milliseconds=self.start_local)
        return (datetime.datetime(1970, 1, 1) + days).date().isoformat()


@dataclasses.dataclass(frozen=True)
class Detection:
    """What the C detector found in one recording: times in s since its start, ``score`` 0..1, window numbers."""

    label: str
    start_s: float
    end_s: float
    score: float
    first_window: int
    last_window: int
    peak_sum: int


class SeasonError(CheepError):
    """A season folder that is missing, damaged, or of another format."""


@dataclasses.dataclass(frozen=True)
class ModelRow:
    """A model of a season: what its scores mean.

    Attributes
    ----------
    model
        First 16 digits of ``sha256``, which name it in paths and tables.
    sha256
        Of the ``.tflite``, which lies beside (``models/MODEL/FILE``).
    file
        Its name where it came from.
    labels
        Of the scores, in order.
    kind, scale, zero_point
        What a raw score means: see :class:`cheep.detector.ScoreScale`, which ``score_scale`` gives.
    stride_s, window_s, stride_frames
        Window i spans ``i * stride_s`` to ``i * stride_s + window_s`` of its recording, s.
    detector
        Settings with which the detections were made (``cheep season detect`` changes them).
    features
        Description of the sound.
    """

    model: str
    sha256: str
    file: str
    labels: tuple[str, ...]
    kind: str
    scale: float
    zero_point: int
    stride_s: float
    window_s: float
    stride_frames: int
    detector: DetectorConfig
    features: dict[str, Any]

    @property
    def score_scale(self) -> ScoreScale:
        """What the raw scores mean; its ``probabilities`` makes them readable."""
        return ScoreScale(self.kind, self.scale, self.zero_point)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "labels": list(self.labels), "detector": self.detector.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> ModelRow:
        """Return the row of a ``model.json``; SeasonError for one that is not."""
        try:
            values = {**values, "labels": tuple(values["labels"])}
            detector = DetectorConfig.parse(values.pop("detector"), where)
            return cls(detector=detector, **values)
        except (KeyError, TypeError) as error:
            raise SeasonError(f"{where}: no model of a season ({error}); scan again (cheep scan)") from None

    @property
    def settings(self) -> str:
        """Digest of the detector's settings, which tells whether stored detections are up to date."""
        return self.detector.sha256[:16]


def storable(text: str) -> str:
    """Return a text that tables can hold: bytes of a file's name that are no UTF-8 as ``\\xe4``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def score_columns(labels: tuple[str, ...]) -> list[str]:
    """Return the names of the score columns: ``score_LABEL``, one per label."""
    return [SCORE + label for label in labels]


def windows_schema(labels: tuple[str, ...]) -> pa.Schema:
    """Return the schema of a model's window scores: recording, window, and an int8 column per label."""
    return pa.schema([*_WINDOWS, *((name, pa.int8()) for name in score_columns(labels))])
