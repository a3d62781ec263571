# SPDX-License-Identifier: MIT
"""The emulated Cortex-M4F: the same bytes as this machine, the instruction budget, and what goes wrong."""

import numpy as np
import pytest

from cheep import emulator
from cheep.bench.frontend import build_frontend, host_output, measure_frontend, run_frontend
from cheep.config import DetectorConfig, FeatureConfig
from cheep.errors import CheepError
from frontend_reference import signals

DETECTOR = DetectorConfig(threshold=(0.3, 0.4, 0.5, None), hysteresis=0.05, hold_off_windows=1)
QUANTIZATION = {"n_classes": 4, "scale": 0.42, "zero_point": 64}


@pytest.mark.parametrize(
    ("changes", "levels"),
    [
        ({}, ["-O0", "-O1", "-O2", "-O3"]),
        ({"compression": "pcen", "frame_samples": 200}, ["-O2"]),
        ({"fft_size": 512, "frame_samples": 512, "spectrum": "magnitude", "n_mels": 64}, ["-O2"]),
        ({"fft_size": 512, "frame_samples": 400, "spectrum": "magnitude", "log_offset": 0.001}, ["-O2"]),
    ],
    ids=["default", "pcen", "512 points", "offset"],
)
def test_columns_and_events_are_the_same_bytes(changes, levels, tmp_path, rng):
    config = FeatureConfig(**changes)
    pcm = np.concatenate(list(signals(rng, 4000).values()))
    pcm.astype("<i2").tofile(tmp_path / "in.raw")
    quantization = dict(QUANTIZATION, scale=0.01, zero_point=-120) if config.compression == "pcen" else QUANTIZATION
    expected = host_output(pcm, config, DETECTOR, **quantization)
    assert len(expected) > 10 * 20 + config.n_mels * config.frames_of(pcm.size)
    for level in levels:
        elf = build_frontend(tmp_path, config, DETECTOR, **quantization, optimization=level)
        for chunk in (0, 200) if level == "-O2" else (0,):
            run = run_frontend(elf, tmp_path / "in.raw", tmp_path / "out.bin", chunk=chunk, count=False)
            assert (tmp_path / "out.bin").read_bytes() == expected, (level, chunk)
            assert run.values["columns"] == config.frames_of(pcm.size)


def test_a_build_for_256_points_alone(tmp_path, rng):
    """CHEEP_FFT_256_ONLY: the same bytes from less flash; other settings are refused."""
    only = ["-DCHEEP_FFT_256_ONLY"]
    pcm = signals(rng, 4000)["bird-like"]
    pcm.astype("<i2").tofile(tmp_path / "in.raw")
    config = FeatureConfig()
    all_sizes = build_frontend(tmp_path, config, DETECTOR, **QUANTIZATION)
    flash = emulator.elf_sizes(all_sizes).flash
    elf = build_frontend(tmp_path, config, DETECTOR, **QUANTIZATION, flags=only)
    run_frontend(elf, tmp_path / "in.raw", tmp_path / "out.bin", count=False)
    assert (tmp_path / "out.bin").read_bytes() == host_output(pcm, config, DETECTOR, **QUANTIZATION)
    assert emulator.elf_sizes(elf).flash < flash - 4000
    other = FeatureConfig(frame_samples=200)
    elf = build_frontend(tmp_path, other, DETECTOR, **QUANTIZATION, flags=only)
    with pytest.raises(CheepError, match="init refused"):
        run_frontend(elf, tmp_path / "in.raw", tmp_path / "out.bin", count=False)


def test_at_most_9000_instructions_a_column_and_8_kilobytes():
    measured = measure_frontend(FeatureConfig())
    assert measured["frontend.instructions_per_frame"] <= 9000
    assert measured["frontend.instructions_worst"] <= 9000
    assert measured["frontend.ram_bytes"] <= 8192
    assert 0 < measured["frontend.stack_bytes"] < 1024


def test_counts_repeat_and_are_exact(tmp_path):
    (tmp_path / "main.c").write_text(
        '#include "emulator.h"\n'
        "int main(void) {\n"
        "    for (int round = 0; round < 2; round++) {\n"
        "        const uint32_t start = emulator_ticks();\n"
        '        __asm__ volatile(".rept 1000\\n nop\\n .endr");\n'
        '        emulator_report(round == 0 ? "first" : "second", emulator_elapsed(start));\n'
        "    }\n"
        "    return 0;\n}\n"
    )
    elf = emulator.build_elf([tmp_path / "main.c"], tmp_path / "count.elf")
    runs = [emulator.run_elf(elf).values for _ in range(2)]
    assert runs[0] == runs[1]
    assert 1000 <= runs[0]["second"] <= 1016
    assert emulator.symbol_sizes(elf)["main"] >= 2000
    sizes = emulator.elf_sizes(elf)
    assert sizes.flash >= 2000 and sizes.ram == sizes.data + sizes.bss


def test_a_program_that_does_not_fit_or_fails(tmp_path):
    source = tmp_path / "main.c"
    source.write_text("int main(void) { static volatile char big[40000]; return big[4000] + 7; }\n")
    with pytest.raises(CheepError, match="RAM"):
        emulator.build_elf([source], tmp_path / "big.elf")
    elf = emulator.build_elf([source], tmp_path / "big.elf", ram_bytes=64 * 1024)
    with pytest.raises(CheepError, match="exit status 7"):
        emulator.run_elf(elf)
    source.write_text("int main(void) { for (;;) { } }\n")
    elf = emulator.build_elf([source], tmp_path / "endless.elf")
    with pytest.raises(CheepError, match=r"still running in QEMU after 0.5 s"):
        emulator.run_elf(elf, timeout_s=0.5)
    source.write_text("int main(void) { return *(volatile int *)0x90000000; }\n")
    with pytest.raises(CheepError, match="fault"):
        emulator.run_elf(emulator.build_elf([source], tmp_path / "fault.elf"))
    with pytest.raises(CheepError, match="must not hold spaces"):
        emulator.run_elf(elf, ["a b"])


def test_missing_tools_are_named(monkeypatch, tmp_path):
    emulator._tool.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheepError, match="apt-get install gcc-arm-none-eabi"):
        emulator.compiler()
    with pytest.raises(CheepError, match="apt-get install qemu-system-arm"):
        emulator.qemu()
    emulator._tool.cache_clear()
