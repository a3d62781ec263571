# SPDX-License-Identifier: MIT
"""TFLM's integer arithmetic in Python: multipliers, roundings, and the tables of one-byte activations.

Every function reproduces the reference kernels to the bit (gemmlowp's double rounding). They run at
compile time only, over at most 256 values, so plain integers are fast enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

INT8_MIN, INT8_MAX = -128, 127
_MAX32, _MIN32 = (1 << 31) - 1, -(1 << 31)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Return ``(multiplier, shift)`` with ``real = multiplier / 2**31 * 2**shift``; multiplier in [2**30, 2**31)."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = _round(fraction * (1 << 31))
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def scale(x: int, multiplier: int, shift: int) -> int:
    """Return ``x * multiplier / 2**31 * 2**shift`` as the kernels round it (``MultiplyByQuantizedMultiplier``)."""
    return round_shift(fixed_product(wrap32(x << max(shift, 0)), multiplier), max(-shift, 0))


def fixed_product(a: int, b: int) -> int:
    """Return ``a * b / 2**31``, halves up (``SaturatingRoundingDoublingHighMul``)."""
    return _MAX32 if a == b == _MIN32 else (a * b + (1 << 30)) >> 31


def round_shift(x: int, right: int) -> int:
    """Return ``x / 2**right``, halves away from zero (``RoundingDivideByPOT``)."""
    return x if right == 0 else (x + (1 << (right - 1)) - (x < 0)) >> right


def wrap32(x: int) -> int:
    """Return ``x`` as a 32-bit signed integer that wrapped."""
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


def clamp(x: int, low: int = INT8_MIN, high: int = INT8_MAX) -> int:
    """Return ``x`` limited to ``[low, high]``."""
    return min(max(x, low), high)


def activation_range(kind: str, scale_: float, zero_point: int) -> tuple[int, int]:
    """Return the byte range of a fused activation ``NONE``, ``RELU``, ``RELU6`` or ``RELU_N1_TO_1``."""

    def quantize(value: float) -> int:
        return zero_point + _round(float(np.float32(value) / np.float32(scale_)))

    low, high = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }[kind]
    return (
        INT8_MIN if low is None else max(INT8_MIN, quantize(low)),
        INT8_MAX if high is None else min(INT8_MAX, quantize(high)),
    )


def table(function: Callable[[int], int]) -> np.ndarray:
    """Return (256,) int8: ``function`` of every byte from -128 to 127, byte ``q`` at ``q + 128``."""
    return np.array([function(q) for q in range(INT8_MIN, INT8_MAX + 1)], np.int8)


def requantize_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int) -> np.ndarray:
    """Table (256,) int8 of QUANTIZE from int8 to int8."""
    multiplier, shift = quantize_multiplier(in_scale / out_scale)
    return table(lambda q: clamp(wrap32(scale(q - in_zero, multiplier, shift) + out_zero)))


def byte_table(source, out) -> np.ndarray:
    """Table (256,) int8 of QUANTIZE between int8 and uint8 tensors; bytes of both are taken as int8."""
    multiplier, shift = quantize_multiplier(source.scale / out.scale)
    low, high = (0, 255) if out.dtype == "uint8" else (INT8_MIN, INT8_MAX)

    def value(q: int) -> int:
        own = q & 255 if source.dtype == "uint8" else q
        made = clamp(wrap32(scale(own - source.zero_point, multiplier, shift) + out.zero_point), low, high)
        return made - 256 if made > INT8_MAX else made

    return table(value)


def relu_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int) -> np.ndarray:
    """Table (256,) int8 of RELU."""
    multiplier, shift = quantize_multiplier(float(np.float32(in_scale) / np.float32(out_scale)))
    low = max(INT8_MIN, out_zero)
    return table(lambda q: clamp(wrap32(scale(q - in_zero, multiplier, shift) + out_zero), low))


def leaky_relu_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int, alpha: float) -> np.ndarray:
    """Table (256,) int8 of LEAKY_RELU (and of a PRELU with one ``alpha``: its scale goes into ``alpha``)."""
    whole = quantize_multiplier(in_scale / out_scale)
    part = quantize_multiplier(in_scale * alpha / out_scale)
    return table(lambda q: clamp(wrap32(scale(q - in_zero, *(whole if q >= in_zero else part)) + out_zero)))


def elu_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int) -> np.ndarray:
    """Table (256,) int8 of ELU, computed in single precision as the kernel does."""
    q = np.arange(INT8_MIN, INT8_MAX + 1)
    real = np.float32(in_scale) * (q - in_zero).astype(np.float32)
    made = np.where(real < 0, np.exp(np.minimum(real, np.float32(0))) - np.float32(1), real).astype(np.float32)
    scaled = made * (np.float32(1) / np.float32(out_scale))
    whole = np.trunc(np.clip(scaled, -1e6, 1e6) + np.copysign(np.float32(0.5), scaled)).astype(np.int64)
    return np.clip(whole + out_zero, INT8_MIN, INT8_MAX).astype(np.int8)


def relu6_table(in_scale: float, in_zero: int) -> np.ndarray:
    """Table (256,) int8 of RELU6 (input and output share one scale)."""
    six = clamp(_round(float(np.float32(6.0) / np.float32(in_scale))) + in_zero)
    return table(lambda q: clamp(q, in_zero, six) if q <= six else six)


def logistic_table(in_scale: float, in_zero: int) -> np.ndarray:
    """Table (256,) int8 of LOGISTIC to scale 1/256, zero point -128."""
    return _saturating_table(in_scale, in_zero, lambda x: clamp(round_shift(_logistic(x), 23) - 128))


def tanh_table(in_scale: float, in_zero: int) -> np.ndarray:
    """Table (256,) int8 of TANH to scale 1/128, zero point 0."""
    return _saturating_table(in_scale, in_zero, lambda x: clamp(round_shift(_tanh(x), 24)))


def hard_swish_table(in_scale: float, in_zero: int, out_scale: float, out_zero: int) -> np.ndarray | None:
    """Table (256,) int8 of HARD_SWISH, or None where the kernel refuses the scales."""
    fine = np.float32(np.float32(1.0 / 128.0) * np.float32(in_scale))
    out_multiplier, out_shift = quantize_multiplier(float(fine / np.float32(out_scale)))
    relu_multiplier, relu_shift = quantize_multiplier(float(fine / np.float32(3.0 / 32768.0)))
    if out_shift > 0:
        return None
    out_multiplier, relu_multiplier = _to16(out_multiplier), _to16(relu_multiplier)

    def value(q: int) -> int:
        x = _wrap16((q - in_zero) * 128)
        preshift = _fixed16(x, out_multiplier)
        relu = x
        if relu_shift > 0:
            relu = clamp(relu << (relu_shift - 1), -32768, 32767)
        relu = _fixed16(relu, relu_multiplier)
        if relu_shift > 0:
            relu = clamp(relu << 1, -32768, 32767)
        if relu_shift < 0:
            relu = round_shift(relu, -relu_shift)
        relu = (relu + 32768) >> 1
        product = int(relu * preshift / 32768) if relu * preshift >= 0 else -(-(relu * preshift) // 32768)
        return clamp(_wrap16(round_shift(product, -out_shift) + out_zero))

    return table(value)


def softmax_exponents(beta: float, in_scale: float) -> np.ndarray:
    """Return (n,) int32: exp of -d input steps with 31 fraction bits, for the differences that SOFTMAX counts."""
    real = min(beta * in_scale * (1 << 26), (1 << 31) - 1.0)
    multiplier, shift = quantize_multiplier(real)
    radius = math.floor(1.0 * 31 * (1 << 26) / (1 << shift)) if shift >= 0 else 0
    values = [_exp_negative(fixed_product(wrap32(-d << shift), multiplier), 5) for d in range(min(radius, 255) + 1)]
    return np.array(values, np.int32)


def _saturating_table(in_scale: float, in_zero: int, function: Callable[[int], int]) -> np.ndarray:
    fraction, shift = math.frexp(in_scale * (1 << 27))
    multiplier = _round(fraction * (1 << 31))
    multiplier = wrap32(multiplier)
    radius = math.floor(15.0 * (1 << 27) / 2.0**shift)

    def value(q: int) -> int:
        x = q - in_zero
        if x <= -radius:
            return INT8_MIN
        if x >= radius:
            return INT8_MAX
        return function(scale(x, multiplier, shift))

    return table(value)


def _logistic(x: int) -> int:  # x: 4 integer bits
    if x == 0:
        return 1 << 30
    positive = _reciprocal_of_one_plus(_exp_negative(-abs(x), 4))
    return positive if x > 0 else _MAX32 - positive


def _tanh(x: int) -> int:
    if x == 0:
        return 0
    y = _one_minus_over_one_plus(_exp_negative(-abs(x), 5))  # the same bits, read with 5 integer bits: doubled
    return y if x > 0 else -y


def _newton(a: int) -> int:
    """Return ``2 / (1 + a)`` with 2 integer bits, for a in [0, 1)."""
    total = a + _MAX32
    half = (total + 1) // 2  # a >= 0: half away from zero
    x = wrap32(1515870810 + fixed_product(half, -1010580540))
    for _ in range(3):
        rest = (1 << 29) - fixed_product(half, x)
        x = wrap32(x + _shift_left_saturating(fixed_product(x, rest), 2))
    return x


def _reciprocal_of_one_plus(a: int) -> int:
    return _shift_left_saturating(_newton(a), 1)


def _one_minus_over_one_plus(a: int) -> int:
    return _shift_left_saturating(_newton(a) - (1 << 29), 2)


def _shift_left_saturating(x: int, left: int) -> int:
    threshold = (1 << (31 - left)) - 1
    return _MAX32 if x > threshold else _MIN32 if x < -threshold else x << left


_EXP_STEPS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def _exp_negative(a: int, integer_bits: int) -> int:
    """Return exp(a) with 31 fraction bits; ``a <= 0`` has ``integer_bits`` integer bits."""
    if a == 0:
        return _MAX32
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (a & (quarter - 1)) - quarter
    x = _shift_left_saturating(rest, integer_bits) + (1 << 28)
    x2 = fixed_product(x, x)
    x3 = fixed_product(x2, x)
    x4 = fixed_product(x2, x2)
    series = round_shift(fixed_product(round_shift(x4, 2) + x3, 715827883) + x2, 1)
    result = 1895147668 + fixed_product(1895147668, x + series)
    remainder = rest - a
    for exponent, factor in _EXP_STEPS:
        if integer_bits > exponent and remainder & (1 << (fraction_bits + exponent)):
            result = fixed_product(result, factor)
    return result


def _to16(multiplier: int) -> int:
    return 32767 if multiplier >= _MAX32 - 0x8000 else (multiplier + 0x8000) >> 16


def _fixed16(a: int, b: int) -> int:
    return 32767 if a == b == -32768 else (a * b + (1 << 14)) >> 15


def _wrap16(x: int) -> int:
    return (x + 32768) % 65536 - 32768


def _round(x: float) -> int:
    """Round half away from zero, like C's ``round``."""
    return math.floor(x + 0.5) if x >= 0 else math.ceil(x - 0.5)
