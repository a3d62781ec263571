# SPDX-License-Identifier: MIT
"""The compiler's parts: reader and its errors, passes, memory plan, generated text, command, budgets, boards."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import time

import numpy as np
import pytest

from cheep import cli
from cheep.bench.detector import check_stride
from cheep.boards.budget import Need, check_compiled, check_model, check_need, needs_compiled
from cheep.boards.data import BOARDS, find_board
from cheep.compiler import CompiledModel, compile_bytes, compile_model, fixedpoint, passes
from cheep.compiler.checks import check_inputs
from cheep.compiler.intake import read_network
from cheep.compiler.kernels import kernel_parts, needed_parts
from cheep.compiler.passes import run_passes
from cheep.compiler.plan import first_fit, make_plan
from cheep.compiler.step import Step
from cheep.compiler.variables import VARIABLE_OPERATORS
from cheep.config import DetectorConfig, FeatureConfig
from cheep.device.bundle import load_bundle
from cheep.errors import CheepError, GateError
from cheep.models.registry import RANGE_DB
from cheep.resources import include_dir
from cheep.tflite.graph import Tensor
from cheep.tflite.tflm import TflmModel
from compiler_grid import Network, convolution, grid, networks, one
from tflite_builder import Builder, T, constant
from tone_model import write_tone_run


def network(name: str = "valid") -> bytes:
    return dict(networks())[name]


# ---- reader


def test_unsupported_operator_names_itself_tensor_and_way_out():
    b = Builder()
    x, y = b.tensor(T((1, 4), 0.1)), b.tensor(T((1, 4), 0.1))
    b.op("COS", [x], [y])
    with pytest.raises(CheepError, match=r"operator COS \(tensor 1 't1' \(int8 1x4\)\) is not supported.*TFLM"):
        compile_bytes(b.build([x], [y]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: b"", "not a .tflite file"),
        (lambda d: d[:200], "damaged"),
        (lambda d: d[:4] + b"XXXX" + d[8:], "not a .tflite file"),
        (lambda d: d[:8] + b"\xff" * 64 + d[72:], "damaged"),
    ],
)
def test_damaged_files(change, message):
    with pytest.raises(CheepError, match=message):
        compile_bytes(change(network()))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (T((1, 4), 0.1, 0, dtype="float32"), "not int8"),
        (T((1, 4)), "one scale"),
        (T((1, 4), -0.1), "scale outside"),
        (T((1, 4), float("nan")), "scale outside"),
        (T((1, 4), 0.1, 300), "zero point 300 outside int8"),
        (T((1, 0), 0.1), "positive dimensions"),
        (T((4096, 4096, 4), 0.1), "larger than"),
    ],
)
def test_bad_tensors(tensor, message):
    b = Builder()
    x, y = b.tensor(tensor), b.tensor(T((1, 4), 0.1))
    b.op("ADD", [x, x], [y], "AddOptions")
    with pytest.raises(CheepError, match=message):
        compile_bytes(b.build([x], [y]))


def test_refuses_what_tflm_refuses_or_cannot_mean():
    x = T((1, 4, 4, 2), 0.05, 3)
    cases = [
        (one("MAX_POOL_2D", [x], [T((1, 2, 2, 2), 0.07, 3)], "Pool2DOptions", padding=1, strideH=2, strideW=2,
             filterHeight=2, filterWidth=2), "same quantization"),
        (one("LOGISTIC", [x], [T(x.shape, 1 / 256, 0)]), "zero point must be -128"),
        (one("RELU6", [T(x.shape, 1e-9)], [T(x.shape, 0.001)]), "scale is too small"),
        (one("HARD_SWISH", [T(x.shape, 2.5e-7)], [T(x.shape, 7.25, 12)], "HardSwishOptions"), "scale is too small"),
        (one("HARD_SWISH", [T(x.shape, 5e-7)], [T(x.shape, 1e-6)], "HardSwishOptions"), "scale is too small"),
        (one("MINIMUM", [x, T(x.shape, 0.05, 3)], [x]), "one operand must be a constant"),
        (one("MAXIMUM", [x, constant([1, 2], 0.05, 3)], [x]), "must be a single value"),
        (one("SOFTMAX", [x], [T(x.shape, 0.1, -128)], "SoftmaxOptions", beta=1.0), "scale 1/256"),
        (one("RESHAPE", [x], [T((1, 31), 0.05, 3)], "ReshapeOptions"), "sizes differ"),
        (one("MEAN", [x, constant([7], dtype="int32")], [T((1, 4, 2), 0.05, 3)], "ReducerOptions"), "axes are outside"),
        (one("ADD", [x, T((1, 4, 3, 2), 0.05)], [x], "AddOptions"), "broadcast"),
        (one("CONV_2D", [x, T((3, 1, 1, 2), 0.1)], [T((1, 4, 4, 3), 0.1)], "Conv2DOptions", padding=1, strideH=1,
             strideW=1), "must be a constant"),
    ]  # fmt: skip
    for data, message in cases:
        with pytest.raises(CheepError, match=message):
            compile_bytes(data)


def test_layers_of_a_constant_are_refused():
    """As the fuzzer found them: a layer that reads its own weights in place of its input."""
    left = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "PRELU", "MEAN", "MAX_POOL_2D"}
    for _, data in grid():
        graph = _graph(data)
        if graph.nodes[0].op not in left:
            continue
        left.remove(graph.nodes[0].op)
        read = graph.nodes[0].inputs[0]
        read.data = np.zeros(read.shape, np.int8)
        with pytest.raises(CheepError, match="is computed from the constant"):
            check_inputs(run_passes(graph))
    assert not left


def test_prelu_without_slopes_is_refused():
    x = T((1, 4), 0.1, 0)
    data = one("PRELU", [x, T((), 0.1, 0, data=np.array(3, np.int8))], [x])
    with pytest.raises(CheepError, match="one slope per channel"):
        compile_bytes(data)


def test_operands_in_the_wrong_order():
    b = Builder()
    x, y, z = (b.tensor(T((1, 4), 0.1)) for _ in range(3))
    b.op("ADD", [x, z], [y], "AddOptions")
    b.op("ADD", [x, x], [z], "AddOptions")
    with pytest.raises(CheepError, match="before it is computed"):
        compile_bytes(b.build([x], [y]))


# ---- arithmetic and passes


def test_levels_under_the_peak_are_the_same_in_older_tflm(rng):
    """Older runtimes compute SUB's output scale in single precision; with inputs of one scale no byte differs."""
    out, half = np.float32(RANGE_DB / 255), fixedpoint.quantize_multiplier(0.5)
    steps = [fixedpoint.scale(d << 20, *half) for d in range(-255, 256)]
    apart = 0
    for scale in rng.uniform(0.2, 0.8, 100).astype(np.float32):
        double = fixedpoint.quantize_multiplier(2 * float(scale) / ((1 << 20) * float(out)))
        single = fixedpoint.quantize_multiplier(float(2 * scale / (np.float32(1 << 20) * out)))
        apart += double != single
        old, new = ([fixedpoint.clamp(fixedpoint.scale(x, *s) - 128) for x in steps] for s in (single, double))
        assert old == new
    assert apart > 50  # the scales do differ


def test_rounding_is_half_away_from_zero_after_half_up():
    assert [fixedpoint.round_shift(x, 1) for x in (-3, -2, -1, 0, 1, 2, 3)] == [-2, -1, -1, 0, 1, 1, 2]
    assert fixedpoint.fixed_product(1, 1 << 30) == 1  # 0.5 up
    assert fixedpoint.fixed_product(-1, 1 << 30) == 0  # -0.5 up
    assert fixedpoint.quantize_multiplier(0.25) == (1 << 30, -1)
    assert fixedpoint.quantize_multiplier(2.0**-40) == (0, 0)


def _graph(data: bytes):
    return read_network(data)


def test_fold_padding_gives_the_pad_to_the_convolution():
    net = Network(np.random.default_rng(0), 12, 8).pad(1, 2).conv(3, (3, 3), padding="VALID")
    graph = _graph(net.build())
    passes.normalize_convolutions(graph)
    passes.fold_padding(graph)
    assert [n.op for n in graph.nodes] == ["ALIAS", "CONV"]
    conv = graph.nodes[1]
    assert (conv.attributes["pad_top"], conv.attributes["pad_left"]) == (1, 2)
    assert conv.inputs[0].shape == (1, 12, 8, 1)


def test_tables_merge_and_unused_nodes_go():
    b = Builder()
    x = b.tensor(T((1, 8), 0.05, 2))
    y, z, dead = b.tensor(T((1, 8), 0.04, -3)), b.tensor(T((1, 8), 1 / 256, -128)), b.tensor(T((1, 8), 0.04, 1))
    b.op("RELU", [x], [y])
    b.op("LOGISTIC", [y], [z])
    b.op("RELU", [x], [dead])
    data = b.build([x], [z])
    graph = passes.run_passes(_graph(data))
    assert [n.op for n in graph.nodes] == ["LOOKUP"]
    assert graph.nodes[0].attributes["from"] == "RELU LOGISTIC"
    values = np.arange(-128, -120, dtype=np.int8).reshape(1, 8)
    assert CompiledModel(data).invoke(values)[0].tobytes() == TflmModel(data).invoke(values).tobytes()


def test_constant_operand_of_a_relabelling_is_folded():
    b = Builder()
    x, c = b.tensor(T((2, 3), 0.1)), b.tensor(constant(np.arange(6).reshape(6), 0.1))
    shaped, y = b.tensor(T((2, 3), 0.1)), b.tensor(T((2, 3), 0.2))
    b.op("RESHAPE", [c], [shaped], "ReshapeOptions")
    b.op("ADD", [x, shaped], [y], "AddOptions")
    graph = passes.run_passes(_graph(b.build([x], [y])))
    assert [n.op for n in graph.nodes] == ["ADD"]
    assert graph.nodes[0].inputs[1].data.shape == (2, 3)


def test_grouped_convolution_of_single_channels_becomes_depthwise():
    graph = _graph(convolution(np.random.default_rng(0), (1, 6, 5, 8), 8, groups=8))
    passes.normalize_convolutions(graph)
    assert graph.nodes[0].op == "DEPTHWISE"
    assert graph.nodes[0].attributes["weights"].shape == (3, 3, 8)


# ---- memory plan


def _tensor(i: int, size: int) -> Tensor:
    return Tensor(i, f"t{i}", (size,), "int8", np.ones(1, np.float32), np.zeros(1, np.int64))


def test_plan_reuses_dead_memory_and_never_overlaps_live_tensors():
    x, *t = (_tensor(i, n) for i, n in enumerate((64, 100, 100, 40, 100, 8)))

    def step(reads, write, **options):
        return Step("", reads, [write], lambda p, s: [], set(), **options)

    steps = [step([x], t[0]), step([t[0]], t[1], in_place=True), step([t[1]], t[2], scratch=32), step([t[2], x], t[3]),
             step([t[3]], t[4])]  # fmt: skip
    plan = make_plan(steps, [x], [t[4]])
    assert plan.location[id(t[0])] == plan.location[id(t[1])], "an element-wise step takes over its dying input"
    assert plan.location[id(t[4])] == ("output", 0)
    assert plan.n_bytes < 100 + 40 + 100 + 32
    rng = np.random.default_rng(0)
    for _ in range(50):
        items = []
        for _ in range(12):
            first = int(rng.integers(0, 10))
            storage = dataclasses.make_dataclass("S", ["place"])(0)
            items.append((int(rng.integers(1, 200)), first, first + int(rng.integers(0, 4)), storage))
        first_fit(items)
        for i, (n, a, b, s) in enumerate(items):
            for m, c, d, other in items[i + 1 :]:
                if a <= d and c <= b:
                    assert s.place + n <= other.place or other.place + m <= s.place


def test_state_may_be_updated_in_place():
    b = Builder()
    state, x = b.tensor(T((1, 16), 0.02, 1)), b.tensor(T((1, 16), 0.03, -2))
    new, gate = b.tensor(T((1, 16), 0.02, 1)), b.tensor(T((1, 16), 0.05, 0))
    b.op("ADD", [state, x], [new], "AddOptions")
    b.op("MUL", [new, state], [gate], "MulOptions")
    data = b.build([state, x], [gate, new])
    model, rng = CompiledModel(data), np.random.default_rng(0)
    s, v = (rng.integers(-128, 128, (1, 16)).astype(np.int8) for _ in range(2))
    expected = [o.copy() for o in model.invoke(s, v)]
    import ctypes

    out, shared = np.zeros((1, 16), np.int8), s.copy()
    arrays = (np.zeros(model.memory_bytes // 8 + 1, np.uint64), shared, v, out, shared)
    model._invoke(*(ctypes.c_void_p(a.ctypes.data) for a in arrays))
    assert out.tobytes() == expected[0].tobytes()
    assert shared.tobytes() == expected[1].tobytes()


# ---- generated text


def test_output_is_reproducible_and_marked():
    a, b = compile_bytes(network()), compile_bytes(network())
    assert (a.source, a.header) == (b.source, b.header)
    for text in (a.source, a.header):
        first = text.splitlines()[0]
        assert first.startswith("/* Made by Cheep")
        assert "DO NOT EDIT" in first
    assert "malloc" not in a.source and "/home" not in a.source
    assert max(map(len, a.source.splitlines())) <= 160


def test_compiles_clean_with_other_compilers_and_as_cpp_header(tmp_path):
    compiled = compile_bytes(network("odd same"))
    (tmp_path / "model_compiled.c").write_text(compiled.source)
    (tmp_path / "model_compiled.h").write_text(compiled.header)
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-DCHEEP_BACKEND_COMPILED"]
    import shutil

    found = [c for c in ("gcc", "clang") if shutil.which(c)]
    assert found
    for compiler in found:
        command = [compiler, *flags, f"-I{include_dir()}", "-c", str(tmp_path / "model_compiled.c"), "-o", "/dev/null"]
        subprocess.run(command, check=True, capture_output=True, text=True)
    if shutil.which("g++"):
        subprocess.run(["g++", "-fsyntax-only", "-x", "c++", str(tmp_path / "model_compiled.h")], check=True)


def test_adapter_refuses_a_header_of_another_model(tmp_path):
    compiled = compile_bytes(network())
    (tmp_path / "model_compiled.c").write_text(compiled.source)
    (tmp_path / "model_compiled.h").write_text(compiled.header)
    (tmp_path / "generated").mkdir()
    wrong = "#define CHEEP_MODEL_ID 0x12345678u\n#define CHEEP_MODEL_FRAMES 20\n#define CHEEP_MODEL_MELS 12\n"
    (tmp_path / "generated" / "model.h").write_text(wrong + "#define CHEEP_MODEL_CLASSES 2\n")
    command = ["cc", "-std=c11", "-DCHEEP_BACKEND_COMPILED", f"-I{include_dir()}", f"-I{tmp_path}", "-fsyntax-only"]
    result = subprocess.run([*command, str(tmp_path / "model_compiled.c")], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "of different models" in result.stderr


def test_kernel_parts_name_what_exists():
    parts = kernel_parts()
    assert all(need in parts for needs, _ in parts.values() for need in needs)


def test_kernel_parts_need_the_macros_that_they_use():
    parts = kernel_parts()
    homes = {macro: name for name, (_, text) in parts.items() for macro in re.findall(r"#define (CHEEP_\w+)", text)}
    for name, (_, text) in parts.items():
        used = {homes[word] for word in re.findall(r"CHEEP_\w+", text) if word in homes}
        assert used <= set(needed_parts({name})), name


def test_compile_time_is_far_below_five_seconds():
    begin = time.process_time()  # a busy machine takes nothing of it
    for _, data in networks():
        compile_bytes(data)
    assert time.process_time() - begin < 10  # nineteen networks


def test_scores_of_many_windows():
    data = network("flatten")
    model = CompiledModel(data)
    windows = np.random.default_rng(0).integers(-128, 128, (40, 16, 10)).astype(np.int8)
    assert np.array_equal(model.scores(windows), TflmModel(data).scores(windows))
    with pytest.raises(CheepError, match="windows of 150 values"):
        model.scores(windows[:, :15])


# ---- command, boards, budgets


def test_command_writes_checks_and_refuses(tmp_path, capsys):
    path = tmp_path / "m.tflite"
    path.write_bytes(network())
    out = tmp_path / "out"
    assert cli.main("compile", [str(path), "--output", str(out), "--prefix", "small"]) == 0
    assert "incremental" in capsys.readouterr().out
    check = [str(path), "--output", str(out), "--prefix", "small", "--check"]
    assert cli.main("compile", check) == 0
    (out / "small.h").write_text("old\n")
    assert cli.main("compile", check) == 1
    assert "small.h: differs" in capsys.readouterr().err
    assert cli.main("compile", [str(tmp_path / "none.tflite")]) == 2
    assert cli.main("compile", [str(path), "--output", str(out), "--prefix", "Bad Name"]) == 2
    assert "lower-case C identifier" in capsys.readouterr().err
    assert cli.main("compile", [str(path), "--board", "audiomth", "--output", str(out)]) == 2
    assert "did you mean 'audiomoth'" in capsys.readouterr().err


def test_boards_list_and_sources(capsys):
    assert cli.main("boards", []) == 0
    text = capsys.readouterr().out
    assert all(board.name in text for board in BOARDS)
    assert cli.main("boards", ["audiomoth"]) == 0
    assert "data sheet" in capsys.readouterr().out
    assert find_board("audiomoth").free_ram_bytes < 20 * 1024
    with pytest.raises(CheepError, match="no such board"):
        find_board("toaster")


def test_budget_says_what_is_too_big_and_by_how_much():
    board = find_board("audiomoth")
    check_need(Need("compiled", {"network": 1000}, {"network": 1000}), board, "net")
    ram = board.free_ram_bytes + 77
    with pytest.raises(
        GateError, match=rf"RAM: {ram} bytes needed.*77 too many; largest is network with {ram - 7} bytes"
    ):
        check_need(Need("compiled", {"network": 1}, {"network": ram - 7, "columns": 7}), board, "net")
    with pytest.raises(GateError, match=r"flash: .*cheep compile"):
        check_need(Need("tflm", {"TFLM": board.free_flash_bytes + 1}, {"arena": 1}), board, "net")


def test_large_network_is_refused(tmp_path):
    big = Network(np.random.default_rng(0), 60, 40).conv(120, (3, 3)).conv(160, (3, 3), (2, 2)).conv(200).mean().build()
    with pytest.raises(GateError, match=r"flash: .* too many; largest is network"):
        check_compiled(compile_bytes(big), find_board("audiomoth"))
    path = tmp_path / "big.tflite"
    path.write_bytes(big)
    with pytest.raises(GateError, match="too many"):
        check_model("audiomoth", path)
    path.write_bytes(network())
    check_model("audiomoth", path)


def test_a_detector_is_counted_with_what_is_around_its_network(tmp_path, monkeypatch, capsys):
    """RAM that holds the network alone is too little for the firmware, and is not named as what comes next."""
    run, board = write_tone_run(tmp_path / "run"), find_board("audiomoth")
    bundle = load_bundle(run)
    compiled = compile_model(bundle.path)
    whole = needs_compiled(compiled, bundle.features, len(bundle.labels)).ram_bytes
    small = board.model_copy(update={"base_ram_bytes": board.base_ram_bytes + board.free_ram_bytes - whole + 1})
    assert small.free_ram_bytes == whole - 1
    check_compiled(compiled, small)
    with pytest.raises(GateError, match=rf"detector \(compiled\): RAM: {whole} bytes needed.* 1 too many"):
        check_compiled(compiled, small, bundle)
    boards = {"audiomoth": small, "esp32": find_board("esp32"), "esp32s3": find_board("esp32s3")}
    monkeypatch.setattr("cheep.job.export.find_board", boards.__getitem__)
    assert cli.main("compile", [str(run), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "not for audiomoth: detector (compiled): RAM:" in said and "cheep split-dataset --board audiomoth" in said
    assert said.splitlines()[-1] == (
        "next: make -C firmware/host; pio run -e esp32-compiled in firmware/esp32; pio run -e esp32s3 in firmware/esp32"
    )
    assert cli.main("compile", [str(run), "--output", str(tmp_path / "out"), "--board", "audiomoth"]) == 1


def test_incremental_mode_refuses_other_strides():
    compiled = compile_bytes(network("valid"))
    check_stride(compiled, DetectorConfig(stride_frames=6))
    with pytest.raises(CheepError, match=r"stride_frames=5: .* multiple of 2 .* set stride_frames to 4"):
        check_stride(compiled, DetectorConfig(stride_frames=5))
    with pytest.raises(CheepError, match="no incremental mode"):
        check_stride(compile_bytes(network("same")), DetectorConfig())


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"groups": 4}, "grouped"),
        ({"out_scale": 1e-3}, "64-bit rescaling"),
        ({"dilation": (2, 2), "multiplier": 1}, "no 1x1 convolution follows"),
    ],
)
def test_command_names_layers_off_the_fast_path(tmp_path, capsys, rng, values, reason):
    path = tmp_path / "m.tflite"
    path.write_bytes(convolution(rng, (1, 8, 8, 8), 8, **values))
    assert cli.main("compile", [str(path), "--output", str(tmp_path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "slow:" in line)
    assert reason in line and "1x8x8x8" in line and "instructions" in line
    path.write_bytes(convolution(rng, (1, 8, 8, 8), 8))
    assert cli.main("compile", [str(path), "--output", str(tmp_path)]) == 0
    assert "slow:" not in capsys.readouterr().out


@pytest.mark.parametrize("operator, way_out", [("WHILE", "unroll"), ("COS", "replace the layer")])
def test_refusals_name_the_operator_and_the_way_out(operator, way_out):
    data = one(operator, [T((1, 4), 0.1, 0)], [T((1, 4), 0.1, 0)])
    with pytest.raises(CheepError, match=rf"operator {operator} \(tensor 1 't1'.*{way_out}"):
        compile_bytes(data)


def test_grid_has_every_supported_operator():
    from cheep.compiler.intake import SUPPORTED

    seen = {n.op for _, data in grid() for n in _graph(data).nodes}
    on_reading = {"SQUEEZE", "EXPAND_DIMS", "SHAPE", *VARIABLE_OPERATORS}  # relabellings, like RESHAPE; computed then
    assert SUPPORTED - seen <= on_reading
    assert json.dumps(FeatureConfig().to_dict())
