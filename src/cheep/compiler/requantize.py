# SPDX-License-Identifier: MIT
"""A layer's scales -> the constants of its output channels: a fast form where it is exact, a general one elsewhere."""

from __future__ import annotations

import dataclasses

import numpy as np

from cheep.compiler import fixedpoint
from cheep.tflite.graph import Node

FULL, RELU, CLAMP, FLOOR, ANY = "CHEEP_FULL", "CHEEP_RELU", "CHEEP_CLAMP", "CHEEP_FLOOR", "CHEEP_ANY"
_LARGEST = 1 << 30
VARIES = 999  # no byte: the channel depends on the input


@dataclasses.dataclass(frozen=True)
class Channels:
    """Constants per output channel.

    ``fast``: rows (bias2, multiplier, round, shift) of ``cheep_channel``, none where a scale or a bias does not
    allow it; ``general``: rows (bias, multiplier, left, right); ``limit`` and ``range_``: the fused activation.
    """

    fast: list[tuple[int, int, int, int]]
    general: list[tuple[int, int, int, int]]
    limit: str
    range_: tuple[int, int]
    reason: str = ""  # why fast is empty, or has the limit ANY

    @property
    def range_text(self) -> str:
        """The range as a C compound literal."""
        return f"(cheep_range){{{self.range_[0]}, {self.range_[1]}}}"


NONE = Channels([], [], FULL, (-128, 127))  # of what has no weights


def channels(node: Node, fold: bool = True) -> Channels:
    """Return the constants of a CONV, DEPTHWISE or DENSE node.

    Parameters
    ----------
    fold : bool
        The kernel multiplies raw bytes, so the input's zero point goes into the bias. Otherwise it subtracts it.
    """
    a, source, out = node.attributes, node.inputs[0], node.output
    weights = a["weights"].astype(np.int64)
    by_channel = weights.reshape(len(weights), -1)
    if node.op == "DEPTHWISE":
        by_channel = weights.reshape(-1, weights.shape[-1]).T
    sums, sizes = by_channel.sum(axis=1), np.abs(by_channel).sum(axis=1)
    low, high = fixedpoint.activation_range(a["activation"], out.scale, out.zero_point)
    limit = CLAMP
    if (low, high) == (-128, 127):
        limit = FULL if out.zero_point > -128 else FLOOR
    elif (low, high) == (out.zero_point, 127):
        limit = RELU
    fast: list[tuple[int, int, int, int]] = []
    general: list[tuple[int, int, int, int]] = []
    reason = ""
    same = constant_bytes(node)
    for i, bias in enumerate(a["bias"].tolist()):
        multiplier, shift = fixedpoint.quantize_multiplier(ratio(node, i))
        general.append((bias, multiplier, max(shift, 0), max(-shift, 0)))
        folded = int(sums[i]) * source.zero_point if fold else 0
        row = _fast(bias, folded, int(sizes[i]), multiplier, shift, out.zero_point)
        if same[i] != VARIES:  # whatever is summed: the product is 0, and the rounding holds the byte
            row = (0, 0, 2 * int(same[i]) + 1, 1) if int(sizes[i]) * 384 < _LARGEST else None
        if row is not None:
            fast.append(row)
        elif not reason:
            reason = f"the scales of channel {i} (ratio {ratio(node, i):.3g}, bias {bias}) need 64-bit rescaling"
    if reason:
        limit = ANY
        fast = _any(node, general, fold, sums, sizes, same)
    return Channels(fast, general, limit, (low, high), reason)


def _any(node: Node, general, fold: bool, sums, sizes, same) -> list[tuple[int, int, int, int]]:
    """Return rows (bias2, multiplier, zero point, shift) for scales of any size, none where a sum could wrap."""
    zero, rows = node.output.zero_point, []
    for i, (bias, multiplier, left, right) in enumerate(general):
        size = 384 * int(sizes[i])
        if same[i] != VARIES and size < _LARGEST:
            rows.append((0, 0, int(same[i]), 0))
            continue
        if (abs(bias) + size) << left >= _LARGEST:
            return []
        folded = int(sums[i]) * node.inputs[0].zero_point if fold else 0
        rows.append((2 * (bias - folded), multiplier, zero, right - left))
    return rows


def constant_bytes(node: Node, values: np.ndarray | None = None) -> np.ndarray:
    """Return (channels,) int64: the byte of every output channel that is the same for all inputs, else ``VARIES``.

    Parameters
    ----------
    values : (channels,) int64, optional
        What is known of the input's channels, in the same form (of use to DEPTHWISE).
    """
    a, source, out = node.attributes, node.inputs[0], node.output
    weights = a["weights"].astype(np.int64)
    if node.op == "DEPTHWISE":
        by_channel = weights.reshape(-1, weights.shape[-1]).T
    else:
        by_channel = weights.reshape(len(weights), -1)
    zero = source.zero_point
    least = np.minimum(by_channel * (-128 - zero), by_channel * (127 - zero)).sum(axis=1)
    most = np.maximum(by_channel * (-128 - zero), by_channel * (127 - zero)).sum(axis=1)
    if node.op == "DEPTHWISE" and values is not None:  # a cell holds the channel's byte, or is padding
        cells = by_channel * (values - zero)[:, None]
        known = values != VARIES
        sums = cells.sum(axis=1)
        low = np.minimum(cells, 0).sum(axis=1) if pads(node) else sums
        high = np.maximum(cells, 0).sum(axis=1) if pads(node) else sums
        least, most = np.where(known, low, least), np.where(known, high, most)
    limits = fixedpoint.activation_range(a["activation"], out.scale, out.zero_point)
    found = np.full(len(by_channel), VARIES)
    for c, bias in enumerate(a["bias"].tolist()):
        multiplier, shift = fixedpoint.quantize_multiplier(ratio(node, c))
        ends = (bias + int(least[c]), bias + int(most[c]))
        reach = 1 << (31 - max(shift, 0))  # beyond, the sum or its rescaling wraps
        if min(ends) < -reach or max(ends) >= reach:
            continue
        low, high = (fixedpoint.scale(v, multiplier, shift) + out.zero_point for v in ends)
        low, high = fixedpoint.clamp(low, *limits), fixedpoint.clamp(high, *limits)
        if low == high:
            found[c] = low
    return found


def pads(node: Node) -> bool:
    a, source, out = node.attributes, node.inputs[0], node.output
    if node.op == "DENSE":
        return False
    height, width = a["weights"].shape[:2] if node.op == "DEPTHWISE" else a["weights"].shape[1:3]
    for size, axis, kernel, before in ((1, "h", height, "pad_top"), (2, "w", width, "pad_left")):
        reach = (out.shape[size] - 1) * a[f"stride_{axis}"] + (kernel - 1) * a[f"dilation_{axis}"] + 1
        if a[before] or reach > source.shape[size]:
            return True
    return False


def ratio(node: Node, channel: int) -> float:
    """Return input scale x weight scale / output scale as TFLM computes it."""
    scales, source, out = node.attributes["scales"], node.inputs[0].scale, node.output.scale
    if node.op == "DENSE" and len(scales) == 1:  # the product in single precision
        return float(np.float32(source) * np.float32(scales[0])) / out
    return source * float(scales[channel if len(scales) > 1 else 0]) / out


def _fast(bias: int, folded: int, size: int, multiplier: int, shift: int, zero: int):
    right = -shift
    if not 1 <= right <= 30 or multiplier < 1 << 30:
        return None
    rounding = (2 * zero + 1) << (right - 1)
    if abs(rounding) >= _LARGEST or abs(bias) + 384 * size >= _LARGEST:
        return None
    return 2 * (bias - folded), multiplier, rounding, right
