# SPDX-License-Identifier: MIT
"""Generated headers: bit-exact, reproducible, checked, refused when they disagree."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess

import numpy as np
import pytest

from cheep.ccore import find_compiler
from cheep.cli import main
from cheep.config import FeatureConfig
from cheep.errors import CheepError, GateError
from cheep.export import (
    check_files,
    load_export,
    render_detector_settings,
    render_golden_window,
    render_mel_filter_bank,
    render_model_header,
    render_model_source,
    write_files,
)
from cheep.export.ctext import float32, string
from cheep.export.golden_header import stored_windows
from cheep.export.operators import resolver_entries
from cheep.export.selfcheck import frontend_crc, selfcheck_pcm
from cheep.features import compute_features, frontend_spec_tables, quantize
from cheep.resources import firmware_root, include_dir
from cheep.tflite.arena import arena_on_esp32s3
from cheep.tflite.reader import read_graph
from tone_model import LABELS, write_tone_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_tone_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def export(run):
    return load_export(run)


@pytest.fixture(scope="module")
def files(export):
    return {
        "model.h": render_model_header(export),
        "model.cc": render_model_source(export),
        "detector_settings.h": render_detector_settings(export),
        "golden_window.h": render_golden_window(export),
        "mel_filter_bank.h": render_mel_filter_bank(export.features, export.sha256),
    }


def compile_generated(folder, files, name="cheep_model_generated.c", source=None):
    """Syntax and static assertions of one file with these headers; returns the compiler's words ('' = accepted)."""
    generated = folder / "generated"
    generated.mkdir(exist_ok=True)
    for file_name, text in files.items():
        (generated / file_name).write_text(text, encoding="utf-8")
    path = source or firmware_root() / "common" / "src" / name
    language = ["-x", "c++", "-std=c++17"] if path.suffix == ".cc" else ["-std=c11"]
    command = [*find_compiler(), *language, "-fsyntax-only", "-Wall", "-Wextra", "-Werror"]
    result = subprocess.run(
        [*command, f"-I{folder}", f"-I{include_dir()}", str(path)], capture_output=True, text=True, check=False
    )
    return "" if result.returncode == 0 else result.stderr


def items(text, name):
    """The numbers of ``#define NAME { ... }``."""
    body = re.search(rf"#define {name} {{(.*?)}}", text, re.DOTALL).group(1)
    return [word for word in re.split(r"[,\s\\]+", body) if word]


def test_every_file_names_its_origin_in_the_first_line(files, export):
    for name, text in files.items():
        first = text.splitlines()[0]
        assert "DO NOT EDIT" in first and export.sha256[:16] in first, name
        assert f"0x{export.features.hash32:08x}" in first


def test_the_same_model_gives_the_same_bytes(files, run):
    again = load_export(run)
    assert render_model_header(again) == files["model.h"]
    assert render_golden_window(again) == files["golden_window.h"]
    assert render_mel_filter_bank(again.features, again.sha256) == files["mel_filter_bank.h"]
    for text in files.values():
        assert str(run) not in text
        assert not re.search(r"20\d\d-\d\d-\d\d", text)


def test_tables_read_back_to_the_same_bits(files, export):
    tables = frontend_spec_tables(export.features)
    for name, values in (("WINDOW", tables.window), ("TWIDDLE", tables.twiddle), ("BAND_WEIGHT", tables.band_weight)):
        found = np.array([float(v.rstrip("f")) for v in items(files["mel_filter_bank.h"], f"CHEEP_MEL_{name}")])
        np.testing.assert_array_equal(found.astype(np.float32), values)
    starts = [int(v) for v in items(files["mel_filter_bank.h"], "CHEEP_MEL_BAND_START")]
    np.testing.assert_array_equal(starts, tables.band_start)


@pytest.mark.parametrize("value", [0.1, 1e-10, 3.0, 1 / 3, 1e30, 2.0**-126, 1.00000001e-10])
def test_a_float_constant_keeps_its_bits(value):
    assert np.float32(float(float32(value).rstrip("f"))) == np.float32(value)


def test_model_bytes_round_trip(files, export):
    found = bytes(int(v, 16) for v in re.findall(r"0x([0-9a-f]{2}),", files["model.cc"]))
    assert found == export.bundle.model.data
    assert "alignas(16)" in files["model.cc"]


def test_exactly_the_models_operators_are_registered(files):
    assert "X_INT8(FullyConnected, FULLY_CONNECTED_INT8) X(Logistic)\n" in files["model.h"]
    assert "#define CHEEP_MODEL_OPERATOR_COUNT 2\n" in files["model.h"]


def test_an_s3_gets_the_arena_with_esp_nns_scratch(files, export):
    lines = files["model.h"].splitlines()
    assert f"#define CHEEP_MODEL_ARENA_BYTES {export.arena_bytes}u" in lines
    on_s3 = arena_on_esp32s3(read_graph(export.bundle.model.data), export.arena_bytes)
    assert f"#define CHEEP_MODEL_ARENA_BYTES_ESP32S3 {on_s3}u" in lines and on_s3 >= export.arena_bytes
    build = (firmware_root() / "common" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "CHEEP_TFLM_ARENA_BYTES=CHEEP_MODEL_ARENA_BYTES_ESP32S3" in build


@pytest.mark.parametrize(("chip", "flag"), [("ESP", "CHEEP_TFLM_ESP"), ("ESP32S3", "CHEEP_TFLM_ESP32S3")])
def test_what_a_chips_kernels_cannot_run_does_not_compile(export, files, tmp_path, monkeypatch, chip, flag):
    monkeypatch.setattr("cheep.export.bundle.refused_on_esp", lambda graph: {chip: "why"})
    generated = tmp_path / "generated"
    generated.mkdir()
    source = firmware_root() / "common" / "src" / "cheep_model_tflm.cc"
    command = [*find_compiler(), "-x", "c++", "-std=c++17", "-fsyntax-only", "-DCHEEP_BACKEND_TFLM", f"-D{flag}"]
    for text, refused in ((files["model.h"], False), (render_model_header(export), True)):
        (generated / "model.h").write_text(text, encoding="utf-8")
        result = subprocess.run(
            [*command, f"-I{tmp_path}", f"-I{include_dir()}", str(source)], capture_output=True, text=True, check=False
        )
        assert ("must not run in TFLM" in result.stderr) == refused  # TFLM's headers are missing, behind it


def test_resolver_names():
    names = dict(resolver_entries(["CONV_2D", "DEPTHWISE_CONV_2D", "L2_NORMALIZATION", "PADV2", "CONV_2D"]))
    assert names == {
        "Conv2D": "CONV_2D_INT8",
        "DepthwiseConv2D": "DEPTHWISE_CONV_2D_INT8",
        "L2Normalization": None,
        "PadV2": None,
    }
    with pytest.raises(CheepError, match="CUSTOM:Mine: an operator that the firmware cannot register"):
        resolver_entries(["CUSTOM:Mine"])


def test_headers_compile_together(files, tmp_path):
    assert compile_generated(tmp_path, files) == ""
    assert compile_generated(tmp_path, files, source=tmp_path / "generated" / "model.cc") == ""


def test_labels_of_any_kind_survive_the_c_compiler(export, files, tmp_path):
    labels = ("Krähe ??/", 'a "quoted" \\ one', "tab\tend")
    other = dataclasses.replace(export, bundle=dataclasses.replace(export.bundle, labels=labels))
    changed = {**files, "model.h": render_model_header(other), "detector_settings.h": render_detector_settings(other)}
    assert compile_generated(tmp_path, changed) == ""
    program = tmp_path / "labels.c"
    program.write_text(
        "#include <stdio.h>\n#include <generated/model.h>\n"
        'int main(void) { const char *l[] = CHEEP_MODEL_LABELS; for (int i = 0; i < 3; i++) printf("%s|", l[i]); }'
    )
    target = tmp_path / "labels"
    subprocess.run([*find_compiler(), "-std=c11", f"-I{tmp_path}", str(program), "-o", str(target)], check=True)
    assert subprocess.run([target], capture_output=True, check=True).stdout.decode() == "|".join(labels) + "|"
    assert string("?") == '"\\077"'  # no trigraphs


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "reason"),
    [
        ("mel_filter_bank.h", r"(FEATURE_HASH 0x)\w+u", r"\g<1>12345678u", "different feature settings"),
        ("detector_settings.h", r"(MODEL_ID 0x)\w+u", r"\g<1>12345678u", "detector_settings.h and model.h"),
        ("golden_window.h", r"(MODEL_ID 0x)\w+u", r"\g<1>12345678u", "golden_window.h and model.h"),
        ("golden_window.h", r"(WINDOWS \{ \\\n    )-?\d+,", r"\g<1>", "golden window is cut off"),
        ("mel_filter_bank.h", r"(CHEEP_MEL_WINDOW \{ \\\n    )[^,]+,", r"\g<1>", "window table is cut off"),
        ("detector_settings.h", r"(CLASSES) \d+", r"\g<1> 7", "different classes"),
    ],
)
def test_headers_that_disagree_do_not_compile(files, tmp_path, name, pattern, replacement, reason):
    changed, count = re.subn(pattern, replacement, files[name], count=1)
    assert count == 1
    assert reason in compile_generated(tmp_path, {**files, name: changed})


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        (r"(CHEEP_MODEL_ID == 0x)\w+u", r"\g<1>12345678u", "model.cc and model.h are of different models"),
        (r"    0x[0-9a-f]{2}, ", "    ", "model.cc is cut off"),
    ],
)
def test_model_bytes_that_disagree_do_not_compile(files, tmp_path, pattern, replacement, reason):
    changed, count = re.subn(pattern, replacement, files["model.cc"], count=1)
    assert count == 1
    words = compile_generated(tmp_path, {**files, "model.cc": changed}, source=tmp_path / "generated" / "model.cc")
    assert reason in words


def test_a_firmware_without_a_model_says_what_to_run(tmp_path):
    words = compile_generated(tmp_path, {})
    assert "cheep model-convert" in words


def test_thresholds_are_sums_of_quantized_scores(files):
    # threshold 0.6, smoothing 2, scale 1/256, zero point -128: 2 * (0.6 * 256 - 128) = 51.2 -> 52
    assert "{ 2147483647, 2147483647 }, { 52, 0 }, { 52, 0 }" in files["detector_settings.h"]


def test_the_boot_check_covers_the_front_end(export):
    features, scale, zero = export.features, export.bundle.input.scale, export.bundle.input.zero_point
    samples = features.frame_samples + 7 * features.hop_samples
    heard = compute_features(selfcheck_pcm(samples), features)
    columns = quantize(heard, scale, zero)
    assert columns.shape == (8, features.n_mels)
    import zlib

    crcs = zlib.crc32(heard.astype("<f4").tobytes()), zlib.crc32(columns.tobytes())
    assert frontend_crc(features, scale, zero) == crcs
    spread = columns.max(axis=0).astype(int) - columns.min(axis=0)
    assert spread.min() > 20  # each band is moved by the test sound
    other = FeatureConfig(**{**features.to_dict(), "fmin_hz": 110.0})
    assert frontend_crc(other, scale, zero) != frontend_crc(features, scale, zero)


def test_commands_write_check_and_show_the_difference(run, tmp_path, capsys):
    arguments = ["--model", str(run), "--output", str(tmp_path / "out")]
    assert main("model_convert", arguments) == 0
    assert main("mel_filter_bank", arguments) == 0
    assert "next: cheep mel-filter-bank" in capsys.readouterr().out
    assert main("model_convert", [*arguments, "--check"]) == 0
    assert main("mel_filter_bank", [*arguments, "--check"]) == 0
    header = tmp_path / "out" / "mel_filter_bank.h"
    header.write_text(header.read_text().replace("CHEEP_MEL_HOP_SAMPLES 200", "CHEEP_MEL_HOP_SAMPLES 201"))
    (tmp_path / "out" / "model.h").unlink()
    capsys.readouterr()
    assert main("mel_filter_bank", [*arguments, "--check"]) == 1
    words = capsys.readouterr().err
    assert "-#define CHEEP_MEL_HOP_SAMPLES 201" in words and "+#define CHEEP_MEL_HOP_SAMPLES 200" in words
    assert "cheep mel-filter-bank" in words
    assert main("model_convert", [*arguments, "--check"]) == 1
    assert "model.h: missing" in capsys.readouterr().err


def test_unchanged_files_are_left_alone(tmp_path):
    assert write_files(tmp_path, {"a.h": "x\n"}) == [tmp_path / "a.h"]
    assert write_files(tmp_path, {"a.h": "x\n"}) == []
    check_files(tmp_path, {"a.h": "x\n"}, "again")
    with pytest.raises(GateError, match="differs"):
        check_files(tmp_path, {"a.h": "y\n"}, "again")


def test_without_a_manifest_the_golden_window_is_measured(run, tmp_path, export):
    lone = tmp_path / "model.tflite"
    lone.write_bytes(export.bundle.model.data)
    found = load_export(lone)
    assert found.arena_bytes == export.arena_bytes
    assert found.bundle.labels == LABELS
    from cheep.tflite.tflm import TflmModel

    assert [golden.name for golden in found.golden] == ["silence", "loud", "extremes", "noise"]
    for golden in found.golden:
        expected = TflmModel(export.bundle.model.data).scores(golden.window[None])[0]
        np.testing.assert_array_equal(golden.scores, expected)
    assert len(np.unique(found.golden[-1].window)) > 200


@pytest.mark.parametrize(
    "damage", [{"window": "AAAA", "scores": [1, 2, 3]}, {"window": "!", "scores": []}, {"scores": [1]}]
)
def test_a_damaged_golden_window_is_refused(run, tmp_path, damage):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["golden"] = damage
    (tmp_path / manifest["model"]["file"]).write_bytes((run / manifest["model"]["file"]).read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheepError, match="golden: must hold a window of 39 x 40 int8 values"):
        load_export(tmp_path)


def test_a_bank_without_bins_is_refused():
    with pytest.raises(CheepError, match="no FFT bin lies in any mel band"):
        config = FeatureConfig(sample_rate_hz=8000, fft_size=64, frame_samples=64, n_mels=1, fmin_hz=130, fmax_hz=240)
        render_mel_filter_bank(config, "0" * 64)


def test_golden_windows_beyond_their_flash_are_left_out_and_named(export):
    window = export.golden[-1].window
    many = [dataclasses.replace(export.golden[-1], name=f"label {i}", window=window) for i in range(20)]
    text = render_golden_window(dataclasses.replace(export, golden=(*export.golden[:4], *many)))
    assert f"COUNT {4 + 8192 // 1560}" in text.replace("STORED_", "") and "STORED_COUNT 5" in text
    assert "Left out, because 8192 bytes are kept for them: label 5, label 6" in text
    assert stored_windows(export.features.model_copy(update={"window_frames": 1000}), 3) == 1


def test_a_manifest_of_an_older_cheep_has_one_golden_window(run, tmp_path, export):
    manifest = json.loads((run / "manifest.json").read_text())
    (new,) = [golden for golden in manifest["golden"] if golden["name"] == "example"]
    manifest["golden"] = {"window": new["window"], "scores": new["scores"]}
    (tmp_path / manifest["model"]["file"]).write_bytes((run / manifest["model"]["file"]).read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (golden,) = load_export(tmp_path).golden
    assert golden.name == "example" and golden.kind == "stored"
    np.testing.assert_array_equal(golden.window, export.golden[-1].window)
