"""The ONNX operators that :mod:`cheep.convert.onnx_import` knows, each as legacy-Keras layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cheep.convert.onnx_import import Value
from cheep.errors import CheepError

Handler = Callable[[Any, list, dict, str], Any]
OPERATORS: dict[str, Handler] = {}

_ADVICE = {
    "GRU": "export the recurrent step alone and use cheep.convert.streaming",
    "LSTM": "export the recurrent step alone and use cheep.convert.streaming",
    "RNN": "export the recurrent step alone and use cheep.convert.streaming",
    "Loop": "unroll it before the export (fixed number of steps)",
    "Scan": "unroll it before the export (fixed number of steps)",
    "If": "export the branch that the device needs",
    "Einsum": "write it as MatMul and Mul",
    "STFT": "leave the front end out: Cheep computes mel columns on the device",
    "InstanceNormalization": "use BatchNormalization, which is folded into the convolution",
    "LayerNormalization": "use BatchNormalization: layer norm has no integer kernel in TFLM",
    "ConvTranspose": "use UpSampling and Conv",
    "NonZero": "its output has no fixed size",
    "QuantizeLinear": "export the float model: Cheep quantizes it",
    "DequantizeLinear": "export the float model: Cheep quantizes it",
}


def advice(op: str) -> str:
    """Return what to do about an operator that is not supported."""
    return _ADVICE.get(op, "replace it in the network, or simplify the export (constant folding, opset 13 to 18)")


def _op(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for name in names:
            OPERATORS[name] = handler
        return handler

    return register


def _shape_of(x: Any, last: bool) -> tuple[int, ...]:
    dims = tuple(1 if d is None else int(d) for d in x.shape)
    return (dims[0], dims[-1], *dims[1:-1]) if last else dims


def _made(x: Any, like: Value) -> Value:
    return Value(x, _shape_of(x, like.last), like.last)


def _array(value: Value | None) -> np.ndarray:
    if value is None or not value.constant:
        raise CheepError("an argument that must be constant is computed; export with constant folding")
    return value.x


def _plain(k: Any, v: Value) -> Value:
    """Return ``v`` with its axes in ONNX's order."""
    if not v.last or v.constant:
        return v
    rank = len(v.shape)
    return Value(k.layers.Permute((rank - 1, *range(1, rank - 1)))(v.x), v.shape)


def _channels_last(k: Any, v: Value) -> Value:
    if v.last or v.constant or len(v.shape) < 3:
        return v
    rank = len(v.shape)
    return Value(k.layers.Permute((*range(2, rank), 1))(v.x), v.shape, True)


def _pads(a: dict, spatial: int) -> list[tuple[int, int]]:
    pads = a.get("pads") or [0] * (2 * spatial)
    return [(int(pads[i]), int(pads[i + spatial])) for i in range(spatial)]


def _same(auto: str, size: list[int], kernel: list[int], strides: list[int]) -> list[tuple[int, int]]:
    out = []
    for n, width, step in zip(size, kernel, strides, strict=True):
        total = max(0, (-(-n // step) - 1) * step + width - n)
        low = total // 2
        out.append((low, total - low) if auto == "SAME_UPPER" else (total - low, low))
    return out


def _padding_of(a: dict, size: list[int], kernel: list[int], strides: list[int]) -> list[tuple[int, int]]:
    auto = a.get("auto_pad", "NOTSET")
    return _same(auto, size, kernel, strides) if auto.startswith("SAME") else _pads(a, len(size))


def _is_same(pads: list[tuple[int, int]], size: list[int], kernel: list[int], strides: list[int]) -> bool:
    return pads == _same("SAME_UPPER", size, kernel, strides)


@_op("Conv")
def _conv(k: Any, i: list, a: dict, name: str) -> Value:
    v, w = i[0], _array(i[1])
    bias = _array(i[2]) if len(i) > 2 and i[2] is not None else None
    flat = w.ndim == 3  # one dimension: a convolution of height 1
    x = _channels_last(k, v)
    tensor, spatial = x.x, list(v.shape[2:])
    strides, dilations = list(a.get("strides", [1] * len(spatial))), list(a.get("dilations", [1] * len(spatial)))
    kernel = [(n - 1) * d + 1 for n, d in zip(w.shape[2:], dilations, strict=True)]
    pads = _padding_of(a, spatial, kernel, strides)
    if flat:
        w, strides, dilations, pads = w[:, :, None], [1, *strides], [1, *dilations], [(0, 0), *pads]
        spatial, kernel = [1, *spatial], [1, *kernel]
        tensor = k.layers.Reshape((1, *map(int, tensor.shape[1:])))(tensor)
    if w.ndim != 4:
        raise CheepError(f"a convolution of {w.ndim - 2} dimensions; one or two are supported")
    mode = "valid"
    if _is_same(pads, spatial, kernel, strides):
        mode = "same"
    elif any(p != (0, 0) for p in pads):
        tensor = k.layers.ZeroPadding2D(pads)(tensor)
    if len(set(strides)) > 1 and max(dilations) > 1:
        raise CheepError("strides that differ together with dilation")
    groups, channels = int(a.get("group", 1)), v.shape[1]
    weights = np.transpose(w, (2, 3, 1, 0))
    options = {
        "strides": tuple(strides),
        "dilation_rate": tuple(dilations),
        "padding": mode,
        "use_bias": bias is not None,
    }
    if groups == channels and groups > 1 and w.shape[1] == 1 and w.shape[0] % channels == 0:
        multiplier = w.shape[0] // channels
        if strides[0] != strides[1]:
            layer = k.layers.Conv2D(w.shape[0], w.shape[2:], groups=groups, name=name, **options)
        else:
            layer = k.layers.DepthwiseConv2D(w.shape[2:], depth_multiplier=multiplier, name=name, **options)
            weights = np.transpose(w.reshape(channels, multiplier, *w.shape[2:]), (2, 3, 0, 1))
    else:
        layer = k.layers.Conv2D(w.shape[0], w.shape[2:], groups=groups, name=name, **options)
    y = layer(tensor)
    layer.set_weights([weights.astype(np.float32)] + ([bias.astype(np.float32)] if bias is not None else []))
    if flat:
        y = k.layers.Reshape(tuple(map(int, y.shape[2:])))(y)
    return Value(y, _shape_of(y, True), True)


@_op("MaxPool", "AveragePool")
def _pool(k: Any, i: list, a: dict, name: str) -> Value:
    v = _channels_last(k, i[0])
    tensor, spatial = v.x, list(v.shape[2:])
    kernel, strides = list(a["kernel_shape"]), list(a.get("strides", [1] * len(spatial)))
    pads = _padding_of(a, spatial, kernel, strides)
    largest = name.startswith("max")
    if a.get("ceil_mode") and any(
        (n + sum(p) - w) % s for n, p, w, s in zip(spatial, pads, kernel, strides, strict=True)
    ):
        raise CheepError("ceil_mode that adds a column; crop or pad the input so that the sizes divide")
    if len(spatial) == 1:
        tensor = k.layers.Reshape((1, *map(int, tensor.shape[1:])))(tensor)
        kernel, strides, pads, spatial = [1, *kernel], [1, *strides], [(0, 0), *pads], [1, *spatial]
    mode = "valid"
    if any(p != (0, 0) for p in pads):
        if not _is_same(pads, spatial, kernel, strides):
            raise CheepError(f"pads {pads}: only symmetric padding that keeps the size is supported for pooling")
        if not largest and a.get("count_include_pad"):
            tensor = k.layers.ZeroPadding2D(pads)(tensor)
        else:
            mode = "same"
    layer = (k.layers.MaxPooling2D if largest else k.layers.AveragePooling2D)(kernel, strides, mode, name=name)
    y = layer(tensor)
    if len(i[0].shape) == 3:
        y = k.layers.Reshape(tuple(map(int, y.shape[2:])))(y)
    return Value(y, _shape_of(y, True), True)


@_op("GlobalAveragePool", "GlobalMaxPool")
def _global(k: Any, i: list, a: dict, name: str) -> Value:
    v = _channels_last(k, i[0])
    two = len(v.shape) == 4
    kind = ("GlobalAveragePooling" if "average" in name else "GlobalMaxPooling") + ("2D" if two else "1D")
    y = getattr(k.layers, kind)(keepdims=True, name=name)(v.x)
    return Value(y, _shape_of(y, True), True)


@_op("ReduceMean", "ReduceMax", "ReduceSum")
def _reduce(k: Any, i: list, a: dict, name: str) -> Value:
    v = i[0]
    axes = a.get("axes") if "axes" in a else [int(n) for n in _array(i[1])]
    axes, keep = sorted(n % len(v.shape) for n in axes), bool(a.get("keepdims", 1))
    if v.last and axes == list(range(2, len(v.shape))) and "sum" not in name:
        kind = "GlobalAveragePooling" if "mean" in name else "GlobalMaxPooling"
        layer = getattr(k.layers, f"{kind}{len(v.shape) - 2}D")(keepdims=keep, name=name)
        y = layer(v.x)
        return Value(y, _shape_of(y, keep), keep)
    rank = len(v.shape)
    place = (lambda n: 0 if n == 0 else rank - 1 if n == 1 else n - 1) if v.last else (lambda n: n)
    inner = [place(n) for n in axes]
    if not keep and v.last:
        v, inner = _plain(k, v), axes
    reduce = {"m": k.backend.mean, "x": k.backend.max, "s": k.backend.sum}[
        "s" if "sum" in name else "x" if "max" in name else "m"
    ]
    y = k.layers.Lambda(lambda t: reduce(t, axis=inner, keepdims=keep), name=name)(v.x)
    last = v.last and keep
    return Value(y, _shape_of(y, last), last)


@_op("BatchNormalization")
def _norm(k: Any, i: list, a: dict, name: str) -> Value:
    v = _channels_last(k, i[0])
    layer = k.layers.BatchNormalization(epsilon=float(a.get("epsilon", 1e-5)), name=name)
    y = layer(v.x)
    layer.set_weights([_array(i[n]).astype(np.float32) for n in (1, 2, 3, 4)])
    return _made(y, v)


@_op("Gemm")
def _gemm(k: Any, i: list, a: dict, name: str) -> Value:
    v = _plain(k, i[0])
    w = _array(i[1]) * float(a.get("alpha", 1.0))
    if a.get("transA"):
        raise CheepError("a transposed input")
    w = w.T if a.get("transB") else w
    bias = _array(i[2]) * float(a.get("beta", 1.0)) if len(i) > 2 and i[2] is not None else None
    return _dense(k, v, w, bias, name)


def _dense(k: Any, v: Value, w: np.ndarray, bias: np.ndarray | None, name: str) -> Value:
    layer = k.layers.Dense(w.shape[1], use_bias=bias is not None, name=name)
    y = layer(v.x)
    layer.set_weights(
        [w.astype(np.float32)] + ([np.broadcast_to(bias, (w.shape[1],)).astype(np.float32)] if bias is not None else [])
    )
    return Value(y, _shape_of(y, False))


@_op("MatMul")
def _matmul(k: Any, i: list, a: dict, name: str) -> Value:
    left, right = i
    if right.constant and right.x.ndim == 2:
        return _dense(k, _plain(k, left), right.x, None, name)
    if left.constant or right.constant:
        raise CheepError("a constant matrix of this shape; use a linear layer")
    y = k.layers.Dot(axes=(len(left.shape) - 1, len(right.shape) - 2), name=name)(
        [_plain(k, left).x, _plain(k, right).x]
    )
    return Value(y, _shape_of(y, False))


def _activation(kind: str) -> Handler:
    def handler(k: Any, i: list, a: dict, name: str) -> Value:
        return _made(k.layers.Activation(kind, name=name)(i[0].x), i[0])

    return handler


for _name, _kind in {"Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Elu": "elu"}.items():
    OPERATORS[_name] = _activation(_kind)


@_op("Relu")
def _relu(k: Any, i: list, a: dict, name: str) -> Value:
    return _made(k.layers.ReLU(name=name)(i[0].x), i[0])


@_op("LeakyRelu")
def _leaky(k: Any, i: list, a: dict, name: str) -> Value:
    return _made(k.layers.LeakyReLU(float(a.get("alpha", 0.01)), name=name)(i[0].x), i[0])


@_op("Clip")
def _clip(k: Any, i: list, a: dict, name: str) -> Value:
    low = float(_array(i[1])) if len(i) > 1 and i[1] is not None else a.get("min", -np.inf)
    high = float(_array(i[2])) if len(i) > 2 and i[2] is not None else a.get("max", np.inf)
    if i[0].constant:
        return Value(np.clip(i[0].x, low, high), i[0].shape)
    if low != 0:
        raise CheepError(f"limits {low}..{high}: only a lower limit of 0 is supported (ReLU, ReLU6)")
    return _made(k.layers.ReLU(max_value=None if np.isinf(high) else float(high), name=name)(i[0].x), i[0])


@_op("HardSwish")
def _hard_swish(k: Any, i: list, a: dict, name: str) -> Value:
    x = i[0].x
    gate = k.layers.ReLU(6.0)(k.layers.Rescaling(1.0, 3.0)(x))
    return _made(k.layers.Rescaling(1 / 6, name=name)(k.layers.Multiply()([x, gate])), i[0])


@_op("HardSigmoid")
def _hard_sigmoid(k: Any, i: list, a: dict, name: str) -> Value:
    alpha, beta = float(a.get("alpha", 0.2)), float(a.get("beta", 0.5))
    return _made(k.layers.ReLU(1.0, name=name)(k.layers.Rescaling(alpha, beta)(i[0].x)), i[0])


@_op("Softmax")
def _softmax(k: Any, i: list, a: dict, name: str) -> Value:
    v, axis = i[0], int(a.get("axis", -1)) % len(i[0].shape)
    inner = axis if not v.last or axis == 0 else len(v.shape) - 1 if axis == 1 else axis - 1
    if inner != len(v.shape) - 1:  # integer runtimes know the last axis only
        v = _plain(k, v) if axis == len(v.shape) - 1 else _channels_last(k, v) if axis == 1 else v
        if (v.last and axis != 1) or (not v.last and axis != len(v.shape) - 1):
            order = [n for n in range(1, len(v.shape)) if n != axis] + [axis]
            turned = k.layers.Permute(order)(_plain(k, v).x)
            back = tuple(int(np.argsort(order)[n]) + 1 for n in range(len(order)))
            y = k.layers.Permute(back)(k.layers.Softmax(name=name)(turned))
            return Value(y, i[0].shape)
    return _made(k.layers.Softmax(name=name)(v.x), v)


_NUMPY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}


@_op("Add", "Sub", "Mul", "Div")
def _binary(k: Any, i: list, a: dict, name: str) -> Value:
    op = name.split("_", maxsplit=1)[0].capitalize()
    left, right = i
    if left.constant and right.constant:
        y = _NUMPY[op](left.x, right.x)
        return Value(np.asarray(y, np.asarray(left.x).dtype), np.shape(y))
    if left.constant or right.constant:
        return _with_constant(k, op, left, right, name)
    if left.last != right.last:
        if len(left.shape) == len(right.shape):
            left, right = _channels_last(k, left), _channels_last(k, right)
        else:
            left, right = _plain(k, left), _plain(k, right)
    if op == "Div":
        y = k.layers.Lambda(lambda t: t[0] / t[1], name=name)([left.x, right.x])
    else:
        y = getattr(k.layers, {"Add": "Add", "Sub": "Subtract", "Mul": "Multiply"}[op])(name=name)([left.x, right.x])
    return Value(y, _shape_of(y, left.last), left.last)


def _with_constant(k: Any, op: str, left: Value, right: Value, name: str) -> Value:
    v, c = (right, left) if left.constant else (left, right)
    value = np.asarray(c.x, np.float32)
    if value.size == 1:
        number = float(value.ravel()[0])
        if op == "Add":
            scale, offset = 1.0, number
        elif op == "Mul":
            scale, offset = number, 0.0
        elif op == "Sub":
            scale, offset = (-1.0, number) if left.constant else (1.0, -number)
        elif not left.constant:
            scale, offset = 1.0 / number, 0.0
        else:
            raise CheepError("a constant divided by a tensor")
        return _made(k.layers.Rescaling(scale, offset, name=name)(v.x), v)
    if v.last and value.ndim > 1:
        value = value.reshape((1,) * (len(v.shape) - value.ndim) + value.shape)
        value = np.moveaxis(value, 1, -1)
    elif v.last:  # along the last ONNX axis, which is not the channels
        value = value.reshape((1, *([1] * (len(v.shape) - 3)), value.size, 1))
    if op == "Div" and not left.constant:
        op, value = "Mul", 1 / value
    swapped = left.constant
    functions = {
        "Add": lambda t: t + value,
        "Mul": lambda t: t * value,
        "Sub": (lambda t: value - t) if swapped else (lambda t: t - value),
    }
    if op not in functions:
        raise CheepError("a constant divided by a tensor")
    y = k.layers.Lambda(functions[op], name=name)(v.x)
    return _made(y, v)


@_op("Flatten")
def _flatten(k: Any, i: list, a: dict, name: str) -> Value:
    if int(a.get("axis", 1)) != 1:
        raise CheepError("axis other than 1")
    v = i[0]
    if v.last and int(np.prod(v.shape[2:])) == 1:
        v = Value(v.x, v.shape)  # one position: the order does not matter
    y = k.layers.Flatten(name=name)(_plain(k, v).x)
    return Value(y, _shape_of(y, False))


@_op("Reshape", "Squeeze", "Unsqueeze")
def _reshape(k: Any, i: list, a: dict, name: str) -> Value:
    v = i[0]
    kind = name.split("_", maxsplit=1)[0]
    if kind == "reshape":
        target = [int(n) for n in np.ravel(_array(i[1]))]
        target = [v.shape[n] if size == 0 else size for n, size in enumerate(target)]
    else:
        axes = a["axes"] if "axes" in a else [int(n) for n in np.ravel(_array(i[1]))] if len(i) > 1 else None
        target = list(v.shape)
        if kind == "squeeze":
            gone = (
                {n % len(target) for n in axes}
                if axes is not None
                else {n for n, s in enumerate(target) if s == 1 and n}
            )
            target = [size for n, size in enumerate(target) if n not in gone]
        else:
            rank = len(target) + len(axes)
            for n in sorted(n % rank for n in axes):
                target.insert(n, 1)
    if v.constant:
        return Value(v.x.reshape(target), tuple(v.x.reshape(target).shape))
    if target and target[0] == -1 and int(np.prod(target[1:])) == int(np.prod(v.shape[1:])):
        target[0] = 1
    if not target or target[0] not in (1, -1) or v.shape[0] != 1:
        raise CheepError(f"to {target}: the batch must stay the first axis")
    if target[0] == -1:
        raise CheepError(f"to {target}: mixes the batch with other axes")
    rest = int(np.prod(v.shape[1:]))
    if -1 in target:
        known = int(np.prod([n for n in target if n != -1]))
        target[target.index(-1)] = rest // max(1, known)
    flat = _plain(k, v) if not (v.last and int(np.prod(v.shape[2:])) == 1) else v
    y = k.layers.Reshape(tuple(target[1:]), name=name)(flat.x)
    return Value(y, tuple(target))


@_op("Transpose")
def _transpose(k: Any, i: list, a: dict, name: str) -> Value:
    v = i[0]
    perm = [int(n) for n in a.get("perm", range(len(v.shape))[::-1])]
    if v.constant:
        return Value(np.transpose(v.x, perm), np.transpose(v.x, perm).shape)
    if perm[0] != 0:
        raise CheepError(f"perm {perm}: the batch must stay the first axis")
    rank = len(perm)
    if v.last and perm == [0, *range(2, rank), 1]:
        return Value(v.x, tuple(v.shape[n] for n in perm))  # it already lies so
    if not v.last and perm == [0, rank - 1, *range(1, rank - 1)] and rank >= 3:
        return Value(v.x, tuple(v.shape[n] for n in perm), True)  # only another reading of the same data
    y = k.layers.Permute(tuple(perm[1:]), name=name)(_plain(k, v).x)
    return Value(y, tuple(v.shape[n] for n in perm))


@_op("Concat")
def _concat(k: Any, i: list, a: dict, name: str) -> Value:
    if all(v.constant for v in i):
        y = np.concatenate([np.atleast_1d(v.x) for v in i], axis=int(a["axis"]))
        return Value(y, y.shape)
    if any(v.constant for v in i):
        raise CheepError("a constant joined to a tensor")
    rank = len(i[0].shape)
    axis = int(a["axis"]) % rank
    parts = [_channels_last(k, v) for v in i] if any(v.last for v in i) else list(i)
    inner = (rank - 1 if axis == 1 else axis - 1) if parts[0].last else axis
    y = k.layers.Concatenate(axis=inner, name=name)([v.x for v in parts])
    return Value(y, _shape_of(y, parts[0].last), parts[0].last)


@_op("Pad")
def _pad(k: Any, i: list, a: dict, name: str) -> Value:
    if a.get("mode", "constant") != "constant" or (len(i) > 2 and i[2] is not None and float(_array(i[2])) != 0):
        raise CheepError("padding with anything but zeros")
    v = _channels_last(k, i[0])
    raw = a["pads"] if "pads" in a else [int(n) for n in _array(i[1])]
    rank = len(v.shape)
    pads = [(int(raw[n]), int(raw[n + rank])) for n in range(rank)]
    if any(p != (0, 0) for p in pads[:2]):
        raise CheepError("padding of batch or channels")
    layer = k.layers.ZeroPadding2D(pads[2:], name=name) if rank == 4 else k.layers.ZeroPadding1D(pads[2], name=name)
    return _made(layer(v.x), v)


@_op("Slice")
def _slice(k: Any, i: list, a: dict, name: str) -> Value:
    v = i[0]
    starts, ends = ([int(n) for n in np.ravel(_array(i[j]))] for j in (1, 2))
    axes = [int(n) for n in np.ravel(_array(i[3]))] if len(i) > 3 and i[3] is not None else list(range(len(starts)))
    steps = [int(n) for n in np.ravel(_array(i[4]))] if len(i) > 4 and i[4] is not None else [1] * len(starts)
    cut = [slice(None)] * len(v.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[axis % len(v.shape)] = slice(start, None if end >= 2**31 - 1 else end, step)
    if v.constant:
        return Value(v.x[tuple(cut)], v.x[tuple(cut)].shape)
    if cut[0] != slice(None) or any(s.step not in (None, 1) for s in cut):
        raise CheepError("a cut through the batch, or with a step")
    inner = tuple([cut[0], *cut[2:], cut[1]] if v.last else cut)
    y = k.layers.Lambda(lambda t: t[inner], name=name)(v.x)
    return _made(y, v)


@_op("Identity", "Dropout", "Cast")
def _identity(k: Any, i: list, a: dict, name: str) -> Value:
    return i[0]


@_op("Constant")
def _constant(k: Any, i: list, a: dict, name: str) -> Value:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in a:
            array = np.asarray(a[key])
            return Value(array, array.shape)
    raise CheepError("a constant that is no number")


@_op("Shape")
def _shape(k: Any, i: list, a: dict, name: str) -> Value:
    array = np.array(i[0].shape, np.int64)
    return Value(array, array.shape)


@_op("Gather")
def _gather(k: Any, i: list, a: dict, name: str) -> Value:
    index, axis = _array(i[1]), int(a.get("axis", 0))
    if i[0].constant:
        y = np.take(i[0].x, index.astype(np.int64), axis=axis)
        return Value(np.asarray(y), np.shape(y))
    v = _plain(k, i[0])
    axis %= len(v.shape)
    if index.ndim or axis == 0:
        raise CheepError("other than one position along one axis")
    at = tuple([slice(None)] * axis + [int(index)])
    y = k.layers.Lambda(lambda t: t[at], name=name)(v.x)
    return Value(y, _shape_of(y, False))
