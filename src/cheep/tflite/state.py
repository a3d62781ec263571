# SPDX-License-Identifier: MIT
"""Models that carry a state: inputs and outputs behind the first are states, in the same order, fed back as bytes.

The state starts as zero (its zero point). Input and output of a state have one shape, type, scale and zero point, so
that feeding back is a copy: nothing is quantized twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cheep.errors import CheepError
from cheep.tflite.model import TensorInfo, TfliteModel, read_model


def zero_state(info: TensorInfo) -> np.ndarray:
    """Return an array of ``info``'s shape and dtype (int8 as a rule) that stands for zero: its zero point."""
    return np.full(info.shape, info.zero_point, info.dtype)


def check_states(model: TfliteModel, name: str = "model") -> int:
    """Return the number of states of a model (0: none).

    Raises
    ------
    CheepError
        Inputs and outputs behind the first do not belong together.
    """
    if len(model.inputs) != len(model.outputs):
        raise CheepError(
            f"{name}: {len(model.inputs)} inputs and {len(model.outputs)} outputs: behind the first, each input must "
            "be a state that the output of the same number gives"
        )
    for i, (one, two) in enumerate(zip(model.inputs[1:], model.outputs[1:], strict=True), 1):
        same = (one.shape, one.dtype, one.scale, one.zero_point) == (two.shape, two.dtype, two.scale, two.zero_point)
        if not same or one.dtype != "int8":
            raise CheepError(
                f"{name}: state {i} enters as {one.dtype} {list(one.shape)}, scale {one.scale:g}, zero point "
                f"{one.zero_point}, and leaves as {two.dtype} {list(two.shape)}, scale {two.scale:g}, zero point "
                f"{two.zero_point}: it must be int8 and the same (cheep convert --streaming makes such models)"
            )
    return len(model.inputs) - 1


class StatefulScorer:
    """Scores of successive windows of a model with states, in TFLM or compiled.

    Parameters
    ----------
    model : TfliteModel
    invoke : callable
        From inputs to outputs, each a list of arrays in the model's shapes and dtypes (all int8).
    """

    def __init__(self, model: TfliteModel, invoke: Callable[[list[np.ndarray]], Sequence[np.ndarray]]):
        check_states(model)
        self._model, self._invoke = model, invoke
        self.forget()

    def forget(self) -> None:
        """The next window is the first of a recording."""
        self._state = [zero_state(info) for info in self._model.inputs[1:]]

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Return one row per window: (n, columns, mels) int8 in, in the order of time, (n, classes) int8 out."""
        window, answer = self._model.inputs[0], self._model.outputs[0]
        out = np.empty((len(windows), answer.shape[-1]), np.int8)
        for row, values in zip(out, np.ascontiguousarray(windows, np.int8), strict=True):
            found = self._invoke([values.reshape(window.shape), *self._state])
            row[:] = np.asarray(found[0]).reshape(-1)
            self._state = [
                np.array(value).reshape(info.shape)
                for value, info in zip(found[1:], self._model.inputs[1:], strict=True)
            ]
        return out


def tflm_scorer(data: bytes):
    """Return what scores windows in TFLM: a ``TflmModel``, or a :class:`StatefulScorer` around it."""
    from cheep.tflite.tflm import TflmModel

    model, runtime = read_model(data), TflmModel(data)
    if len(model.inputs) == 1:
        return runtime

    def invoke(inputs: list[np.ndarray]) -> list[np.ndarray]:
        runtime.invoke(*inputs)
        return [runtime.output(i) for i in range(len(model.outputs))]

    return StatefulScorer(model, invoke)
