# SPDX-License-Identifier: MIT
"""A network and a head of somebody else's: in integers, the same bits in the C core and on the emulated core."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from cheep import cli
from cheep.errors import CheepError
from cheep.hdc.core import CoreHdc
from cheep.hdc.export import load_head, metadata, render_headers
from cheep.hdc.foreign import load_foreign, quantize_head
from cheep.hdc.model import HdcModel
from cheep.resources import firmware_root

D, H, K = 24, 512, 3
SCALE, ZERO = 0.05, -11


@pytest.fixture(scope="module")
def examples():
    """Embeddings of three classes, float and int8."""
    rng = np.random.default_rng(3)
    y = np.arange(300) % K
    x = rng.normal(0, 1, (K, D))[y] + rng.normal(0, 0.7, (300, D))
    q = np.clip(np.rint(x / SCALE) + ZERO, -128, 127).astype(np.int8)
    return x, q, y


def _arrays(x, y, encoding):
    rng = np.random.default_rng(4)
    matrix = rng.normal(0, 1, (D, H)).astype(np.float32)
    hyper = x @ matrix
    hyper = np.where(hyper >= 0, 1.0, -1.0) if encoding == "sign" else hyper
    return {"projection_matrix": matrix, "prototypes": np.stack([hyper[y == c].mean(axis=0) for c in range(K)])}


@pytest.mark.parametrize("encoding", ["linear", "sign"])
@pytest.mark.parametrize("binary", [False, True])
def test_integers_judge_as_the_float_head_does(tmp_path, examples, encoding, binary):
    x, q, y = examples
    np.savez(tmp_path / "head.npz", **_arrays(x, y, encoding))
    head = load_foreign(tmp_path / "head.npz", D)
    assert head.encoding() == encoding
    expected = head.scores(x, encoding).argmax(1)
    assert np.mean(expected == y) > 0.95
    model = quantize_head(head, encoding, binary, q, SCALE, ZERO)
    assert np.mean(model.predict(q) == expected) > (0.95 if binary else 0.98)
    core = CoreHdc(model)
    assert np.array_equal(core.encode(q[:20]), model.encode(q[:20]))
    values = metadata(model, {"file": "e", "bytes": 10, "sha256": ""}, 0, 0, with_table=True)
    (tmp_path / "hdc.json").write_text(json.dumps(values))
    again, _ = load_head(tmp_path)
    assert np.array_equal(again.scores(q), model.scores(q)) and again.id32 == model.id32
    assert values["bytes"]["matrix"] == H * 32  # padded to 32 columns
    assert f"#define CHEEP_HDC_MATRIX_WORDS {H * 8}" in render_headers(model, 0, 0)["cheep_hdc_projection.h"]
    other = HdcModel(**{**vars(model), "matrix": -model.matrix})
    assert other.id32 != model.id32  # classes learned with another projection are not this head's


def test_transposed_and_named(tmp_path, examples):
    x, _, y = examples
    arrays = _arrays(x, y, "linear")
    np.savez(
        tmp_path / "h.npz", **{**arrays, "projection_matrix": arrays["projection_matrix"].T}, labels=["a", "b", "c"]
    )
    head = load_foreign(tmp_path / "h.npz", D)
    assert head.labels == ("a", "b", "c") and np.array_equal(head.projection, arrays["projection_matrix"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"prototypes": None}, "prototypes missing"),
        ({"prototypes": np.zeros((K, H + 1))}, r"must be \(24, H\) and \(classes, H\)"),
        ({"projection_matrix": np.full((D, H), np.nan)}, "NaN"),
        ({"labels": np.array(["a", "b"])}, "3 prototypes, 2 labels"),
    ],
)
def test_heads_that_do_not_fit(tmp_path, examples, change, message):
    arrays = {**_arrays(examples[0], examples[2], "linear"), **change}
    np.savez(tmp_path / "h.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(CheepError, match=message):
        load_foreign(tmp_path / "h.npz", D)
    (tmp_path / "h.npz").write_bytes(b"rubbish")
    with pytest.raises(CheepError, match=r"cannot be read as \.npz"):
        load_foreign(tmp_path / "h.npz", D)
    with pytest.raises(CheepError, match="no such file"):
        load_foreign(tmp_path / "none.pth", D)


def test_heads_of_pytorch(tmp_path, examples):
    torch = pytest.importorskip("torch", reason="PyTorch is optional: requirements-convert.txt brings it")
    arrays = _arrays(examples[0], examples[2], "linear")
    torch.save({"model": {k: torch.tensor(v) for k, v in arrays.items()}, "epoch": 3}, tmp_path / "h.pth")
    assert np.array_equal(load_foreign(tmp_path / "h.pth", D).projection, arrays["projection_matrix"])
    (tmp_path / "bad.pth").write_bytes(b"rubbish")
    with pytest.raises(CheepError, match="cannot be read as tensors"):
        load_foreign(tmp_path / "bad.pth", D)


def test_import_from_end_to_end(tmp_path, rng):
    """An image network cut at a layer, and its head: files, the report, the emulated core's bytes."""
    from cheep.job.hdc_import import import_head
    from cheep.tf_runtime import import_tf, seed_everything

    k = import_tf().keras
    seed_everything(3)
    start = k.Input((8, 8, 3))
    made = k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(8, 3, strides=2, activation="relu")(start))
    end = k.layers.Dense(K)(k.layers.Dense(D, name="projection")(made))
    k.Model(start, end).save(tmp_path / "net.h5")
    y = np.arange(120) % K
    x = (rng.normal(0, 0.4, (120, 8, 8, 3)) + np.eye(K)[y][:, None, None, :]).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    cut = k.Model(start, k.models.Model(start, end).get_layer("projection").output)
    np.savez(tmp_path / "head.npz", **_arrays(cut.predict(x, verbose=0).astype(np.float64), y, "linear"))
    job = {
        "network": str(tmp_path / "net.h5"), "checkpoint": None, "cut": "projection", "encoding": "auto",
        "head": str(tmp_path / "head.npz"), "dataset": str(tmp_path / "d.npz"), "binary": False, "trust": False,
        "folder": str(tmp_path),
    }  # fmt: skip
    result = import_head(job, lambda text: None)
    steps = {row["step"]: row["accuracy"] for row in result["rows"]}
    assert list(steps) == [
        "float network", "float embedding, float HDC", "int8 embedding, float HDC", "int8 embedding, int8 HDC",
        "int8 embedding, 1-bit HDC",
    ]  # fmt: skip
    assert steps["int8 embedding, int8 HDC"] > steps["float embedding, float HDC"] - 0.05 > 0.7
    assert result["encoding"] == "linear" and result["placement"]["esp32s3"]["matrix"] == "psram"
    assert "skipped" in result["emulated"] or result["emulated"]["classify"] > 0
    assert load_head(tmp_path)[0].labels == ("0", "1", "2")
    for name in ("extractor_int8.tflite", "extractor.h", "generated/cheep_hdc_prototypes.h", "report.json"):
        assert (tmp_path / name).is_file()
    _the_classifier_answers(tmp_path)


def _the_classifier_answers(folder):
    """``firmware/classifier`` here, fed from a file: the answers that the import foretold, and errors in words."""
    here = firmware_root() / "classifier"
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = folder / "classifier"
    core = [
        here.parent / "common" / "src" / f"cheep_{n}.c"
        for n in ("crc32", "hdc", "hdc_generated", "hdc_learn", "hdc_project")
    ]
    command = ["cc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-DCHEEP_HDC", *flags]
    command += [f"-I{here.parent / 'common' / 'include'}", f"-I{folder}", str(here / "src" / "main.c")]
    subprocess.run([*command, str(folder / "extractor_compiled.c"), *map(str, core), "-o", str(program)], check=True)
    lines = (folder / "inputs.txt").read_text().splitlines()
    spoilt = [lines[0][:-1] + ("0" if lines[0][-1] != "0" else "1"), lines[0][:40], "", "hello", lines[0] + "00"]
    made = subprocess.run([program], input="\r\n".join([*lines, *spoilt]), capture_output=True, text=True, check=True)
    assert _on_a_serial_line(folder, command, core, "\r\n".join([*lines, *spoilt])) == made.stdout
    ready, *answers = made.stdout.splitlines()
    assert json.loads(ready)["type"] == "ready"
    n = len(lines)
    assert answers[:n] == (folder / "answers.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in answers[n:]]
    assert texts[0].startswith("CRC differs") and len(texts) == 4 and all("want: x" in t for t in texts[1:])


_UART = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#define ESP_OK 0
static int installed;
static inline int uart_driver_install(int port, int room, int out, int events, void *queue, int flags)
{
    (void)port, (void)out, (void)events, (void)queue, (void)flags;
    return (installed = room > 128) ? ESP_OK : -1;
}
static inline int uart_read_bytes(int port, void *bytes, uint32_t n, uint32_t ticks)
{
    static int calls;
    (void)port, (void)ticks;
    if (!installed || ++calls % 3 == 0) return calls % 2 ? -1 : 0; /* nothing came in time, or an error */
    const size_t got = fread(bytes, 1, calls % 5 ? n : 1, stdin);
    if (!got) exit(0); /* a line has no end: the test's has */
    return (int)got;
}
void app_main(void);
int main(void) { app_main(); return 3; }
"""


def _on_a_serial_line(folder, command, core, text):
    """What the same program says on an ESP32's console, its driver in place of ESP-IDF's: parts, pauses, errors."""
    stubs = folder / "stubs"
    for name, content in (
        ("driver/uart.h", _UART), ("freertos/FreeRTOS.h", ""), ("sdkconfig.h", "#define CONFIG_ESP_CONSOLE_UART_NUM 0")
    ):  # fmt: skip
        (stubs / name).parent.mkdir(parents=True, exist_ok=True)
        (stubs / name).write_text(content)
    program = folder / "classifier_esp"
    sources = [str(folder / "extractor_compiled.c"), *map(str, core)]
    subprocess.run([*command, "-DESP_PLATFORM", f"-I{stubs}", *sources, "-o", str(program)], check=True)
    return subprocess.run([program], input=text + "\n", capture_output=True, text=True, check=True).stdout


def test_what_the_command_needs(capsys):
    assert cli.main("hdc", ["import", "--head", "h.npz"]) == 2
    assert "--network and --dataset missing" in capsys.readouterr().err
