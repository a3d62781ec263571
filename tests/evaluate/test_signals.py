# SPDX-License-Identifier: MIT
"""A dead, noisy or overdriven microphone: what a detector says to it, first thresholds, and the gate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.helpers.tone_model import DETECTOR, write_tone_run

from cheep.audio.signals import TEST_SIGNALS, draw_quiet, draw_signal, hum, square, white_noise
from cheep.config import SIGNAL_NAMES, RunFile
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError, GateError
from cheep.evaluate.signals import Heard, check_signals, hear_signals, signal_rows
from cheep.job.signals import HIGHEST, raised_over


def test_the_signals_are_what_they_are_called(rng):
    assert not TEST_SIGNALS["silence"](100, 8000).any()
    assert set(TEST_SIGNALS["stuck"](100, 8000)) == {-1}
    for level in (-80, -50, -20):
        pcm = TEST_SIGNALS[f"noise{level}"](1 << 16, 8000).astype(float)
        assert 20 * np.log10(pcm.std() / 32768) == pytest.approx(level, abs=0.3)
    assert set(TEST_SIGNALS["square"](80, 8000)) == {-32768, 32767}
    assert np.abs(np.diff(np.sign(square(8000, 8000, 1000.0).astype(int)))).sum() / 2 == pytest.approx(2000, abs=1)
    spectrum = np.abs(np.fft.rfft(hum(8000, 8000, -30.0, 50.0, rng)))
    assert np.argmax(spectrum) == 50 and spectrum[75] < 1e-3 * spectrum[50]
    assert np.array_equal(
        white_noise(9, -20.0, np.random.default_rng(1)), white_noise(9, -20.0, np.random.default_rng(1))
    )


def test_quiet_signals_are_quiet_and_others_of_every_level(rng):
    quiet = [draw_quiet(4000, 8000, rng).astype(float).std() for _ in range(60)]
    assert max(quiet) < 20 and min(quiet) == 0
    loud = [draw_signal(4000, 8000, rng).astype(float).std() for _ in range(60)]
    assert max(loud) > 3000 and min(loud) == 0


def test_a_detector_of_tones_fires_on_hum_and_is_refused(tmp_path):
    heard = hear_signals(load_bundle(write_tone_run(tmp_path)))
    assert [item.signal for item in heard] == list(SIGNAL_NAMES)
    fires = {item.signal: item.fires for item in heard if item.fires}
    assert fires == {"hum": ("low",), "square": ("high", "low")}, "they hold 1 kHz and 3 kHz; the others do not"
    assert next(item for item in heard if item.signal == "square").score > 0.9
    with pytest.raises(GateError, match=r"hum: low .*; square: high, low .*--may-fire-on"):
        check_signals(heard)
    check_signals(heard, ["hum", "square"])
    check_signals(heard, ["all"])
    with pytest.raises(GateError):
        check_signals(heard, ["hum"])
    assert signal_rows(heard)[-1][3] == "high, low" and signal_rows(heard)[1][3] == "none"
    assert [Heard.from_dict(item.to_dict()).fires for item in heard] == [item.fires for item in heard]


def test_first_thresholds_lie_over_what_signals_score():
    labels = ("background", "high", "low")
    quiet = Heard("silence", "low", 0.7, ("low",), (0.1, 0.2, 0.7))
    detector, said = raised_over(DETECTOR, labels, [quiet])
    assert detector.threshold == (None, 0.6, pytest.approx(0.7937, abs=1e-4))
    assert said == [f"low: 0.6 to {detector.threshold[2]:g}, over what it says to silence"]
    same, nothing = raised_over(DETECTOR, labels, [quiet], ["silence"])
    assert same.threshold == DETECTOR.threshold and not nothing
    sure = dataclasses.replace(quiet, scores=(0.0, 0.2, HIGHEST))
    assert raised_over(DETECTOR, labels, [sure])[0].threshold == DETECTOR.threshold, "the gate must see it"


def test_signals_that_do_not_exist_are_refused():
    assert RunFile.parse({"evaluate": {"may_fire_on": "hum"}}, "x").evaluate.may_fire_on == ("hum",)
    with pytest.raises(CheepError, match="may_fire_on: 'rain' is none of silence"):
        RunFile.parse({"evaluate": {"may_fire_on": ["rain"]}}, "x")
