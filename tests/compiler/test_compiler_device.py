# SPDX-License-Identifier: MIT
"""The same C on an emulated Cortex-M4F, through the DSP instructions: the same bytes as on this machine."""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cheep import cli
from cheep.bench.detector import measure_detector
from cheep.boards.data import find_board
from cheep.ccore import compile_shared
from cheep.compiler import CompiledModel, compile_bytes
from cheep.compiler.intake import read_network
from cheep.compiler.measure import measure, random_inputs
from cheep.config import DetectorConfig, FeatureConfig
from cheep.device.bundle import load_bundle
from cheep.emulator import build_elf, run_elf
from cheep.tflite.model import write_metadata
from compiler_grid import grid, networks, one_file

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm (make setup installs them)",
)
ROUNDS = 3
_HEAD = """
#include "emulator.h"
static _Alignas(8) unsigned char memory[{memory}];
static _Alignas(8) unsigned char in[{size_in}], out[{size_out}];
int main(void)
{{
    char buffer[400];
    char *a = buffer + (emulator_arguments(buffer, sizeof buffer) - buffer), *b = a;
    for (; *b != ' '; b++) {{
    }}
    *b++ = 0;
    const int source = emulator_open_read(a), sink = emulator_open_write(b);
    for (int i = 0; i < {rounds}; i++) {{
"""


def test_every_operator(tmp_path):
    cases = grid() + networks()
    made, calls, inputs, expected = [], [], [], []
    sizes = []
    for i, (name, data) in enumerate(cases):
        compiled = compile_bytes(data, f"m{i}", name)
        (tmp_path / f"m{i}.h").write_text(compiled.header)
        made.append(compiled)
        graph = read_network(data)
        size_in, size_out = (sum(-(-t.n_bytes // 8) * 8 for t in ts) for ts in (graph.inputs, graph.outputs))
        sizes.append((compiled.memory_bytes, size_in, size_out, graph))
        pointers, at = [], 0
        for letter, tensors in (("in", graph.inputs), ("out", graph.outputs)):
            at = 0
            for t in tensors:
                pointers.append(f"(void *)({letter} + {at})")
                at += -(-t.n_bytes // 8) * 8
        reset = f"m{i}_reset((void *)memory); " if compiled.states else ""
        calls.append(
            f"emulator_read(source, in, {size_in}); {reset}m{i}_invoke((void *)memory, {', '.join(pointers)}); "
            f"emulator_write(sink, out, {size_out});"
        )
    text = one_file(made)
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "grid.c").write_text(text)
    library = ctypes.CDLL(str(compile_shared([folder / "grid.c"], [tmp_path], ["-O1"], "grid")))
    rng = np.random.default_rng(5)
    for _ in range(ROUNDS):
        for i, (memory_bytes, size_in, size_out, graph) in enumerate(sizes):
            raw = np.zeros(size_in // 8, np.uint64)
            out = np.zeros(size_out // 8, np.uint64)
            view, at = raw.view(np.uint8), 0
            keep = np.zeros(memory_bytes // 8 + 1, np.uint64)
            pointers = [keep.ctypes.data]
            for t in graph.inputs:
                values = rng.integers(-128, 128, t.size).astype(np.int8)
                values = values.astype(np.float32) / 7 if t.dtype == "float32" else values
                view[at : at + t.n_bytes] = np.frombuffer(values.tobytes(), np.uint8)
                pointers.append(raw.ctypes.data + at)
                at += -(-t.n_bytes // 8) * 8
            at = 0
            for t in graph.outputs:
                pointers.append(out.ctypes.data + at)
                at += -(-t.n_bytes // 8) * 8
            if made[i].states:
                library[f"m{i}_reset"](ctypes.c_void_p(keep.ctypes.data))
            library[f"m{i}_invoke"](*map(ctypes.c_void_p, pointers))
            inputs.append(raw.tobytes())
            expected.append(out.tobytes())
    head = _HEAD.format(
        memory=max(s[0] for s in sizes), size_in=max(s[1] for s in sizes), size_out=max(s[2] for s in sizes),
        rounds=ROUNDS,
    )  # fmt: skip
    # zero the padding between outputs, so that only what a network writes is compared
    body = "\n".join(f"        for (int k = 0; k < (int)sizeof out; k++) {{ out[k] = 0; }} {call}" for call in calls)
    main = tmp_path / "main.c"
    main.write_text(text + head + body + "\n    }\n    emulator_close(sink);\n    return 0;\n}\n")
    (tmp_path / "in.bin").write_bytes(b"".join(inputs))
    elf = build_elf([main], tmp_path / "grid.elf", include_dirs=[tmp_path], optimization="-O1", flash_bytes=1 << 22,
                    ram_bytes=1 << 20)  # fmt: skip
    run_elf(elf, [str(tmp_path / "in.bin"), str(tmp_path / "out.bin")], count=False)
    got = (tmp_path / "out.bin").read_bytes()
    assert len(got) == sum(map(len, expected))
    wrong, at = set(), 0
    for k, part in enumerate(expected):
        if got[at : at + len(part)] != part:
            wrong.add(cases[k % len(cases)][0])
        at += len(part)
    assert not wrong, f"{len(wrong)} of {len(cases)} differ on the device: {sorted(wrong)[:20]}"


@pytest.mark.parametrize("name", ["valid", "odd same", "under peak"])
def test_measured(name):
    data = dict(networks())[name]
    compiled = compile_bytes(data)
    window = np.random.default_rng(6).integers(-128, 128, (2, *read_network(data).inputs[0].shape)).astype(np.int8)
    measured = measure(compiled, window.tobytes(), 2)
    assert measured.outputs == CompiledModel(data).scores(window).tobytes()
    assert measured.ram_bytes == compiled.memory_bytes
    assert compiled.constant_bytes < measured.flash_bytes < compiled.constant_bytes + 8192
    assert compiled.macs / 3 < measured.instructions < compiled.macs * 8
    if compiled.stream:
        columns = window.reshape(-1, window.shape[-2] * window.shape[-1])
        stream = measure(compiled, columns.tobytes(), len(columns), stream=True)
        assert stream.instructions_mean < measured.instructions / 3
        assert len(stream.outputs) > 0


@pytest.mark.parametrize("name", ["QUANTIZE float", "DEQUANTIZE"])
def test_measured_with_floats(name):
    data = dict(grid())[name]
    compiled, host = compile_bytes(data), CompiledModel(data)
    inputs = random_inputs(compiled, 2)
    tensor = host.inputs[0]
    values = np.frombuffer(inputs, tensor.dtype).reshape(2, *tensor.shape)
    assert measure(compiled, inputs, 2).outputs == b"".join(host.invoke(v)[0].tobytes() for v in values)


def test_size_measures_the_whole_detector(tmp_path, capsys):
    features = FeatureConfig(n_mels=12, window_frames=20)
    detector = DetectorConfig(stride_frames=4, threshold=(0.5, 0.5))
    values = {"features": features.to_dict(), "detector": detector.to_dict(), "labels": ["a", "b"]}
    data = write_metadata(dict(networks())["valid"], values)
    path = tmp_path / "small.tflite"
    path.write_bytes(data)
    bundle, compiled = load_bundle(path), compile_bytes(data)
    modes = {
        stream: measure_detector(compiled, features, detector, bundle.input, 2, stream=stream)
        for stream in (False, True)
    }
    assert np.array_equal(modes[True].scores, modes[False].scores)
    assert len(modes[True].scores) >= 4 * 40 // 4
    assert modes[True].per_second["network"] < modes[False].per_second["network"] / 2
    assert modes[True].per_second["frontend"] == modes[False].per_second["frontend"]
    assert cli.main("size", [str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["backends"]["compiled"]["fits"]
    assert report["backends"]["compiled"]["ram"]["network"] == compiled.stream["memory_bytes"]
    assert set(report["load"]) == {"window", "incremental"}
    moth, values = find_board("audiomoth"), report["instructions_per_second"]["window"]
    heard = moth.microphone[features.sample_rate_hz]
    assert report["load"]["window"]["duty"] == pytest.approx((values["total"] + heard) / moth.clock_hz)
    assert cli.main("size", [str(path), "--board", "esp32"]) == 0
    assert "assumptions and sources" in capsys.readouterr().out


def test_size_of_a_network_that_says_nothing_of_sound(tmp_path, capsys):
    path = tmp_path / "anybody.tflite"
    path.write_bytes(dict(networks())["valid"])
    compiled = compile_bytes(path.read_bytes())
    assert cli.main("size", [str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    own, tflm = report["backends"]["compiled"], report["backends"]["tflm"]
    assert own["ram"] == {"network": compiled.memory_bytes} and own["flash_bytes"] > compiled.constant_bytes
    assert tflm["ram"]["arena"] > 0 and set(tflm["flash"]) == {"model", "TFLM"}
    assert report["instructions"] > report["macs"] / 2
    assert cli.main("size", [str(path)]) == 0
    assert "front end, columns, detector" in capsys.readouterr().out


def test_size_of_a_recipes_network_before_its_training(capsys):
    """A small cut of YAMNet with random weights: as a detector, nothing of it left out, refused as a trained one is."""
    recipe = str(Path(__file__).parents[2] / "recipes" / "esc10_yamnet.yaml")
    small = ["--config", recipe, "--cut", "2", "--window-frames", "16", "--labels", "3"]
    assert cli.main("size", [*small, "--json", "--board", "esp32s3"]) == 0
    report = json.loads(capsys.readouterr().out)
    positions = 8 * 32
    assert report["macs"] == positions * (9 * 32 + 9 * 32 + 32 * 64) + 64 * 3  # no channel is dead
    seconds = report["instructions_per_second"]["window"]
    assert seconds["network"] > report["macs"] and seconds["frontend"] > 2e6
    assert "not trained, 3 labels" in report["model"]
    for wrong, says in (
        (["x.tflite", *small], "one of them"),
        (["--cut", "4"], "give its recipe"),
        ([*small, "--labels", "0"], "must be 1 or more"),
        ([*small, "--cut", "15"], "layer 2 to 14"),
    ):
        assert cli.main("size", wrong) == 2
        assert says in capsys.readouterr().err


def test_a_network_stack_beside_the_detector():
    from cheep.bench.sizes import with_network
    from cheep.boards.data import BOARDS, find_board

    for board in (find_board("esp32"), find_board("esp32s3")):
        room = board.network.left_ram_bytes - 32768 - board.stack_bytes - 10240
        assert with_network(board, 50_000, room)["fits"] and not with_network(board, 50_000, room + 1)["fits"]
        flash = board.flash_bytes - board.network.flash_bytes
        assert with_network(board, flash, 1)["fits"] and not with_network(board, flash + 1, 1)["fits"]
        assert any(text.startswith("network:") for text in board.sources)
    assert {board.name for board in BOARDS if board.network} == {"esp32", "esp32s3"}
