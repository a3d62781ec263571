# SPDX-License-Identifier: MIT
"""The terminal: level, scrolling mel spectrogram, score bars, event log (rich); and plain lines for pipes.

The views take their data through two calls, so that the microphone and a board's serial line share them:
``columns``/``scores``/``event`` for what arrives, ``refresh`` for the numbers beside it.
"""

from __future__ import annotations

import collections
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from typing_extensions import Self

from cheep.detector import show_probability
from cheep.device.engine import Engine, LiveEvent, StepResult
from cheep.live.session import Status

_LEVELS = 16
_BLOCKS = " ▏▎▍▌▋▊▉█"
# black - violet - orange - pale yellow, as magma runs; (red, green, blue) corners
_CORNERS = np.array([(0, 0, 4), (60, 15, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)])


def _palette() -> list[str]:
    places = np.linspace(0, len(_CORNERS) - 1, _LEVELS)
    colours = [np.interp(places, np.arange(len(_CORNERS)), _CORNERS[:, c]).round().astype(int) for c in range(3)]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in zip(*colours, strict=True)]


class Spectrogram:
    """The last columns as half-block characters, two mel bands per line, lowest band at the bottom.

    ``height`` is in terminal lines; bands are averaged where there are more of them.
    """

    def __init__(self, n_mels: int, height: int = 16):
        self._height = min(height, (n_mels + 1) // 2)
        self._bands = np.array_split(np.arange(n_mels), 2 * self._height)
        self._columns: collections.deque[np.ndarray] = collections.deque(maxlen=512)
        self._low, self._high = -128.0, -64.0
        palette = _palette()
        self._cell = [
            [Segment("▀", Style(color=upper, bgcolor=lower)) for lower in palette] for upper in palette
        ]  # [upper][lower]

    def push(self, columns: np.ndarray) -> None:
        """Take columns (k, n_mels) int8."""
        for column in columns.astype(np.float32):
            self._columns.append(np.array([column[band].mean() for band in self._bands]))
            self._low += 0.02 * (float(np.percentile(column, 20)) - self._low)
            self._high = max(float(column.max()), self._high - 0.25, self._low + 30)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        shown = list(self._columns)[-width:]
        if shown:
            scaled = (np.array(shown) - self._low) / (self._high - self._low) * _LEVELS
            level = np.clip(scaled, 0, _LEVELS - 1).astype(int)  # (columns, 2 * height)
        for line in range(self._height):
            upper = 2 * (self._height - line) - 1
            if shown:
                row = level[:, upper - 1 : upper + 1]
                for (low, high), same in itertools.groupby(row.tolist()):
                    cell = self._cell[high][low]
                    yield Segment(cell.text * sum(1 for _ in same), cell.style)
            yield Segment.line()


class Screen:
    """What a terminal view is drawn on: on while it is entered, drawn at most ``frames_per_s`` times a second.

    A view defines ``__rich_console__``.
    """

    def __init__(self, console: Console | None, frames_per_s: float):
        self.console = console or Console()
        self._period, self._drawn = 1.0 / frames_per_s, 0.0
        self._live = Live(self, console=self.console, auto_refresh=False)  # type: ignore[arg-type]  # views are drawn

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.refresh()
        self._live.__exit__(kind, problem, trace)

    def draw(self, force: bool = False) -> None:
        """Draw if it is time."""
        now = time.monotonic()
        if force or now - self._drawn >= self._period:
            self._drawn = now
            self._live.refresh()


class TerminalView(Screen):
    """Everything at a glance; redraws at most ``frames_per_s`` times a second."""

    def __init__(
        self,
        title: str,
        labels: Sequence[str],
        n_mels: int,
        thresholds: Sequence[float | None] = (),
        console: Console | None = None,
        frames_per_s: float = 5.0,
        help_text: str = "space pause   r save the last 10 s   Ctrl-C end",
    ):
        super().__init__(console, frames_per_s)
        self._title, self._labels, self._help = title, list(labels), help_text
        self._thresholds = list(thresholds) or [None] * len(self._labels)
        lines = self.console.size.height - 8 - len(self._labels) - 6
        self._spectrogram = Spectrogram(n_mels, max(4, min(16, lines)))
        self._scores = np.zeros(len(self._labels))
        self._log: collections.deque[str] = collections.deque(maxlen=6)
        self._status = Status()

    def columns(self, columns: np.ndarray) -> None:
        """Take mel columns (k, n_mels) int8."""
        self._spectrogram.push(columns)

    def scores(self, values: Iterable[float]) -> None:
        """Take the network's scores, 0..1, one per label."""
        self._scores = np.array(list(values), float)

    def event(self, text: str) -> None:
        """Add a line to the log."""
        self._log.append(text)

    def refresh(self, status: Status, force: bool = False) -> None:
        """Draw if it is time."""
        self._status = status
        self.draw(force)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        status, width = self._status, options.max_width
        head = Text(self._title, style="bold", overflow="ellipsis", no_wrap=True)
        yield head
        yield _level_line(status, width)
        yield self._spectrogram
        name_width = max((len(label) for label in self._labels), default=0)
        for label, value, threshold in zip(self._labels, self._scores, self._thresholds, strict=True):
            yield score_bar(label, value, threshold, name_width, max(10, width - name_width - 8))
        yield Text("─" * width, style="dim")
        for line in self._log:
            yield Text(line, overflow="ellipsis", no_wrap=True)
        yield _foot(status, self._help)


class PlainView:
    """One line per event; for pipes and logs."""

    def __init__(self, write: Callable[[str], object]):
        self._write = write

    def columns(self, columns: np.ndarray) -> None:
        """Mel columns (k, n_mels) int8 are not shown."""

    def scores(self, values: Iterable[float]) -> None:
        """Scores are not shown."""

    def event(self, text: str) -> None:
        """Write the line at once."""
        self._write(text)

    def refresh(self, status: Status, force: bool = False) -> None:
        """Numbers are not shown."""


class EngineView:
    """Feeds a view from an engine's steps."""

    def __init__(self, view: TerminalView | PlainView, engine: Engine):
        self._view, self._engine = view, engine

    def step(self, pcm: np.ndarray, result: StepResult, status: Status) -> None:
        """Show one step (Observer): ``pcm`` (n,) int16 and what the engine made of it."""
        self._view.columns(result.columns)
        if result.windows:
            self._view.scores(self._engine.probability(result.windows[-1].scores))
        for event in result.events:
            self._view.event(event_line(event))
        self._view.refresh(status)


def event_line(event: LiveEvent) -> str:
    """Return an event as one line: times in s since the start."""
    if event.ended:
        return f"{event.start_s:9.2f} - {event.end_s:9.2f} s  {event.label}  {show_probability(event.score)}"
    return f"{event.start_s:9.2f} -           s  {event.label}  {show_probability(event.score)} …"


def score_bar(label: str, value: float, threshold: float | None, name_width: int, width: int) -> Text:
    """Return one line: name, bar with its threshold, value."""
    value = min(max(float(value), 0.0), 1.0)
    eighths = round(value * width * 8)
    bar = "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")
    bar = bar[:width].ljust(width)
    style = "green" if threshold is not None and value >= threshold else "cyan"
    text = Text(f"{label:<{name_width}} ", no_wrap=True)
    if threshold is None:
        text.append(bar, style="dim")
    else:
        mark = min(width - 1, int(threshold * width))
        text.append(bar[:mark], style=style)
        text.append("│" if bar[mark] == " " else bar[mark], style="yellow")
        text.append(bar[mark + 1 :], style=style)
    text.append(f" {show_probability(value)}")
    return text


def _level_line(status: Status, width: int) -> Text:
    size = max(10, min(40, width - 34))
    filled = round(min(max((status.level_db + 90) / 90, 0), 1) * size)
    peak = min(size - 1, round(min(max((status.peak_db + 90) / 90, 0), 1) * size))
    bar = list("━" * filled + " " * (size - filled))
    bar[peak] = "┃"
    style = "red" if status.peak_db > -0.5 else "green"
    text = Text("level ", no_wrap=True)
    text.append("".join(bar), style=style)
    text.append(f" {status.level_db:6.1f} dBFS, peak {status.peak_db:6.1f}")
    return text


def _foot(status: Status, help_text: str) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{status.audio_s:.0f} s   ")
    if status.latency_s is not None:
        text.append(f"latency {1000 * status.latency_s:.0f} ms   ")
    text.append(f"dropped {status.dropped}", style="red" if status.dropped else "")
    if status.clipped:
        text.append(f"   clipped {status.clipped}", style="red")
    if status.silent_s > 3:
        text.append("   only zeros: muted, or the system denies the microphone", style="red")
    if status.paused:
        text.append("   PAUSED", style="yellow bold")
    text.append(f"   {status.message or help_text}", style="dim")
    return text
