# SPDX-License-Identifier: MIT
"""What a board does when its microphone is silent, fails or is gone, and when its network is too slow."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cheep.boards.host import HostApplication
from cheep.errors import CheepError
from cheep.export import load_export
from cheep.live.monitor import describe
from cheep.tflite.tflm import TflmModel
from compiled_application import compiled_application
from tone_model import tones, write_tone_run

RATE, BLOCK = 8000, 128


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return load_export(write_tone_run(tmp_path_factory.mktemp("run")))


class Board(HostApplication):
    """A board in simulated time: while the network works, the clock goes on and samples keep coming."""

    def __init__(self, export, pcm, window_s, at_boot=True, **options):
        self._pcm, self._at, self._window_s = pcm, 0, window_s if at_boot else 0.0
        self._network = TflmModel(export.bundle.model.data)
        super().__init__(export, runtime=self, real_time=True, **options)
        self._window_s = window_s

    def scores(self, windows):
        self.clock_add_us(round(self._window_s * 1e6))
        if self._at:
            self.hear(self._window_s)
        return self._network.scores(windows)

    def hear(self, seconds):
        for _ in range(round(seconds * RATE / BLOCK)):
            self.push(self._pcm[self._at : self._at + BLOCK])
            self._at += BLOCK

    def listen(self):
        """The main loop until the audio ends; yield the messages."""
        self._at = 0
        while self._at < len(self._pcm):
            self.clock_add_us(BLOCK * 1_000_000 // RATE)
            self.hear(BLOCK / RATE)
            while self.poll(800):
                pass
        return [json.loads(line) for line in [*self.lines(), *self.finish()]]


def of(messages, kind):
    return [m for m in messages if m["type"] == kind]


SPANS = [(8, 12, "high"), (20, 24, "low"), (40, 44, "high")]


@pytest.mark.parametrize("at_boot", [True, False], ids=["measured at boot", "slow only later"])
def test_a_network_that_is_too_slow_leaves_windows_out_and_says_so(export, at_boot):
    messages = Board(export, tones(SPANS, 64), 0.7, at_boot).listen()
    (slow,) = of(messages, "slow")
    assert slow["t_s"] <= 5 and slow["every"] == 3 and slow["stride_ms"] == 250
    assert 700 <= slow["window_ms"] < 750
    (stats,) = of(messages, "stats")
    assert stats["overruns"] <= (0 if at_boot else 1)  # by the time it was seen, most of the ring was full
    assert stats["windows"] == pytest.approx(60 / 0.75, abs=8)
    assert stats["windows"] + stats["skipped"] == pytest.approx(60 / 0.25, abs=14)
    ended = [m for m in of(messages, "event") if m["state"] == "end"]
    assert [m["label"] for m in ended] == ["high", "low", "high"]
    for event, (start, end, _) in zip(ended, SPANS, strict=True):
        assert start - 1.5 < event["start_s"] < start + 1.5 and end - 1.5 < event["end_s"] < end + 1.5
    assert "one window in 3 is run" in describe(slow) and "160 windows left out" in describe({**stats, "skipped": 160})


def test_a_network_slower_than_the_ring_goes_on_with_gaps(export):
    messages = Board(export, tones([(10, 30, "high")], 64), 3.0).listen()
    (slow,) = of(messages, "slow")
    assert slow["t_s"] == 0 and slow["every"] == 13
    (stats,) = of(messages, "stats")
    assert stats["overruns"] >= 10 and stats["lost_samples"] > 10 * RATE and stats["windows"] >= 12
    assert stats["t_s"] == pytest.approx(60, abs=2)
    assert of(messages, "event")[0]["label"] == "high"


def test_a_fast_network_runs_every_window(export):
    pcm = tones(SPANS[:1], 64)
    messages = Board(export, pcm, 0.2).listen()
    assert of(messages, "slow") == [] and of(messages, "stats")[0]["skipped"] == 0
    plain = HostApplication(export)
    expected = [*plain.lines(), *plain.run(pcm), *plain.finish()]
    assert of(messages, "event") == of(map(json.loads, expected), "event")


def test_audio_that_waits_is_heard_whole_however_slow(export):
    class Slow(Board):
        def __init__(self):
            self._pcm, self._at, self._window_s = np.zeros(0), 0, 2.0
            self._network = TflmModel(export.bundle.model.data)
            HostApplication.__init__(self, export, runtime=self)

    application = Slow()
    messages = [json.loads(line) for line in application.run(tones([], 62))]
    assert of(messages, "slow") == [] and of(messages, "stats")[0]["windows"] == 237


# A network fed with columns: each column takes some time more, and so does what it does once a window.
SLOW_COLUMNS = """
#undef cheep_model_by_columns
#undef cheep_model_invoke
void cheep_host_clock_add_us(uint32_t us);
static cheep_status slow_push(const int8_t *column)
{
    cheep_host_clock_add_us(COLUMN_US);
    return fast_by_columns()->push(column);
}
static cheep_status slow_scores(int8_t *scores)
{
    cheep_host_clock_add_us(SCORES_US);
    return fast_by_columns()->scores(scores);
}
const cheep_model_columns *cheep_model_by_columns(void)
{
    static cheep_model_columns slow;
    slow = *fast_by_columns();
    slow.push = slow_push;
    slow.scores = slow_scores;
    return &slow;
}
cheep_status cheep_model_invoke(const int8_t *window, int8_t *scores)
{
    cheep_host_clock_add_us(31u * COLUMN_US + SCORES_US);
    return fast_invoke(window, scores);
}
"""


def slow_columns(tmp_path, int8_model, small_features, recording, column_us, scores_us):
    """What such a network says in a minute; a column comes every 32 ms, a window is due every 256 ms."""
    from cheep.bench.cores import stand_in

    export = stand_in(int8_model, small_features, recording, tmp_path / "run")
    assert export.detector.stride_frames * small_features.hop_samples == 2048
    define = "#define cheep_model_by_columns fast_by_columns\n#define cheep_model_invoke fast_invoke\n"
    define += f"#define COLUMN_US {column_us}u\n#define SCORES_US {scores_us}u\n"
    application = compiled_application(
        export, tmp_path, define=define, after=SLOW_COLUMNS, real_time=True, ring_samples=1 << 18
    )
    application.lines()
    messages = [json.loads(line) for line in application.run(np.tile(recording, 5))]
    return of(messages, "slow"), of(messages, "stats")[0]


@pytest.mark.parametrize(("column_us", "every"), [(30_000, 0), (70_000, 9)])
def test_a_network_fed_with_columns_goes_over_to_whole_windows(
    tmp_path, int8_model, small_features, recording, column_us, every
):
    slow, stats = slow_columns(tmp_path, int8_model, small_features, recording, column_us, 0)
    if not every:
        assert slow == [] and stats["skipped"] == 0
        return
    (slow,) = slow
    assert slow["t_s"] == 0 and slow["every"] == every and slow["window_ms"] == pytest.approx(31 * 70, abs=20)
    assert stats["model_ms"] == pytest.approx(31 * 70, abs=20)
    assert stats["windows"] == pytest.approx(60 / (0.256 * every), abs=2)


def test_what_takes_its_time_once_a_window_is_counted_once(tmp_path, int8_model, small_features, recording):
    """Found out while it listens: 31 columns of 1 ms and 300 ms, not 31 / 8 of what a stride has taken."""
    (slow,), stats = slow_columns(tmp_path, int8_model, small_features, recording, 1000, 300_000)
    assert 0 < slow["t_s"] < 5 and slow["every"] == 2 and slow["window_ms"] == pytest.approx(331, abs=10)
    assert stats["windows"] == pytest.approx(60 / (0.256 * 2), abs=4)


def test_silence_is_said_and_so_is_its_end(export):
    application = HostApplication(export)
    application.lines()
    quiet = np.zeros(10 * RATE, np.int16)
    quiet[::7] = 1  # what a DC blocker leaves of a dead wire
    messages = [json.loads(line) for block in (tones([], 4), quiet, tones([], 50)) for line in application.run(block)]
    silent, heard = of(messages, "microphone")
    assert silent["state"] == "silent" and silent["t_s"] == pytest.approx(7, abs=0.1) and "slot" in silent["reason"]
    assert heard["state"] == "heard" and heard["t_s"] == pytest.approx(15, abs=0.2) and heard["reason"] == ""
    assert of(messages, "event") == []
    (stats,) = of(messages, "stats")
    assert stats["zeros"] > 0.14 and "zeros" in describe(stats) and "silent" in describe(silent)


def test_a_quiet_room_is_not_silent(export):
    application = HostApplication(export)
    application.lines()
    noise = np.random.default_rng(1).integers(-3, 4, 20 * RATE).astype(np.int16)
    assert list(application.run(noise)) == []


def test_levels_of_a_minute(export):
    t = np.arange(61 * RATE) / RATE
    pcm = np.rint(16384 * np.sin(2 * np.pi * 2000 * t) + 100).astype(np.int16)
    pcm[: 6 * RATE] = 32767
    application = HostApplication(export)
    application.lines()
    (stats,) = of((json.loads(line) for line in application.run(pcm)), "stats")
    power = np.mean(pcm[: 60 * RATE].astype(float) ** 2) / 32768**2
    assert stats["level_db"] == pytest.approx(10 * np.log10(power), abs=0.06)
    assert stats["clipped"] == pytest.approx(0.1, abs=2e-4)
    assert stats["dc"] == pytest.approx(pcm[: 60 * RATE].astype(float).mean(), abs=16)
    assert "10.0% clipped" in describe(stats)


def test_a_failing_microphone_is_said_tried_again_and_counted(export):
    application = HostApplication(export)
    application.capture(factor=2)
    application.lines()
    pcm, lines = np.repeat(tones([(6, 8, "high")], 62), 2), []

    def listen(start_s, end_s):
        for at in range(int(start_s * 2 * RATE), int(end_s * 2 * RATE), 256):
            application.took(pcm[at : at + 256])
            application.clock_add_us(16_000)
            application.poll()
            lines.extend(application.lines())

    listen(0, 2)
    waits = []
    while sum(waits) < 2000:
        waits.append(application.failed())
        application.clock_add_us(1000 * waits[-1])
        application.poll()
        lines.extend(application.lines())
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1000]
    listen(2 + sum(waits) / 1000, 62)
    messages = [json.loads(line) for line in [*lines, *application.finish()]]
    states = [(m["state"], m["t_s"]) for m in of(messages, "microphone")]
    assert states[0] == ("failing", pytest.approx(2, abs=0.1)) and states[1][0] == "heard" and len(states) == 2
    start, _end = of(messages, "event")
    assert start["label"] == "high" and start["start_s"] == pytest.approx(6, abs=1.5)
    (stats,) = of(messages, "stats")
    assert stats["overruns"] == 1 and stats["lost_samples"] == pytest.approx(2.27 * RATE, abs=0.1 * RATE)
    assert stats["t_s"] == pytest.approx(60, abs=0.1)


def test_what_the_driver_drops_is_a_counted_gap(export):
    application = HostApplication(export)
    application.capture(factor=2)
    for i in range(500):
        application.took(np.full(256, i % 7 * 100, np.int16), dropped=512 if i in (100, 300) else 0)
        application.poll()
    application.lines()
    messages = [json.loads(line) for line in application.run(tones([], 60))]
    (stats,) = of(messages, "stats")
    assert stats["overruns"] == 2 and stats["lost_samples"] == 2 * (256 + 128)  # and the block behind each gap


def test_a_removed_microphone_fails_or_falls_silent(export):
    application = HostApplication(export)
    application.capture()
    application.lines()
    sound = tones([], 2)
    for block in np.array_split(sound, 100):
        application.took(block)
        application.poll()
    for _ in range(200):  # its wire is pulled down, the clock goes on
        application.took(np.zeros(160, np.int16))
        application.poll()
    (silent,) = [json.loads(line) for line in application.lines()]
    assert silent["type"] == "microphone" and silent["state"] == "silent"


def test_only_the_factors_that_exist(export):
    with pytest.raises(CheepError, match="factor=4"):
        HostApplication(export).capture(4)
