# SPDX-License-Identifier: MIT
"""A board's messages: shown, logged, counted."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cheep.detector import show_probability
from cheep.errors import CheepError
from cheep.live.serial_lines import LineReader

CSV_COLUMNS = ("received", "type", "state", "label", "start_s", "end_s", "score", "text")


class Monitor:
    """Takes bytes, gives messages to ``show``, and logs them.

    Parameters
    ----------
    show : callable
        Called with each intact message.
    csv_path, jsonl_path : Path, optional
        Logs; appended to where they exist.
    """

    def __init__(
        self, show: Callable[[dict[str, Any]], None], csv_path: Path | None = None, jsonl_path: Path | None = None
    ):
        self.reader = LineReader()
        self.events: Counter[str] = Counter()
        self.boot: dict[str, Any] | None = None
        self._show = show
        self._csv = _append(csv_path)
        self._jsonl = _append(jsonl_path)
        self._rows = csv.writer(self._csv, lineterminator="\n") if self._csv else None
        if self._rows and self._csv.tell() == 0:
            self._rows.writerow(CSV_COLUMNS)

    def feed(self, data: bytes) -> None:
        """Take bytes as they come."""
        for message in self.reader.feed(data):
            if message["type"] == "boot":
                self.boot = message
            if message["type"] == "event" and message.get("state") == "start":
                self.events[str(message.get("label"))] += 1
            if message["type"] == "hdc_event":
                self.events[str(message.get("class"))] += 1
            self._log(message)
            self._show(message)

    def close(self) -> None:
        """Close the logs."""
        for stream in (self._csv, self._jsonl):
            if stream:
                stream.close()

    def _log(self, message: dict[str, Any]) -> None:
        received = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        if self._jsonl:
            self._jsonl.write(json.dumps({"received": received, **message}, ensure_ascii=False) + "\n")
            self._jsonl.flush()
        if self._rows:
            rest = {} if message["type"] == "event" else {k: v for k, v in message.items() if k != "type"}
            text = json.dumps(rest, ensure_ascii=False) if rest else ""
            self._rows.writerow([received, *(message.get(name, "") for name in CSV_COLUMNS[1:-1]), text])
            self._csv.flush()


def _append(path: Path | None):
    if path is None:
        return None
    try:
        return open(path, "a", newline="", encoding="utf-8")
    except OSError as error:
        raise CheepError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def describe(message: dict[str, Any]) -> str:
    """Return a message as one line for people."""
    kind = message["type"]
    if kind == "event":
        start, end = _seconds(message.get("start_s")), _seconds(message.get("end_s"))
        running = message.get("state") == "start"
        shown = _shown(message.get("score")) + (" …" if running else "")
        return f"{start:>9} - {'' if running else end:>9} s  {message.get('label')}  {shown}"
    if kind == "boot":
        return (
            f"boot: {message.get('board')}, model {message.get('model')}, features {message.get('features')}, "
            f"{message.get('sample_rate_hz')} Hz, self-check passed"
        )
    if kind == "error":
        return f"ERROR at stage {message.get('stage')}: {message.get('reason')}"
    if kind.startswith("hdc_"):
        return _describe_head(message)
    if kind == "microphone":
        reason = f": {message.get('reason')}" if message.get("reason") else ""
        return f"microphone: {message.get('state')} at {message.get('t_s')} s{reason}"
    if kind == "slow":
        return _describe_slow(message)
    lost = message.get("lost_samples", 0)
    skipped = f", {message.get('skipped')} windows left out" if message.get("skipped") else ""
    return (
        f"{message.get('t_s')} s: {message.get('windows')} windows, worst ms per column {message.get('frontend_ms')}, "
        f"model {message.get('model_ms')}; lost samples {lost}{skipped}{_describe_card(message)}, "
        f"stack {message.get('stack_bytes')} bytes" + _describe_input(message)
    )


def _describe_card(message: dict[str, Any]) -> str:
    rows, clips = message.get("lost_rows"), message.get("damaged_clips")
    return f", card: {rows or 0} rows lost, {clips or 0} clips damaged" if rows or clips else ""


def _describe_input(message: dict[str, Any]) -> str:
    if "level_db" not in message:  # a board with an older firmware
        return ""
    parts = [f"; input {message['level_db']} dB"]
    parts += [f"offset {message['dc']}"] if message.get("dc") else []
    for name, text in (("clipped", "clipped"), ("zeros", "zeros")):
        share = message.get(name)
        if isinstance(share, (int, float)) and share >= 0.001:
            parts.append(f"{share:.1%} {text}")
    return ", ".join(parts)


def _describe_slow(message: dict[str, Any]) -> str:
    every = message.get("every")
    what = "samples are lost" if every == 1 else f"one window in {every} is run"
    return (
        f"TOO SLOW: a window takes {message.get('window_ms')} ms, every {message.get('stride_ms')} ms one is due; "
        f"{what} (use the compiled network, a smaller one or a longer stride)"
    )


def _describe_head(message: dict[str, Any]) -> str:
    kind, name = message["type"], message.get("class")
    if kind == "hdc_event":
        return f"nearest class: {name}  {_two(message.get('score'))}"
    if kind == "hdc_learned":
        saved = "saved" if message.get("saved") else "NOT saved: lost with the power"
        return f"learned {name} from {message.get('windows')} windows, {saved}"
    if kind == "hdc_error":
        return f"ERROR: {message.get('why')}"
    learned = message.get("learned")
    items = [item for item in learned if isinstance(item, dict)] if isinstance(learned, list) else []
    names = ", ".join(f"{item.get('class')} ({item.get('windows')} windows)" for item in items) or "none"
    return f"{message.get('fixed')} fixed classes; learned: {names}; room for {message.get('free')} more"


def check_boot(message: dict[str, Any], model_sha256: str, feature_hash: int) -> str | None:
    """Compare a boot message with the model on this machine; return what differs, or None."""
    if message.get("model") != model_sha256[:8]:
        return (
            f"the board runs model {message.get('model')}, this machine has {model_sha256[:8]}: upload again "
            "(cheep upload), or give the board's run with --model"
        )
    if str(message.get("features")) != f"0x{feature_hash:08x}":
        return f"the board's feature settings are {message.get('features')}, this machine's 0x{feature_hash:08x}"
    return None


def _seconds(value: Any) -> str:
    return f"{float(value):.2f}" if isinstance(value, (int, float)) else "?"


def _shown(value: Any) -> str:
    return show_probability(float(value)) if isinstance(value, (int, float)) else "?"


def _two(value: Any) -> str:
    return f"{float(value):.2f}" if isinstance(value, (int, float)) else "?"
