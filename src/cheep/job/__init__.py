# SPDX-License-Identifier: MIT
"""The main job as plain functions: typed settings and a run folder in, files of the run and a result out.

Commands, the demo and the pipelines call these; nothing here prints. What takes long reports through a callback.
"""

from collections.abc import Callable

#: Called with (files done, files).
OnFile = Callable[[int, int], None]
#: Called with (epoch from 1, epochs, numbers) after each epoch, and at the start of a training without numbers.
OnEpoch = Callable[[int, int, dict[str, float]], None]
#: Called with what begins, in a few words, where it can take long and has no steps to count.
OnStep = Callable[[str], None]


def no_step(text: str) -> None:
    """Say nothing of what begins."""
