# SPDX-License-Identifier: MIT
"""The terminal view of a board: events, scores at their peaks, statistics."""

from __future__ import annotations

import collections
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cheep.live.monitor import describe
from cheep.live.serial_lines import LineCounts
from cheep.live.view import Screen, score_bar


class BoardView(Screen):
    """Shows the messages of one board; redraws at most five times a second."""

    def __init__(self, port: str, console: Console | None = None):
        super().__init__(console, frames_per_s=5.0)
        self._port = port
        self._about = "waiting for the board's boot line (press its reset button)"
        self._peaks: dict[str, float] = {}
        self._running: dict[str, bool] = {}
        self._log: collections.deque[str] = collections.deque(maxlen=12)
        self._statistics = ""
        self._trouble: dict[str, str] = {}  # what is wrong now, by the message's type
        self._counts = LineCounts()

    def message(self, message: dict[str, Any]) -> None:
        """Take one message."""
        kind = message["type"]
        if kind == "event":
            label = str(message.get("label"))
            self._running[label] = message.get("state") == "start"
            score = message.get("score")
            self._peaks[label] = float(score) if isinstance(score, (int, float)) else 0.0
            self._log.append(describe(message))
        elif kind.startswith("hdc_"):
            self._log.append(describe(message))
        elif kind == "stats":
            self._statistics = describe(message)
        elif kind in ("microphone", "slow"):
            self._log.append(describe(message))
            self._trouble[kind] = "" if message.get("state") == "heard" else describe(message)
        else:
            self._about = describe(message)
            self._log.append(self._about)
            self._trouble.clear()

    def note(self, text: str) -> None:
        """Add a remark to the log."""
        self._log.append(text)

    def refresh(self, counts: LineCounts) -> None:
        """Draw if it is time."""
        self._counts = counts
        self.draw()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield Text(self._port, style="bold")
        yield Text(self._about, style="red" if self._about.startswith("ERROR") else "", overflow="ellipsis")
        for trouble in filter(None, self._trouble.values()):
            yield Text(trouble, style="red", overflow="ellipsis", no_wrap=True)
        names = max(map(len, self._peaks), default=0)
        for label, peak in self._peaks.items():
            shown = peak if self._running.get(label) else 0.0
            yield score_bar(label, shown, None, names, max(10, width - names - 8))
        yield Text("─" * width, style="dim")
        for line in self._log:
            yield Text(line, overflow="ellipsis", no_wrap=True)
        yield Text(self._statistics, style="dim", overflow="ellipsis", no_wrap=True)
        counts = self._counts
        foot = f"{counts.intact} lines, {counts.damaged} damaged, {counts.other_bytes} other bytes   Ctrl-C end"
        yield Text(foot, style="red" if counts.damaged else "dim", overflow="ellipsis", no_wrap=True)
