# SPDX-License-Identifier: MIT
"""What a command says while it works: stages, how far it is, and that it still works.

On a terminal a bar (rich); elsewhere a line on stderr at least every half minute, also inside one long step. Jobs know
nothing of it: they are handed callbacks.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

EVERY_S = 28.0  # a line is due after this; with a second between two looks at the clock, within half a minute
_LOOK_S = 1.0


class Progress:
    """How far one task is: call it with (done, total) after each step, and what else to say.

    The time left is told by the steps after the first one, which contains what is done once (compilation, for example).
    """

    def __init__(self, text: str, reporter: Reporter | None = None):
        self.text = text
        self._reporter = reporter or _REPORTER
        self.done = self.total = 0
        self.extra = ""
        self._first: tuple[int, float] | None = None  # the end of the first step
        self._last_s = 0.0

    def __call__(self, done: int, total: int, extra: str = "") -> None:
        if done == 0 or done < self.done:  # from the start, or another round of the same
            self.begin(done, total)
            return
        self.done, self.total, self.extra, self._last_s = done, total, extra, self._reporter.now()
        if self._first is None:
            self._first = (done, self._last_s)
        self._reporter.step(self)

    def begin(self, done: int, total: int) -> None:
        """Start, at ``done`` where an earlier attempt got so far."""
        self.done, self.total, self.extra, self._first, self._last_s = done, total, "", None, self._reporter.now()
        self._reporter.step(self)

    @property
    def left_s(self) -> float | None:
        """Seconds left; None while nothing is known."""
        if self._first is None or self.done <= self._first[0]:
            return None
        each = (self._last_s - self._first[1]) / (self.done - self._first[0])
        return max(0.0, each * (self.total - self.done) - (self._reporter.now() - self._last_s))

    def line(self) -> str:
        """Return all that is known, as one line."""
        parts = [f"{self.text} {self.done} of {self.total}"]
        waited = self._reporter.now() - self._last_s
        if self.done < self.total and self.left_s:  # nothing left, but not done: slower than it was
            parts.append(f"{clock_text(self.left_s)} left")
        parts += [self.extra] if self.extra else []
        if self.done < self.total and waited >= EVERY_S / 2:
            parts.append(f"the next one takes {clock_text(waited)} so far")
        return ", ".join(parts)


class Reporter:
    """The one place that says how far the program is.

    Parameters
    ----------
    clock : callable, optional
        Seconds, rising.
    terminal : bool, optional
        Whether to show bars; default: whether stderr is a terminal.
    look : bool
        Whether a thread looks at the clock; without it, :meth:`beat` is for the caller.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, terminal: bool | None = None, look: bool = True):
        self.now = clock
        self._terminal, self._look = terminal, look
        self._start = self._last_s = self._stage_s = clock()
        self._stage = ""
        self._task: Progress | None = None
        self._bar: Any = None
        self._lock = threading.RLock()
        self._stop: threading.Event | None = None

    def stage(self, text: str) -> None:
        """Say on stdout that a stage begins (or what came out of one), with the seconds since the program started."""
        with self._lock:
            self._end_task()
            self._stage, self._stage_s = text, self.now()
            self._said()
            print(f"[{self.now() - self._start:6.1f} s] {text}", flush=True)

    def working(self, text: str) -> None:
        """Note what begins, without a word: it is said when the next line is due. Many short steps are no silence."""
        with self._lock:
            self._stage, self._stage_s = text, self.now()
            self._watch()

    def step(self, task: Progress) -> None:
        """Take note of a step of a task."""
        with self._lock:
            if self._task is not task:
                self._end_task()
                self._task = task
                self._watch()
            if self._on_terminal():
                self._draw(task)
            elif self.now() - self._last_s >= EVERY_S:
                self._line(task.line())
            if task.done >= task.total:
                self._stage, self._stage_s = f"{task.text}: all {task.total} done", self.now()
                self._end_task()

    def beat(self) -> None:
        """Say that the work goes on, where nothing was said for long."""
        with self._lock:
            if self.now() - self._last_s < EVERY_S or self._bar is not None:
                return
            if self._task is not None:
                self._line(self._task.line())
            elif self._stage:
                self._line(f"{self._stage} … still working, for {clock_text(self.now() - self._stage_s)}")

    def close(self) -> None:
        """End: nothing more is said."""
        with self._lock:
            self._end_task()
            self._stage = ""
            if self._stop is not None:
                self._stop.set()
                self._stop = None

    def _on_terminal(self) -> bool:
        return sys.stderr.isatty() if self._terminal is None else self._terminal

    def _line(self, text: str) -> None:
        self._said()
        print(f"[{self.now() - self._start:6.1f} s] {text}", file=sys.stderr, flush=True)

    def _said(self) -> None:
        self._last_s = self.now()
        self._watch()

    def _watch(self) -> None:
        if self._look and self._stop is None:
            self._stop = threading.Event()
            threading.Thread(target=self._look_at_clock, args=(self._stop,), daemon=True).start()

    def _look_at_clock(self, stop: threading.Event) -> None:
        while not stop.wait(_LOOK_S):
            self.beat()

    def _draw(self, task: Progress) -> None:
        if self._bar is None:
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(), progress.TextColumn("{task.fields[said]}"),
            )  # fmt: skip
            self._bar = progress.Progress(*columns, console=Console(stderr=True))
            self._bar.add_task(task.text, said="", total=task.total)
            self._bar.start()
        left = None if task.done >= task.total else task.left_s
        said = [f"{clock_text(left)} left"] if left is not None else []
        self._bar.update(0, completed=task.done, total=task.total, said=", ".join([*said, task.extra]))

    def _end_task(self) -> None:
        self._task = None
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._last_s = None, self.now()  # it spoke until now


def clock_text(seconds: float) -> str:
    """Return a duration as m:ss or h:mm:ss."""
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


def epochs(text: str = "epoch") -> Callable[[int, int, dict[str, float]], None]:
    """Return what a training calls after each epoch (and at its start, without numbers)."""
    progress = Progress(text)

    def on_epoch(epoch: int, total: int, numbers: dict[str, float]) -> None:
        if numbers:
            progress(epoch, total, f"loss {numbers['loss']:.3f}, validation {numbers['val_loss']:.3f}")
        else:
            progress.begin(epoch, total)

    return on_epoch


_REPORTER = Reporter()
stage = _REPORTER.stage
working = _REPORTER.working
close = _REPORTER.close
