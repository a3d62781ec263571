# SPDX-License-Identifier: MIT
"""The noise that a recording's quiet seconds hold."""

import numpy as np
import pytest

from cheep.audio import NoiseMeter


def level(pcm, block):
    meter = NoiseMeter(1000)
    for first in range(0, len(pcm), block):
        meter.push(pcm[first : first + block])
    return meter.level_db()


@pytest.mark.parametrize("block", [1, 333, 1000, 100000])
def test_calls_and_pauses_leave_the_noise_as_it_is(block):
    rng = np.random.default_rng(3)
    pcm = np.rint(rng.normal(0, 32.768, 40_000)).astype(np.int16)  # 1/1000 of full scale: -60 dB
    pcm[5000:15000] *= 50
    pcm[20000:30000] = 0
    assert level(pcm, block) == pytest.approx(-60, abs=0.5)


def test_of_less_than_a_second_or_nothing_but_zeros_no_level_is_known():
    assert level(np.ones(999, np.int16), 100) is None
    assert level(np.zeros(5000, np.int16), 700) is None
