# SPDX-License-Identifier: MIT
"""What a command says of its progress: on a terminal a bar, elsewhere a line at least every half minute."""

import pytest

from cheep.commands._progress import EVERY_S, Progress, Reporter, clock_text


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self):
        self.time = 1000.0

    def __call__(self):
        return self.time


class Talk:
    """A reporter without its thread: the test looks at the clock in its place, once a second."""

    def __init__(self, capsys, terminal=False):
        self.clock, self._capsys = Clock(), capsys
        self.reporter = Reporter(self.clock, terminal, look=False)

    def wait(self, seconds):
        for _ in range(round(seconds)):
            self.clock.time += 1
            self.reporter.beat()

    def lines(self):
        captured = self._capsys.readouterr()
        return [line for line in (captured.out + captured.err).splitlines() if line]


@pytest.fixture
def talk(capsys):
    return Talk(capsys)


def test_a_line_at_least_every_half_minute_whatever_the_work(talk):
    """Stages, steps of every length, one long step: no gap of more than 30 s between two lines."""
    times = []
    progress = Progress("epoch", talk.reporter)
    talk.reporter.stage("training")
    plan = [("wait", 100), ("begin", 0), ("wait", 95)]
    plan += [step for epoch in range(1, 4) for step in (("wait", 13), ("step", epoch))] + [("wait", 200), ("step", 4)]
    plan += [("stage", "evaluating"), ("wait", 65)]
    for kind, value in plan:
        if kind == "wait":
            for _ in range(value):
                talk.wait(1)
                times += [talk.clock.time] * bool(talk.lines())
        else:
            {"begin": lambda n: progress.begin(n, 4), "step": lambda n: progress(n, 4), "stage": talk.reporter.stage}[
                kind
            ](value)
            times += [talk.clock.time] * bool(talk.lines())
    gaps = [b - a for a, b in zip([1000.0, *times], [*times, talk.clock.time], strict=True)]
    assert max(gaps) <= 30
    assert len(times) < 1.3 * (talk.clock.time - 1000) / EVERY_S + 3  # and no chatter


def test_the_lines_say_what_is_done_of_how_many_and_the_time_left(talk):
    talk.reporter.stage("fine-tuning")
    progress = Progress("epoch", talk.reporter)
    progress.begin(0, 6)
    assert talk.lines() == ["[   0.0 s] fine-tuning"]
    talk.wait(30)
    assert talk.lines() == ["[  28.0 s] epoch 0 of 6, the next one takes 0:28 so far"]
    talk.wait(122)  # the first epoch holds the compilation
    talk.lines()
    progress(1, 6, "loss 0.500")
    talk.wait(20)
    progress(2, 6, "loss 0.400")
    talk.wait(28)
    line = talk.lines()[-1]
    assert line.startswith("[ 196.0 s] epoch 2 of 6, 0:56 left, loss 0.400, ")  # 4 epochs of 20 s, 24 s of them gone
    progress(3, 6)
    assert progress.left_s == pytest.approx(72)
    talk.wait(15)
    assert progress.left_s == pytest.approx(57)  # it counts down within a step
    talk.wait(100)
    assert progress.left_s == 0
    assert not any("0:00 left" in line for line in talk.lines())


def test_steps_that_follow_one_another_are_no_silence(talk):
    talk.reporter.stage("fine-tuning")
    for name in ("conversion", "scale", "scores", "arena"):
        talk.reporter.working(name)
        talk.wait(20)
    assert [line.split("] ")[1] for line in talk.lines()] == [
        "fine-tuning", "scale … still working, for 0:08", "scores … still working, for 0:16",
    ]  # fmt: skip


def test_what_an_earlier_attempt_did_is_not_counted_as_speed(talk):
    progress = Progress("recordings", talk.reporter)
    progress.begin(900, 1000)
    talk.wait(10)
    progress(901, 1000)
    assert progress.left_s is None  # one step tells nothing
    talk.wait(10)
    progress(902, 1000)
    assert progress.left_s == pytest.approx(980)


def test_another_round_of_the_same_task_starts_anew(talk):
    progress = Progress("epoch", talk.reporter)
    for epoch in (1, 2, 3):
        talk.wait(100)
        progress(epoch, 3)
    talk.wait(5)
    progress(1, 3)  # the next teacher
    assert progress.left_s is None and progress.done == 1


def test_a_finished_task_does_not_beat_and_a_closed_reporter_is_silent(talk):
    Progress("files", talk.reporter)(3, 3)
    talk.wait(60)
    assert talk.lines()[0].endswith("files: all 3 done … still working, for 0:28")
    talk.reporter.close()
    talk.wait(60)
    assert not talk.lines()


def test_a_command_that_says_nothing_of_itself_says_after_half_a_minute_that_it_works(talk):
    talk.reporter.working("cheep verify")
    talk.wait(27)
    assert not talk.lines()
    talk.wait(30)
    assert [line.split("] ")[1] for line in talk.lines()] == [
        "cheep verify … still working, for 0:28", "cheep verify … still working, for 0:56",
    ]  # fmt: skip


def test_on_a_terminal_a_bar_stands_in_place_of_lines(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    talk = Talk(capsys, terminal=True)
    progress = Progress("files", talk.reporter)
    for done in range(1, 5):
        progress(done, 4, "12 kB/s")
        talk.wait(40)
    text = "".join(talk.lines())
    assert "4/4" in text and "12 kB/s" in text and "still working" not in text.split("4/4")[0]


def test_a_thread_looks_at_the_clock_until_the_end():
    reporter = Reporter(look=True)
    reporter.stage("working")
    stop = reporter._stop
    reporter.stage("working on")
    assert reporter._stop is stop and not stop.is_set()
    reporter.close()
    assert stop.is_set() and reporter._stop is None


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00")])
def test_durations(seconds, text):
    assert clock_text(seconds) == text
